"""A text from a file, from a folder, or built in."""

import gzip

import pytest

from minae.data import load_text
from minae.io import FormatError
from minae.seq import TextError


@pytest.fixture(autouse=True)
def without_data(monkeypatch):
    monkeypatch.delenv("MINAE_DATA", raising=False)


def test_a_file(tmp_path):
    path, said = tmp_path / "input.txt", []  # the name is no sign of Shakespeare
    path.write_text("one\ntwo", encoding="utf-8")
    text = load_text(path, report=said.append)
    assert text == ("input.txt", "one\ntwo\n", str(path))
    assert said == [f"text: {path}, 8 characters"]


def test_tiny_shakespeare_is_found_in_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt.gz").write_bytes(gzip.compress(b"First Citizen:\n"))
    for where in (folder, tmp_path):
        assert load_text(data_dir=where, report=str)[:2] == ("tinyshakespeare", "First Citizen:\n")
    monkeypatch.setenv("MINAE_DATA", str(tmp_path))
    assert load_text(report=str).name == "tinyshakespeare"
    (folder / "input.txt.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no input\.txt; name another"):
        load_text(data_dir=folder)


def test_the_built_in_text():
    said = []
    text = load_text(report=said.append)
    assert text.name == "python" and len(text.content) > 300_000
    assert "built in" in said[0]


def test_what_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b" \n\n")
    with pytest.raises(FormatError, match="holds no text"):
        load_text(path)
    path.write_bytes(b"fine\n\xff")
    with pytest.raises(TextError, match="line 2, column 1"):
        load_text(path)
    with pytest.raises(FileNotFoundError):
        load_text(tmp_path / "none.txt")
