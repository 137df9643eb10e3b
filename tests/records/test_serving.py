"""``holdfast serve records DIR`` and the whole server, in processes of their own."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from holdfast.errors import BusyError, NotFoundError
from holdfast.records import Record, serve
from served import environment, served


@pytest.fixture
def local(tmp_path):
    record = Record(tmp_path / "data")
    record["x"] = np.arange(3)
    return record


@pytest.mark.parametrize(("face", "prefix"), [(["records"], ""), ([], "/records")])
def test_records_are_served_alone_and_in_the_whole_server(local, face, prefix):
    with served(*face, local.path) as server:
        remote = Record(server.url.rstrip("/") + prefix, api_key=server.key)
        assert remote["x"].tolist() == [0, 1, 2]
        remote["deep/y"] = [1.5]
        assert remote.append("rows", 1) == 0
        assert local["deep/y"].tolist() == [1.5]
        assert "catalog.db" not in list(remote)


def test_serve_answers_as_the_original_until_it_is_stopped(local):
    told = "ready=lambda url: print(url, flush=True)"
    code = f"import holdfast.records as cg; cg.serve({str(local.path)!r}, port=0, {told})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        url = process.stdout.readline().strip()
        assert Record(url)["x"].tolist() == [0, 1, 2]
        with pytest.raises(BusyError):
            serve(local.path, port=int(url.rsplit(":", 1)[1]))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
        process.stdout.close()
    with pytest.raises(NotFoundError):
        serve(os.path.join(local.path, "nowhere"), port=0)
