"""Hugging Face's tokenizer.json, where a tokenizer of minae gives the same ids."""

from __future__ import annotations

from typing import Any

from ...io import FormatError
from . import saved
from .bpe import BPETokenizer
from .vocabulary import Vocabulary
from .wordpiece import LONGEST, PREFIX, WordPieceTokenizer
from .words import WordTokenizer

CURE = "set it so and save it anew, or train one here"
_WORDS = {"Whitespace": "words", "WhitespaceSplit": "spaces"}


def read(found: dict[str, Any]) -> WordTokenizer | WordPieceTokenizer | BPETokenizer:
    """The tokenizer of a whole file, ``found``; FormatError for what minae cannot equal."""
    _same(found, "the file", truncation=None, padding=None)
    model = _object(found, "model")
    kind = model.get("type", "BPE" if "merges" in model else None)  # GPT-2's own has no type
    readers: dict[Any, Any] = {"BPE": _bpe, "WordPiece": _wordpiece, "WordLevel": _words}
    if kind not in readers:
        raise FormatError(f"the model is {kind!r}; BPE, WordPiece and WordLevel are read here")
    return readers[kind](found, model)


def _bpe(found: dict[str, Any], model: dict[str, Any]) -> BPETokenizer:
    _same(
        model, "the model", dropout=(None, 0.0), continuing_subword_prefix=(None, ""),
        end_of_word_suffix=(None, ""), byte_fallback=False, ignore_merges=False,
    )  # fmt: skip
    _same(found, "the file", normalizer=None)
    parts = _object(found, "pre_tokenizer", "ByteLevel")
    _same(parts, "pre_tokenizer", add_prefix_space=False, use_regex=True)
    merges = [
        m.split(" ") if isinstance(m, str) else m
        for m in saved.typed(model.get("merges"), "merges", [(str, list)])
    ]
    for merge in merges:
        if len(saved.typed(merge, "a merge", [str])) != 2:
            raise FormatError(f"a merge must have two symbols; one is {merge!r:.60}")
    return BPETokenizer(_vocabulary(found, model, None), merges)


def _wordpiece(found: dict[str, Any], model: dict[str, Any]) -> WordPieceTokenizer:
    _same(
        model, "the model", continuing_subword_prefix=(PREFIX,), max_input_chars_per_word=(LONGEST,)
    )
    clean = _object(found, "normalizer", "BertNormalizer")
    _same(clean, "normalizer", clean_text=True, handle_chinese_chars=True)
    _object(found, "pre_tokenizer", "BertPreTokenizer")
    strip = saved.typed(clean.get("strip_accents"), "strip_accents", (bool, type(None)))
    lower = saved.typed(clean.get("lowercase"), "lowercase", bool)
    vocabulary = _vocabulary(found, model, model.get("unk_token"))
    return WordPieceTokenizer(vocabulary, lower, None if strip is None else not strip)


def _words(found: dict[str, Any], model: dict[str, Any]) -> WordTokenizer:
    _same(found, "the file", normalizer=None)
    parts = _object(found, "pre_tokenizer", *_WORDS)
    return WordTokenizer(_vocabulary(found, model, model.get("unk_token")), _WORDS[parts["type"]])


def _vocabulary(found: dict[str, Any], model: dict[str, Any], unknown: Any) -> Vocabulary:
    """The symbols of the model and those that were added; of the latter, all must be special."""
    table = dict(saved.typed(model.get("vocab"), "vocab", dict))
    saved.typed(unknown, "unk_token", (str, type(None)))
    specials = []
    for added in saved.typed(found.get("added_tokens", []), "added_tokens", [dict]):
        name = saved.typed(added.get("content"), "the content of an added token", str)
        if added.get("special") is not True:
            raise FormatError(
                f"{name!r} was added and is not special: train with it in the text instead"
            )
        if table.setdefault(name, added.get("id")) != added.get("id"):
            raise FormatError(f"{name!r} has two ids")
        specials.append(name)
    if unknown is not None and unknown not in specials:
        specials.append(unknown)
    return Vocabulary(saved.by_id(table), specials=specials, unknown=unknown)


def _object(found: dict[str, Any], name: str, *types: str) -> dict[str, Any]:
    """An entry that is an object, of one of the ``types``, if there are any."""
    value = found.get(name)
    if not isinstance(value, dict) or (types and value.get("type") not in types):
        kind = value.get("type") if isinstance(value, dict) else value
        other = " or ".join(types) or "an object"
        raise FormatError(f"the {name} is {kind!r:.60}; minae equals {other} alone: {CURE}")
    return value


def _same(found: dict[str, Any], where: str, **wanted: Any) -> None:
    """That the entries are what is wanted, or one of a tuple; the first is meant if missing."""
    for name, values in wanted.items():
        values = values if isinstance(values, tuple) else (values,)
        value = found.get(name, values[0])
        if value not in values:
            other = " or ".join(map(repr, values))
            raise FormatError(
                f"{name} of {where} is {value!r:.60}; minae equals {other} alone: {CURE}"
            )
