"""CoNLL-U: what is read is written again to the byte; what is wrong is said with its place."""

import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import Sentence, TextError, read_conllu, write_conllu

TEXT = """# sent_id = 1
# text = Isn't it?
1-2\tIsn't\t_\t_\t_\t_\t_\t_\t_\t_
1\tIs\tbe\tAUX\tVBZ\t_\t0\troot\t0:root\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_
2.1\tgone\tgo\tVERB\t_\t_\t_\t_\t0:root\t_
2.2\tby\tby\tADV\t_\t_\t_\t_\t0:root\t_
3\tit\tit\tPRON\tPRP\t_\t1\tnsubj\t_\tSpaceAfter=No
4\t?\t?\tPUNCT\t.\t_\t1\tpunct\t_\t_

1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

"""


def test_words_columns_and_the_tree():
    first, second = read_conllu(TEXT.splitlines())
    assert first.comments == ["# sent_id = 1", "# text = Isn't it?"] and len(first.rows) == 7
    assert first.column("form") == ["Is", "n't", "it", "?"]
    assert first.column("upos") == ["AUX", "PART", "PRON", "PUNCT"]
    assert first.tree.parent.tolist() == [-1, 0, 0, 0]
    assert first.tree.labels == ["root", "advmod", "nsubj", "punct"]
    assert first.tree.words == first.column("form")
    assert second.comments == [] and len(second.tree) == 1
    assert "".join(f"{sentence}\n\n" for sentence in (first, second)) == TEXT


def test_a_file_is_written_as_it_was_read(tmp_path):
    path = tmp_path / "a.conllu"
    write_conllu(path, read_conllu(io.StringIO(TEXT)))
    assert path.read_bytes() == TEXT.encode()
    for row in (["1"] * 9, ["1"] * 9 + [""], ["1"] * 9 + ["a\tb"], ["1"] * 9 + ["a\nb"],
                ["1"] * 9 + ["\0"]):
        with pytest.raises(ValueError, match="ten fields without tabs"):
            write_conllu(path, [Sentence([], [row])])
    with pytest.raises(ValueError, match="at least one row"):
        write_conllu(path, [Sentence(["# alone"], [])])
    for comment in ("alone", "# two\nlines", "# \0", ""):
        with pytest.raises(ValueError, match="a line that begins with #"):
            write_conllu(path, [Sentence([comment], [["1"] * 10])])
    assert path.read_bytes() == TEXT.encode()


def row(name, head="0", form="w"):
    return "\t".join([name, form, "_", "_", "_", "_", head, "_", "_", "_"])


@pytest.mark.parametrize(
    "text, what, line, column",
    [
        ("# a\n1\tw\t_", "ten|10 fields with tabs between, this has 3", 2, 6),
        (row("1") + "\tmore", "this has 11", 1, 21),
        (row("1", form=""), "the field FORM is empty", 1, 3),
        (row("1") + "\n" + row("3"), "the id '3' is out of order: behind word 1", 2, 1),
        (row("01"), "the id '01' is out of order", 1, 1),
        (row("x"), "the id 'x' is out of order", 1, 1),
        (row("1") + "\n# late", "this has 1", 2, 7),
        (row("2-3", "_") + "\n" + row("1"), "the id '2-3' is out of order", 1, 1),
        (row("1-0", "_") + "\n" + row("1"), "the id '1-0' is out of order", 1, 1),
        (row("1-2", "_") + "\n" + row("1"), "the token 1-2 reaches beyond the last word, 1", 1, 1),
        ("\n".join([row("1-2", "_"), row("1"), row("2-3", "_"), row("2"), row("3")]),
         "the id '2-3' is out of order", 3, 1),
        (row("1-" + "9" * 5000, "_") + "\n" + row("1"), "the id '1-9+' is out of order", 1, 1),
        (row("1") + "\n" + row("1.2", "_"), "the id '1.2' is out of order", 2, 1),
        (row("1") + "\n" + row("2.1", "_"), "the id '2.1' is out of order", 2, 1),
        (row("1", "2"), "the head '2' is no word: 1 to 1, or 0 for a root", 1, 13),
        (row("1", "_"), "the head '_' is no word", 1, 13),
        (row("1", "\u0661"), "is no word", 1, 13),
        (row("1", "-1"), "the head '-1' is no word", 1, 13),
        (row("1", "9" * 5000), "the head '9+' is no word", 1, 13),
        (row("1", "1"), "from word 1 on lead back to it", 1, 13),
        ("\n".join([row("1"), row("2", "4"), row("3", "2"), row("4", "3")]),
         "from word 2 on lead back", 2, 13),
        ("\n".join([row("1", "3"), row("2", "3"), row("3", "2")]), "from word 2 on lead", 2, 13),
        ("# alone\n\n" + row("1"), "no row to which they belong", 1, 1),
        ("\n".join(row(str(i + 1)) for i in range(6)), "more than 5 lines", 6, 1),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text, what, line, column):
    with pytest.raises(TextError, match=f"line {line}, column {column}: .*(?:{what})"):
        list(read_conllu(io.StringIO(text), largest=5))


def test_an_empty_word_may_come_before_the_first():
    text = row("0.1", "_") + "\n" + row("1")
    assert str(next(read_conllu([*text.split("\n"), "", ""]))) == text


def test_every_truncation_is_whole_sentences_and_at_most_one_error():
    whole = list(read_conllu(io.StringIO(TEXT)))
    for size in range(len(TEXT)):
        found = []
        try:
            for sentence in read_conllu(io.StringIO(TEXT[:size])):
                found.append(sentence)
        except TextError as error:
            assert error.line <= TEXT.count("\n", 0, size) + 1
        read = TEXT[:size].count("\n\n")
        assert found[:read] == whole[:read] and len(found) <= read + 1


FIELD = st.sampled_from(["1", "2", "3", "1-2", "1.1", "0", "_", "", "#", "x"])


@given(st.lists(st.lists(FIELD, min_size=9, max_size=11).map("\t".join) | st.just(""), max_size=5))
def test_any_rows_are_sentences_or_one_error(text):
    try:
        sentences = list(read_conllu(text))
    except TextError as error:
        assert 1 <= error.line <= len(text) + 1 and error.column >= 1
    else:
        for sentence in sentences:
            assert len(sentence.tree) == len(sentence.words)
        again = [line for s in sentences for line in [*str(s).split("\n"), ""]]
        assert list(read_conllu(again)) == sentences


def test_a_chain_of_many_words_is_no_cycle():
    count = 100_000
    (sentence,) = read_conllu(row(str(i + 1), str(i)) for i in range(count))
    assert sentence.tree.level[0] == count - 1


def test_a_treebank_is_written_as_it_was_read():
    path = Path(os.environ.get("MINAE_DATA", ""), "ud_english_ewt", "en_ewt-ud-dev.conllu.gz")
    if not path.exists():
        pytest.skip("UD English EWT is not in $MINAE_DATA")
    sentences = list(read_conllu(path))
    assert len(sentences) == 2001 and sum(len(s.words) for s in sentences) == 25147
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        assert "".join(f"{sentence}\n\n" for sentence in sentences) == file.read()
