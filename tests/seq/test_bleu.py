"""BLEU by hand; against sacrebleu on thousands of lines, see tests/oracles."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import bleu, sentence_bleu
from minae.seq.metrics.bleu import TOKENIZERS

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


def test_the_example_of_the_definition():
    """Papineni et al. 2002, example 2: "the" counts twice, as often as one reference has it."""
    found = bleu(["the the the the the the the"],
                 [["The cat is on the mat.", "There is a cat on the mat."]], smooth="none")
    assert math.isclose(found.precisions[0], 100 * 1 / 7)  # case matters here
    low = bleu(["the the the the the the the"],
               [["the cat is on the mat.", "there is a cat on the mat."]], smooth="none")
    assert math.isclose(low.precisions[0], 100 * 2 / 7) and low.score == 0


def test_by_hand():
    found = bleu(["a b c d e"], ["a b c d f g"], tokenize="none")
    assert found.precisions == pytest.approx([100 * n for n in (4 / 5, 3 / 4, 2 / 3, 1 / 2)])
    assert (found.hypothesis_length, found.reference_length) == (5, 6)
    assert math.isclose(found.brevity_penalty, math.exp(1 - 6 / 5))
    mean = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert math.isclose(found.score, 100 * math.exp(-1 / 5) * mean)


def test_what_is_too_long_has_no_penalty():
    found = bleu(["a b c d e f"], ["a b c d"], tokenize="none")
    assert found.brevity_penalty == 1 and found.precisions[3] == pytest.approx(100 / 3)


def test_what_stands_for_no_match():
    scores = {s: bleu(["a b x c d"], ["a b c d y"], tokenize="none", smooth=s).precisions
              for s in ("none", "floor", "exp")}
    assert scores["none"] == pytest.approx([80, 50, 0, 0])
    assert scores["floor"] == pytest.approx([80, 50, 10 / 3, 10 / 2])
    assert scores["exp"] == pytest.approx([80, 50, 50 / 3, 25 / 2])


def test_counts_are_added_up_before_they_are_divided():
    one = bleu(["a b c d e", "x"], ["a b c d e", "y z w"], tokenize="none")
    assert one.precisions[:2] == pytest.approx([100 * 5 / 6, 100])
    assert math.isclose(one.brevity_penalty, math.exp(1 - 8 / 6))


def test_of_several_references_the_nearest_in_length_counts_and_the_shorter_of_two():
    found = bleu(["a b c"], [["a b c d e", "a", "a b c d", "a b"]], tokenize="none")
    assert found.reference_length == 2


def test_a_short_sentence_has_a_mean_over_the_orders_that_it_has():
    assert sentence_bleu("a b", "a b", tokenize="none").score == 100
    assert sentence_bleu("a", ["b", "a"], tokenize="none").score == 100
    assert bleu(["a b"], ["a b"], tokenize="none").score == 0


@pytest.mark.parametrize("score", [bleu, sentence_bleu])
def test_empty_text_has_the_score_0(score):
    def of(hypothesis, reference):
        listed = score is bleu
        return score([hypothesis] if listed else hypothesis, [reference] if listed else reference)

    for pair in (("", "a"), ("a", ""), ("", ""), ("a", ["", "b"])):
        assert of(*pair).score == 0


def test_the_rules_of_13a():
    text = 'He said: "1,000.5-mile (U.S.) &amp;&lt;&gt;&quot; don\'t <skipped>-\nstop" 3-4, a-b.\n'
    wanted = 'He said : " 1,000.5 - mile ( U . S . ) & < > " don\'t stop " 3 - 4 , a-b .'
    assert " ".join(TOKENIZERS["13a"](text)) == wanted


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_tokens_are_compared_as_they_are(pairs):
    """Whatever they are: here, numbers in place of words."""
    hypotheses, references = zip(*pairs)
    text = bleu([" ".join(h) for h in hypotheses],
                [[" ".join(r) for r in several] for several in references], tokenize="none")
    tokens = bleu([[*map(ord, h)] for h in hypotheses],
                  [[[*map(ord, r)] for r in several] for several in references])
    assert text == tokens
    assert 0 <= tokens.score <= 100


@pytest.mark.parametrize(
    "hypotheses, references, options, error, message",
    [
        ([], [], {}, ValueError, "0 hypotheses do not go with 0 references"),
        (["a"], ["a", "b"], {}, ValueError, "1 hypotheses do not go with 2 references"),
        (["a", "b"], ["a", []], {}, ValueError, "hypothesis 1 has no reference"),
        (["a"], ["a"], {"tokenize": "intl"}, ValueError, "'intl'; choose 13a or none"),
        (["a"], ["a"], {"smooth": "add-k"}, ValueError, "'add-k'; choose exp, floor or none"),
        ([["a"]], [["a"]], {}, TypeError, "hypothesis 0: text is compared with text"),
        ("a b", "a b", {}, TypeError, "are lists: put the one into"),
        (["a"], "a", {}, TypeError, "are lists: put the one into"),
        (["a"], [[["a"]]], {}, TypeError, "a list of tokens with a list of such lists"),
    ],
)
def test_what_cannot_be_compared_is_refused(hypotheses, references, options, error, message):
    with pytest.raises(error, match=message):
        bleu(hypotheses, references, **options)
