"""Lines of text, and what is wrong with them."""

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.io import FormatError
from minae.seq import TextError, lines


def test_lines_of_a_path_a_file_and_a_list(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    text = "\ufeffeins\r\nzwei\n\nvïer"
    plain.write_bytes(text.encode())
    packed.write_bytes(gzip.compress(text.encode()))
    wanted = ["eins", "zwei", "", "vïer"]
    assert list(lines(plain)) == list(lines(str(packed))) == wanted
    assert list(lines(io.BytesIO(text.encode()))) == list(lines(io.StringIO(text))) == wanted
    assert list(lines(["eins", b"zwei\r\n", "\n", "vïer\n"])) == wanted
    assert list(lines(["a\r\r\n", "\ufeffb\n"])) == ["a\r", "\ufeffb"]  # one end, one mark
    assert list(lines("vïer".encode("latin-1").splitlines(), encoding="latin-1")) == ["vïer"]


@pytest.mark.parametrize(
    "data, what, line, column",
    [
        (b"ok\nd\xc3\xa9 \xff", "byte 0xff is no utf-8", 2, 4),
        (b"ok\nab\xe2\x82", "byte 0xe2 is no utf-8", 2, 3),
        (b"a\n\nb\0", "NUL", 3, 2),
        (b"12345\r\n123456\n", "longer than 5", 2, 6),
        ("äöü".encode(), "longer than 5", 1, 6),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, data, what, line, column):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(TextError, match=f"a.txt, line {line}, column {column}: .*{what}") as e:
        list(lines(path, longest=5))
    assert (e.value.line, e.value.column) == (line, column)


@pytest.mark.parametrize("source", [b"one\ntwo", [["one"]], [None]])
def test_what_are_no_lines_is_refused(source):
    with pytest.raises(TypeError, match="a line is str or bytes, got"):
        list(lines(source))


@pytest.mark.parametrize("name", ["(S (N a))", "a.gz"])
def test_text_in_place_of_a_path_is_told_the_way(name):
    with pytest.raises(FileNotFoundError) as error:
        list(lines(name))
    assert error.value.__notes__ == ["A str is the path of a file; put text itself into [...]."]


def test_of_a_line_without_an_end_no_more_is_read_than_is_allowed():
    class Endless:
        read = 0

        def readline(self, size):
            self.read += size
            return b"x" * size

    file = Endless()
    with pytest.raises(TextError, match="longer than 1000"):
        list(lines(file, longest=1000))
    assert file.read < 2000


@given(st.binary(max_size=40))
def test_any_bytes_are_lines_or_one_error(data):
    try:
        found = list(lines(io.BytesIO(data)))
    except TextError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1
    else:
        decoded = data.decode().removeprefix("\ufeff")
        assert "\n".join(found) == decoded.removesuffix("\n").replace("\r\n", "\n") or (
            "\r" in decoded
        )


def test_every_truncation_of_a_packed_file_is_an_error(tmp_path):
    path = tmp_path / "a.gz"
    whole = gzip.compress(b"one\ntwo\n", mtime=0)
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"a\.gz is damaged"):
            list(lines(path))
    path.write_bytes(whole[:10] + b"\xff" + whole[11:])  # a block of no known type
    with pytest.raises(FormatError, match=r"a\.gz is damaged.*invalid block type"):
        list(lines(path))
