"""Downloads that are stopped by a dead server, a dead client or a full disk: old or new, and they go on."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from catalog.lab import write_lab
from crash.disks import small_disk
from crash.kills import kill_everywhere
from crash.operations import Operation
from holdfast.catalog import check, download, from_catalog, from_uri, index
from holdfast.errors import BulkError, StorageFullError, TransportError
from served import environment, served


@pytest.fixture
def large(tmp_path):
    """A laboratory with files that take a while."""
    lab = write_lab(tmp_path / "lab")
    for number in range(20):
        (lab / f"{number}.bin").write_bytes(os.urandom(3_000_000))
    for path in lab.rglob("*"):
        os.utime(path, (1.7e9, 1.7e9), follow_symlinks=False)  # at rest: what grows is not taken over
    index(lab, digest="now")
    return lab


def files_of(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".holdfast" not in path.parts
    }


def test_a_server_that_dies_leaves_nothing_and_another_one_goes_on(large, tmp_path):
    stuff = tmp_path / "stuff"
    with served(large, "--public") as server:
        client = from_uri(server.url)

        def kill(done, total):
            if done > total * 2 / 3:  # more than all workers together have in hand
                server.process.kill()

        with pytest.raises(BulkError) as caught:
            download(client, stuff, progress=kill)
        server.process.wait(timeout=20)
    assert caught.value.split(TransportError)[0] is not None
    assert not stuff.exists()
    told = [0]
    with served(large, "--public") as server:
        report = download(from_uri(server.url), stuff, progress=lambda done, total: told.append(done))
    assert report.checked == len(files_of(large))
    # What arrived before is taken over in one step each; what else is done meanwhile may come before it.
    assert max(after - before for before, after in itertools.pairwise(told)) >= 3_000_000
    assert files_of(stuff / "data") == files_of(large)
    assert check(stuff).ok


def test_a_client_that_is_killed_leaves_nothing_and_the_next_one_goes_on(large, tmp_path):
    stuff = tmp_path / "stuff"
    code = (
        "import sys; from holdfast.catalog import download, from_catalog\n"
        "def tell(done, total): print(done, flush=True)\n"
        "download(from_catalog(sys.argv[1]), sys.argv[2], progress=tell)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(large), str(stuff)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    for line in process.stdout:
        if int(line) > 20_000_000:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=30)
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    assert not stuff.exists()
    started = time.monotonic()
    download(from_catalog(large), stuff)
    assert time.monotonic() - started < 60
    assert files_of(stuff / "data") == files_of(large)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.privileged
@pytest.mark.slow
def test_a_full_disk_leaves_nothing_and_says_so(large, tmp_path):
    with small_disk(tmp_path / "disk", "20m") as disk:
        with pytest.raises(BulkError) as caught:
            download(from_catalog(large), disk / "stuff")
        assert caught.value.split(StorageFullError)[0] is not None
        assert not (disk / "stuff").exists()


# The calls between which what lies under a name differs; all calls would take an hour.
PUBLISHING = ["rename", "renameat2", "link", "unlink", "rmdir", "fsync"]
DOWNLOAD = Operation(
    "download(client, directory / 'stuff', workers=1, progress=False); ack('done')",
    prepare=(
        "from holdfast.catalog import download, from_catalog\n"
        "client = from_catalog(directory / 'lab'); len(client.search_deep())"
    ),
)


@pytest.mark.privileged
@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "update"])
def test_killed_at_any_step_it_is_there_whole_or_not_at_all(tmp_path, earlier):
    made = []

    def make():
        directory = tmp_path / f"run{len(made)}"
        made.append(directory)
        lab = directory / "lab"
        lab.mkdir(parents=True)
        (lab / "a.json").write_text('{"n": 1}')
        index(lab, digest="now")
        if earlier:
            download(from_catalog(lab), directory / "stuff")
        (lab / "a.json").write_text('{"n": 22}')
        (lab / "b.txt").write_text("b")
        index(lab, digest="now")
        return directory

    def verify(directory, outcome):
        stuff = directory / "stuff"
        assert earlier <= stuff.exists()
        if "done" in outcome.acks:
            assert stuff.exists()
        if stuff.exists():
            assert check(stuff).ok
            assert from_catalog(stuff)["a.json"].metadata["n"] == (
                22 if "b.txt" in from_catalog(stuff) else 1
            )
        download(from_catalog(directory / "lab"), stuff)
        assert files_of(stuff / "data") == files_of(directory / "lab")
        assert check(stuff).ok

    assert kill_everywhere(DOWNLOAD, make, verify, PUBLISHING) > 10
