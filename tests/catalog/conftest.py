"""One laboratory, reached over TCP and within this process."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from catalog.lab import write_lab
from holdfast.app import ServeOptions, build
from holdfast.catalog import from_catalog, from_uri, index
from holdfast.http.serving import running


@contextmanager
def serving_directory(directory):
    """Serve an indexed directory, readable by anyone; gives the URL."""
    options = ServeOptions(directory=directory, face="catalog", public=True)
    with build(options) as app, running(app.site) as url:
        yield url


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A directory of files, indexed and digested."""
    directory = write_lab(tmp_path_factory.mktemp("lab") / "lab")
    index(directory, digest="now")
    return directory


@pytest.fixture(scope="session")
def url(lab):
    """The address of a server of the laboratory."""
    with serving_directory(lab) as address:
        yield address


@pytest.fixture(params=["tcp", "local"])
def client(request, lab):
    """The laboratory's root container, over both transports."""
    if request.param == "tcp":
        return from_uri(request.getfixturevalue("url"))
    return from_catalog(lab)


@pytest.fixture
def own_lab(tmp_path):
    """A laboratory of this test alone, which it may change."""
    directory = write_lab(tmp_path / "own")
    index(directory, digest="now")
    return directory
