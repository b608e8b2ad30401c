"""Text and trees: from files to arrays, from arrays to models' codes, and back to text."""

from . import semirings
from .agreement import LabelScores, Scores, label_scores, set_f1
from .batching import batches_by_length
from .bleu import BLEU, bleu, sentence_bleu
from .bpe import BPETokenizer
from .brackets import bracketed, read_brackets, write_brackets
from .characters import CharacterTokenizer
from .conllu import FIELDS, Sentence, read_conllu, write_conllu
from .constituents import (
    F1,
    balanced,
    baselines,
    best_binary,
    left_branching,
    random_tree,
    right_branching,
    tree_f1,
    tree_over,
)
from .corpus import Labeled, Pairs, Sequences, Windows
from .decode import Decoded, Hypotheses, beam_search, greedy, sample, take_rows
from .likelihood import bits_per_character, perplexity
from .padded import Padded, pad
from .reinforce import Baseline, learned_baseline, leave_one_out, reinforce, self_critical
from .relaxed import gumbel_softmax, sample_relaxed
from .rouge import ROUGE, rouge
from .spans import Span, SpanScores, span_f1, spans
from .spelling import spelled, spelling_ids, spellings
from .stack import REDUCE, SHIFT, Cells, Move, Stacks, actions_of, actions_of_spans, tree_of
from .stream import windows
from .structure import BinaryTrees, LinearChain
from .text import TextError, lines
from .tokenizers import load_tokenizer
from .tree_lstm import ChildSumTreeLSTM, NaryTreeLSTM
from .treebank import (
    PUNCTUATION,
    binarize,
    unbinarize,
    with_unaries,
    without_functions,
    without_leaves,
    without_punctuation,
    without_traces,
    without_unaries,
)
from .trees import Forest, Levels, Tree, select
from .vocabulary import Vocabulary
from .wordpiece import WordPieceTokenizer
from .words import WordTokenizer

__all__ = [
    "BLEU",
    "F1",
    "FIELDS",
    "PUNCTUATION",
    "REDUCE",
    "ROUGE",
    "SHIFT",
    "BPETokenizer",
    "Baseline",
    "BinaryTrees",
    "Cells",
    "CharacterTokenizer",
    "ChildSumTreeLSTM",
    "Decoded",
    "Forest",
    "Hypotheses",
    "LabelScores",
    "Labeled",
    "Levels",
    "LinearChain",
    "Move",
    "NaryTreeLSTM",
    "Padded",
    "Pairs",
    "Scores",
    "Sentence",
    "Sequences",
    "Span",
    "SpanScores",
    "Stacks",
    "TextError",
    "Tree",
    "Vocabulary",
    "Windows",
    "WordPieceTokenizer",
    "WordTokenizer",
    "actions_of",
    "actions_of_spans",
    "balanced",
    "baselines",
    "batches_by_length",
    "beam_search",
    "best_binary",
    "binarize",
    "bits_per_character",
    "bleu",
    "bracketed",
    "greedy",
    "gumbel_softmax",
    "label_scores",
    "learned_baseline",
    "leave_one_out",
    "left_branching",
    "lines",
    "load_tokenizer",
    "pad",
    "perplexity",
    "random_tree",
    "read_brackets",
    "read_conllu",
    "reinforce",
    "right_branching",
    "rouge",
    "sample",
    "sample_relaxed",
    "select",
    "self_critical",
    "semirings",
    "sentence_bleu",
    "set_f1",
    "span_f1",
    "spans",
    "spelled",
    "spelling_ids",
    "spellings",
    "take_rows",
    "tree_f1",
    "tree_of",
    "tree_over",
    "unbinarize",
    "windows",
    "with_unaries",
    "without_functions",
    "without_leaves",
    "without_punctuation",
    "without_traces",
    "without_unaries",
    "write_brackets",
    "write_conllu",
]  # fmt: skip
