"""ROUGE against its definition."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import rouge

WORDS = st.lists(st.sampled_from("abcd"), max_size=9)


def scores(right, found, wanted):
    precision, recall = (right / n if n else 0 for n in (found, wanted))
    f1 = 2 * precision * recall / (precision + recall) if right else 0
    return pytest.approx((precision, recall, f1))


def common(x, y):
    """The length of the longest common subsequence, by trying all of x."""
    for size in range(min(len(x), len(y)), 0, -1):
        for chosen in itertools.combinations(x, size):
            rest = iter(y)
            if all(token in rest for token in chosen):
                return size
    return 0


def by_hand(x, y):
    pairs = [Counter(itertools.pairwise(z)) for z in (x, y)]
    return (
        scores(sum((Counter(x) & Counter(y)).values()), len(x), len(y)),
        scores(sum((pairs[0] & pairs[1]).values()), max(len(x) - 1, 0), max(len(y) - 1, 0)),
        scores(common(x, y), len(x), len(y)),
    )


@given(WORDS, WORDS)
def test_one_pair_is_what_the_definition_says(x, y):
    assert rouge([x], [[y]]) == by_hand(x, y)
    assert rouge([" ".join(x)], [" ".join(y)], tokenize="none") == by_hand(x, y)


def test_by_hand_in_words():
    """Lin 2004, section 3.1: S2 and S3 share with S1 three words, in order, and two."""
    s1, s2, s3 = "police killed the gunman", "police kill the gunman", "the gunman kill police"
    assert rouge([s2], [s1]).rougeL == scores(3, 4, 4)
    assert rouge([s3], [s1]).rougeL == scores(2, 4, 4)
    assert rouge([s2], [s1]).rouge2 == rouge([s3], [s1]).rouge2 == scores(1, 3, 3)


def test_a_corpus_has_the_mean_of_its_pairs():
    one, two = rouge(["a b"], ["a c"]), rouge(["a"], ["b a c"])
    both = rouge(["a b", "a"], ["a c", "b a c"])
    for k in range(3):
        mean = [(a + b) / 2 for a, b in zip(one[k], two[k])]
        assert both[k] == pytest.approx(tuple(mean))
    assert both.rouge1.f1 != pytest.approx(  # which is not the F1 of the means
        2 / (1 / both.rouge1.precision + 1 / both.rouge1.recall)
    )


def test_of_several_references_the_best_counts_for_each_score():
    several = rouge(["a b c"], [["c b a", "x b c y z"]])
    assert several == (rouge(["a b c"], ["c b a"]).rouge1, rouge(["a b c"], ["x b c y z"]).rouge2,
                       rouge(["a b c"], ["x b c y z"]).rougeL)  # fmt: skip
    short, longer = rouge(["a b c"], ["a"]), rouge(["a b c"], ["a b x y"])
    assert short.rouge1.recall > longer.rouge1.recall and short.rouge1.f1 < longer.rouge1.f1
    assert rouge(["a b c"], [["a", "a b x y"]]).rouge1 == longer.rouge1  # the best by its F1


def test_english_is_letters_and_digits_in_lower_case():
    assert rouge(["It's 3-4, O.K.!"], ["it s 3 4 o k"]).rouge2.f1 == 1
    assert rouge(["naïve"], ["na ve"]).rouge1.f1 == 1  # which is why there is "none"
    assert rouge(["naïve"], ["na ve"], tokenize="none").rouge1.f1 == 0


def test_empty_text_has_the_scores_0():
    for pair in (("", "a"), ("a", ""), ("", ""), ("...", "a")):
        assert rouge([pair[0]], [pair[1]]) == ((0, 0, 0),) * 3


def test_long_text_takes_no_time():
    x, y = [*range(20_000)], [*range(10_000, 30_000)]
    assert rouge([x], [[y]]).rougeL == scores(10_000, 20_000, 20_000)


@pytest.mark.parametrize(
    "hypotheses, references, options, error, message",
    [
        ([], [], {}, ValueError, "0 hypotheses do not go with 0 references"),
        (["a"], [[]], {}, ValueError, "hypothesis 0 has no reference"),
        (["a"], ["a"], {"tokenize": "13a"}, ValueError, "'13a'; choose english or none"),
        ([["a"]], ["a"], {}, TypeError, "text is compared with text"),
    ],
)
def test_what_cannot_be_compared_is_refused(hypotheses, references, options, error, message):
    with pytest.raises(error, match=message):
        rouge(hypotheses, references, **options)
