"""Sentences beside their translations: number names, two files, Multi30k, and what is refused."""

import gzip

import pytest

from minae.data import (
    generated_numbers,
    load_multi30k,
    load_parallel,
    number_name,
    read_parallel,
)
from minae.data.multi30k import LANGUAGES, TEST
from minae.io import FormatError

NAMES = [
    (0, "zero", "null"),
    (1, "one", "eins"),
    (12, "twelve", "zwölf"),
    (24, "twenty four", "vier und zwanzig"),
    (30, "thirty", "dreißig"),
    (61, "sixty one", "ein und sechzig"),
    (100, "one hundred", "ein hundert"),
    (101, "one hundred one", "ein hundert eins"),
    (1001, "one thousand one", "ein tausend eins"),
    (21016, "twenty one thousand sixteen", "ein und zwanzig tausend sechzehn"),
    (324561, "three hundred twenty four thousand five hundred sixty one",
     "drei hundert vier und zwanzig tausend fünf hundert ein und sechzig"),
    (10**6, "one million", "eine Million"),
]  # fmt: skip


@pytest.mark.parametrize("number, english, german", NAMES, ids=[str(n) for n, *_ in NAMES])
def test_numbers_have_their_names(number, english, german):
    assert number_name(number, "en") == english and number_name(number, "de") == german


def test_no_two_numbers_share_a_name():
    numbers = [*range(2100), *range(99_000, 101_000), *range(998_000, 10**6 + 1)]
    for language in ("en", "de"):
        assert len({number_name(n, language) for n in numbers}) == len(numbers)


@pytest.mark.parametrize("number, language", [(-1, "en"), (10**6 + 1, "en"), (3, "fr")])
def test_other_numbers_and_languages_are_refused(number, language):
    with pytest.raises(ValueError, match="0 to 1000000 in en or de"):
        number_name(number, language)


def test_no_number_is_in_both_parts():
    data = generated_numbers("de", "en", train=300, test=50, seed=1)
    assert len(data.train) == 300 and len(data.test) == 50
    assert len(dict(data.train + data.test)) == 350
    assert data == generated_numbers("de", "en", train=300, test=50, seed=1)
    assert data.train != generated_numbers("de", "en", train=300, test=50, seed=2).train
    names = {number_name(n, "de"): number_name(n, "en") for n in range(1000)}
    known = [(a, b) for a, b in data.train if a in names]
    assert len(known) > 50 and all(names[a] == b for a, b in known)


# --- Two files -----------------------------------------------------------------------------------


def written(folder, sources, targets):
    paths = folder / "a.txt", folder / "b.txt.gz"
    paths[0].write_text("".join(f"{line}\n" for line in sources), "utf-8")
    paths[1].write_bytes(gzip.compress("".join(f"{line}\n" for line in targets).encode()))
    return paths


def test_two_files_are_split_by_their_sources(tmp_path):
    sources = [f"s{i % 40} " for i in range(100)]  # each twice or three times
    paths = written(tmp_path, [*sources, "", "x"], [*(f"t{i}" for i in range(100)), "y", " "])
    data = read_parallel(*paths)
    assert data.languages == ("a.txt", "b.txt.gz") and data.name == "files"
    assert sorted(data.train + data.test) == sorted((f"s{i % 40}", f"t{i}") for i in range(100))
    assert len({s for s, _ in data.test}) == 4
    assert not {s for s, _ in data.test} & {s for s, _ in data.train}
    assert read_parallel(*paths, seed=1).test != data.test
    few = read_parallel(*written(tmp_path, "abc", "xyz"))
    assert len(few.train) == 2 and len(few.test) == 1
    many = [str(i) for i in range(10_011)]
    assert len(read_parallel(*written(tmp_path, many, many)).test) == 1000


@pytest.mark.parametrize("sources, targets, message", [
    (["a", "b"], ["c"], "a.txt has 2 lines and .*b.txt.gz 1: line by line"),
    (["", "b"], ["c", ""], "no pair of sentences"),
    (["a", "a"], ["c", "d"], "two different sentences"),
    ([], [], "no pair"),
    (["a\0", "b"], ["c", "d"], "line 1, column 2: there is a NUL"),
])  # fmt: skip
def test_files_that_are_no_pair_are_one_error(tmp_path, sources, targets, message):
    with pytest.raises(FormatError, match=message):
        read_parallel(*written(tmp_path, sources, targets))


def test_every_truncation_of_a_packed_file_is_one_error(tmp_path):
    paths = written(tmp_path, "abc", "def")
    data = paths[1].read_bytes()
    for length in range(1, len(data)):
        paths[1].write_bytes(data[:length])
        with pytest.raises(FormatError, match=r"b\.txt\.gz"):
            read_parallel(*paths)


# --- Multi30k ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for language in LANGUAGES:
        for part, count in (("train", 30), (TEST, 4)):
            text = "".join(f"{part} {i} {language}\n" for i in range(count))
            if language == "en":
                (tmp_path / f"{part}.en").write_text(text)
            else:
                (tmp_path / f"{part}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_any_two_languages_are_read(folder, monkeypatch):
    data = load_multi30k("fr", "en", folder)
    assert data.train[7] == ("train 7 fr", "train 7 en") and len(data.train) == 30
    assert data.test == [(f"{TEST} {i} fr", f"{TEST} {i} en") for i in range(4)]
    inner = folder / "all" / "multi30k"
    inner.parent.mkdir()
    inner.symlink_to(folder)
    assert load_multi30k("fr", "en", inner.parent).train == data.train
    monkeypatch.setenv("MINAE_DATA", str(inner.parent))
    assert load_parallel("multi30k", "fr", "en", report=str).train == data.train


def test_without_multi30k_numbers_take_its_place(capsys, monkeypatch, tmp_path):
    assert load_parallel("multi30k", "de", "en").name == "numbers"
    printed = capsys.readouterr().out
    assert printed.startswith("Multi30k is not at hand. In its place, names of numbers, de to en:")
    assert "--data-dir" in printed
    monkeypatch.setenv("MINAE_DATA", str(tmp_path))
    assert load_parallel("multi30k", report=str).name == "numbers"
    with pytest.raises(ValueError, match=r"numbers are named in en and de.*--data-dir"):
        load_parallel("multi30k", "cs", "de")


def test_errors_of_multi30k_name_the_cure(folder, tmp_path):
    (folder / f"{TEST}.cs.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {TEST}\.cs .*github"):
        load_multi30k("en", "cs", folder)
    with pytest.raises(FileNotFoundError, match="not at hand: give by --data-dir"):
        load_multi30k("en", "de", folder / "none")
    for languages in (("en", "en"), ("en", "es")):
        with pytest.raises(ValueError, match="choose two of en, de, fr, cs"):
            load_parallel("multi30k", *languages, folder)
    with pytest.raises(ValueError, match="leave out --data-dir"):
        load_parallel("numbers", data_dir=folder)
    with pytest.raises(ValueError, match="choose multi30k, numbers or"):
        load_parallel("files")


def test_the_real_multi30k(real):
    data = load_multi30k("en", "de", real("multi30k"))
    assert len(data.train) == 29000 and len(data.test) == 1000
    assert data.train[0] == ("Two young, White males are outside near many bushes.",
                             "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.")
