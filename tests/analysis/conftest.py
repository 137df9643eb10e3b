"""Both clients, so that every verb is tested locally and over HTTP."""

import pytest

from holdfast.analysis import AnalysisClient, Documents, LocalAnalysisClient
from holdfast.analysis.routes import routes
from holdfast.http.auth import Access
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.http.serving import running

KEY = "f00d" * 16


@pytest.fixture
def lab(tmp_path):
    directory = tmp_path / "lab"
    directory.mkdir()
    return directory


@pytest.fixture
def url(lab):
    with (
        Documents(lab) as documents,
        running(Site([Mount("", routes(documents))], access=Access.with_key(KEY))) as url,
    ):
        yield url


@pytest.fixture
def remote(url):
    with AnalysisClient(url=url, api_key=KEY) as client:
        yield client


@pytest.fixture
def local(lab):
    with LocalAnalysisClient(lab) as client:
        yield client


@pytest.fixture(params=["local", "remote"])
def client(request):
    return request.getfixturevalue(request.param)
