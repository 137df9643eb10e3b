"""A format that nobody here wrote: built, installed, used and removed, as docs/extending.md shows it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast import download, from_uri
from holdfast.errors import UnreadableError
from served import KEY, SOURCE, holdfast, served

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "holdfast-edf"
FRAMES = np.arange(3 * 40 * 50, dtype="<u2").reshape(3, 40, 50)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Install the package of the documentation into a directory, from a wheel, without a network."""
    home = tmp_path_factory.mktemp("packages")
    wheel = build(home)
    if importlib.util.find_spec("pip") is None:
        # An environment without pip: unpacking is what pip does with a wheel.
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(home / "site")
    else:
        options = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", home / "site", wheel]
        subprocess.run(command, check=True, timeout=120)
    return home / "site"


def build(directory: Path) -> Path:
    """Make a wheel of the package: its module, its facts and its entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    (group,) = project["entry-points"]
    entries = "\n".join(f"{key} = {value}" for key, value in project["entry-points"][group].items())
    facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\nRequires-Dist: holdfast\n"
    parts = {
        f"{name}.py": (EXAMPLE / f"{name}.py").read_text(),
        f"{name}-{version}.dist-info/METADATA": facts,
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-{version}.dist-info/entry_points.txt": f"[{group}]\n{entries}\n",
    }
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in parts.items():
            archive.writestr(path, text)
        record = "".join(f"{path},,\n" for path in [*parts, f"{name}-{version}.dist-info/RECORD"])
        archive.writestr(f"{name}-{version}.dist-info/RECORD", record)
    return wheel


def edf(*frames: np.ndarray) -> bytes:
    parts = []
    for frame in frames:
        rows, columns = frame.shape
        header = (
            "{\nHeaderID = EH:000001:000000:000000 ;\nByteOrder = LowByteFirst ;\n"
            "DataType = UnsignedShort ;\n"
            f"Dim_1 = {columns} ;\nDim_2 = {rows} ;\nSize = {frame.nbytes} ;\nEnergy = 12.4 ;\n"
        )
        parts += [header.ljust(510).encode(), b"}\n", frame.tobytes()]
    return b"".join(parts)


@pytest.fixture
def lab(tmp_path) -> Path:
    directory = tmp_path / "lab"
    directory.mkdir()
    (directory / "one.edf").write_bytes(edf(FRAMES[0]))
    (directory / "three.edf").write_bytes(edf(*FRAMES))
    (directory / "cut.edf").write_bytes(edf(FRAMES[0])[:-1])
    (directory / "other.csv").write_text("a\n1\n")
    return directory


def with_package(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(site)])}


def check_everything(url: str) -> None:
    client = from_uri(url, api_key=KEY)
    assert client["one.edf"].metadata["Energy"] == "12.4"
    np.testing.assert_array_equal(client["one.edf"][:], FRAMES[0])
    np.testing.assert_array_equal(client["three.edf/2"][5:9, ::-3], FRAMES[2, 5:9, ::-3])
    assert list(client["three.edf"]) == ["0", "1", "2"]
    assert "truncated" in client["cut.edf"].metadata["error"]


def test_it_is_indexed_served_and_sliced_and_gone_again_with_its_package(site, lab, tmp_path):
    # This server looks into files beside its threads, so its workers are fresh processes.
    with served(lab, "--digest", "now", **with_package(site)) as server:
        wait_for(server.url, "three.edf")
        check_everything(server.url)
    with served(lab) as server:
        client = from_uri(server.url, api_key=KEY)
        assert client["one.edf"].shape == (40, 50)
        message = "no installed format reads application/x-edf; install the package that brings it"
        with pytest.raises(UnreadableError, match=message):
            client["one.edf"][:]
        np.testing.assert_array_equal(client["other.csv/a"][:], [1])
        download(client["one.edf"], tmp_path / "home")
    found = list((tmp_path / "home").rglob("one.edf"))
    assert [path.read_bytes() for path in found] == [edf(FRAMES[0])]


def wait_for(url: str, key: str) -> None:
    """Wait until a server has looked into a file; the test's own limit ends it."""
    client = from_uri(url, api_key=KEY)
    while key not in list(client) or client[key].structure_family == "bytes":
        client = from_uri(url, api_key=KEY)


def test_a_file_that_was_listed_before_it_came_is_looked_into_when_it_was_touched(site, lab):
    # Here nothing runs beside the index, so its workers are copies of this process.
    assert holdfast("index", lab).returncode == 0
    assert shown(lab, "one.edf")["family"] == "bytes"
    later = (lab / "one.edf").stat().st_mtime + 10
    os.utime(lab / "one.edf", (later, later))
    assert holdfast("index", lab, **with_package(site)).returncode == 0
    assert shown(lab, "one.edf")["family"] == "array"


def shown(lab: Path, key: str) -> dict[str, Any]:
    return json.loads(holdfast("show", lab, key, "--json").stdout)


def test_a_package_that_cannot_be_loaded_takes_no_other_format_with_it(site, lab, tmp_path):
    broken = tmp_path / "broken"
    information = broken / "holdfast_edf-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: holdfast-edf\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[holdfast.formats]\nedf = holdfast_edf:EDF\n")
    assert holdfast("index", lab, **with_package(site)).returncode == 0
    with served(lab, **with_package(broken)) as server:
        client = from_uri(server.url, api_key=KEY)
        np.testing.assert_array_equal(client["other.csv/a"][:], [1])
        with pytest.raises(UnreadableError, match="holdfast_edf"):
            client["one.edf"][:]


def test_it_keeps_the_contract_of_a_format(site, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--rootdir",
        tmp_path,
    ]
    environment = {**os.environ, **with_package(site), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, "-c", os.devnull, EXAMPLE / "test_holdfast_edf.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[0-9]{2} passed", done.stdout, re.MULTILINE)


def test_the_documentation_shows_all_of_the_package():
    page = (EXAMPLE.parent.parent / "extending.md").read_text()
    for path in EXAMPLE.iterdir():
        if path.is_file():
            assert f"{{literalinclude}} examples/holdfast-edf/{path.name}" in page
