import pytest

from holdfast.config import Settings, read_key_file, setting_names, settings, state_directory
from holdfast.errors import InvalidInputError, NotFoundError


def test_settings_come_from_their_variables():
    read = Settings.read({"HOLDFAST_API_KEY": "k", "HOLDFAST_TIMEOUT_S": "2.5", "OTHER": "x"})
    assert (read.api_key, read.timeout_s) == ("k", 2.5)


def test_the_key_never_shows():
    assert "secret" not in repr(Settings(api_key="secret"))


def test_wrong_number_names_its_variable():
    with pytest.raises(InvalidInputError, match="HOLDFAST_TIMEOUT_S='soon'"):
        Settings.read({"HOLDFAST_TIMEOUT_S": "soon"})


def test_environment_is_read_at_each_call(monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_API_KEY", "a")
    assert settings().api_key == "a"
    monkeypatch.setenv("HOLDFAST_STATE_DIRECTORY", str(tmp_path))
    assert state_directory() == tmp_path
    monkeypatch.delenv("HOLDFAST_STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_directory() == tmp_path / "xdg" / "holdfast"


def test_every_setting_has_a_name():
    assert "HOLDFAST_API_KEY" in setting_names()


def test_key_file_holds_one_key(tmp_path):
    path = tmp_path / "key"
    path.write_text(" abc\n")
    assert read_key_file(path) == "abc"
    for bad in (b"", b"a b", b"\xff\xfe"):
        path.write_bytes(bad)
        with pytest.raises(InvalidInputError, match="one key"):
            read_key_file(path)
    with pytest.raises(NotFoundError, match="key create"):
        read_key_file(tmp_path / "none")
