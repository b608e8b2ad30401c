"""The symbols of words."""

import pytest

from minae.seq import Vocabulary, spelled, spelling_ids, spellings


@pytest.mark.parametrize("word, symbols", [
    ("Don't", ["=don't", "~t", "~'t", "~n't", "#Xx'x"]),
    ("U.S.", ["=u.s.", "~.", "~s.", "~.s.", "#Xx.Xx."]),
    ("1,200-odd", ["=1,200-odd", "~d", "~dd", "~odd", "#0,0-x"]),
    ("AIDS", ["=aids", "~s", "~ds", "~ids", "#X"]),
    ("été", ["=été", "~é", "~té", "~été", "#x"]),
    ("中文", ["=中文", "~文", "~中文", "~中文", "#x"]),
    ("a-b-c-d-e", ["=a-b-c-d-e", "~e", "~-e", "~d-e", "#x-x-x-x-"]),
    ("", ["=", "~", "~", "~", "#"]),
])
def test_a_word_in_symbols(word, symbols):
    assert spelled(word) == symbols


def test_unknown_words_keep_what_is_known_of_their_ends():
    found = Vocabulary.count(spellings([["walked", "Ada"], ["talked"]]), specials=["<unk>"],
                             unknown="<unk>")
    (ids,) = spelling_ids(["Balked"], found)
    assert [found.symbols[i] for i in ids] == ["<unk>", "~d", "~ed", "~ked", "#Xx"]
