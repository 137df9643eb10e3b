"""Archives and files to put in."""

from pathlib import Path

import pytest

from holdfast.archive import Archive


@pytest.fixture
def archive(tmp_path):
    with Archive.create(tmp_path / "store", "Test Store") as made:
        yield made


@pytest.fixture
def file(tmp_path):
    """Make files with some content."""

    def make(name="results.xml", content=b"<results/>"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def contents(archive):
    """Return all paths of the archive, its own folder left out."""

    def list_all():
        paths = (path.relative_to(archive.root).as_posix() for path in Path(archive.root).rglob("*"))
        return sorted(path for path in paths if not path.startswith(".manifest"))

    return list_all
