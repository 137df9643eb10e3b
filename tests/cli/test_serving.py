"""`holdfast serve` as a user starts it."""

from __future__ import annotations

import gc
import re
import socket
import subprocess
import sys

import pytest

from holdfast.catalog import from_uri, index
from holdfast.cli import run
from holdfast.cli.serving import app
from holdfast.errors import AuthenticationError, BusyError, InvalidInputError, NotFoundError
from holdfast.lazy import loading
from served import KEY, environment, served, stop


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "a.json").write_text('{"n": 1}')
    index(tmp_path / "lab")
    return tmp_path / "lab"


def started(*words):
    """Start a server and return its process and what it said up to the line about keys."""
    command = [sys.executable, "-m", "holdfast", "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    )
    said = ""
    for line in process.stdout:
        said += line
        if "holdfast key create" in line:
            return process, said
    raise AssertionError(said)


def ended(process):
    stop(process)
    process.stdout.close()


def test_the_first_start_makes_a_key_and_shows_it_once(lab):
    process, said = started(lab)
    url = re.search(r"http://127\.0\.0\.1:\d+", said)[0]
    key = re.search(r"[0-9a-f]{64}", said)[0]
    try:
        with pytest.raises(AuthenticationError):
            from_uri(url)
        with from_uri(url, api_key=key) as client:
            assert client["a.json"].metadata["n"] == 1
    finally:
        ended(process)
    process, said = started(lab)
    ended(process)
    assert re.search(r"[0-9a-f]{64}", said) is None


def test_the_seeds_own_line_serves_to_anyone(lab):
    with served("catalog", "--public", lab) as server, from_uri(server.url) as client:
        assert client["a.json"].metadata["n"] == 1


def test_a_key_from_a_file_is_the_key(lab, tmp_path):
    (tmp_path / "key").write_text(KEY)
    command = [sys.executable, "-m", "holdfast", "serve", str(lab), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--api-key-file", str(tmp_path / "key")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    said = process.stdout.readline()
    try:
        with from_uri(re.search(r"http://\S+", said)[0], api_key=KEY) as client:
            assert list(client) == ["a.json"]
        assert KEY not in said
    finally:
        ended(process)


def test_a_taken_port_is_said_and_no_key_is_lost(lab, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", str(lab), "--port", str(port)]) == BusyError.exit_code
    assert str(port) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nope", "{}"], InvalidInputError.exit_code),
        (["catalog", "records", "{}"], InvalidInputError.exit_code),
        (["{}/nowhere"], NotFoundError.exit_code),
        (["{}", "--api-key-file", "{}/nokey"], NotFoundError.exit_code),
        (["{}", "--port", "99999"], 2),
        (["{}", "--digest", "sometimes"], InvalidInputError.exit_code),
        ([], 2),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_said(lab, capsys, words, code):
    assert run(["serve", *(word.format(lab) for word in words)]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_the_group_holds_serve_and_demo():
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == {
        "serve",
        "demo",
    }


def test_a_server_loads_no_library_of_a_format_before_it_answers(lab):
    """Half of the time to the first answer went into libraries that the first answer does not need."""
    code = (
        "import sys, holdfast.app as app, holdfast.cli.serving\n"
        "options = app.ServeOptions(directory=__import__('pathlib').Path(sys.argv[1]), public=True,"
        " faces={'catalog': {'digest': 'off'}})\n"
        "with app.build(options): print(sorted({'h5py', 'jmespath', 'tifffile', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(lab)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "[]"


def test_garbage_is_searched_for_again_when_a_server_was_started():
    gc.enable()
    with loading():
        assert not gc.isenabled()
    with pytest.raises(NotFoundError), loading():
        raise NotFoundError("a directory")
    assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
