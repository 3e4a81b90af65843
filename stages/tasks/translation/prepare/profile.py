"""What sentences look like to a translator: tokens of each, which they are, how many of them it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....data.evenly import evenly
from ....data.prepared import open_prepared
from ....preprocessing.profile import Categories, Known, Numbers, Observed
from ..data.tokenizer import UNKNOWN, Tokenizer, load_tokenizers

MOST_SENTENCES = 6_000


def learned(prepared: Path) -> Observed:
    """The training sources of the prepared data, by the tokens that are stored."""
    store, description = open_prepared(prepared)
    rows = store.rows("train")
    rows = rows[evenly(len(rows), MOST_SENTENCES)]
    tokenizer, _ = load_tokenizers(prepared, description)
    texts, tokens = list(store.values("source_text", rows)), [store.sequence("source", row) for row in rows]
    return Observed(
        examples=len(rows),
        features=token_features(texts, tokens, tokenizer, description["tokenizer"]),
        groups=_groups(prepared, rows),
    )


def current(prepared: Path, rows: np.ndarray, known: Known) -> Observed:
    """Some rows of the prepared data, ascending, as the tokenizer of a model reads them."""
    store, _ = open_prepared(prepared)
    rows = rows[evenly(len(rows), MOST_SENTENCES)]
    tokenizer, _ = load_tokenizers(known.folder, known.data)
    texts = list(store.values("source_text", rows))
    tokens = [np.array(tokenizer.encode(text), dtype=np.int64) for text in texts]
    return Observed(
        examples=len(rows),
        features=token_features(texts, tokens, tokenizer, known.data["tokenizer"]),
        groups=_groups(prepared, rows),
    )


def _groups(prepared: Path, rows: np.ndarray) -> np.ndarray | None:
    store, _ = open_prepared(prepared)
    if "group" not in store.columns:
        return None
    named = [group or f"\0{row}" for row, group in zip(rows, store.values("group", rows), strict=True)]
    return np.unique(named, return_inverse=True)[1]


def token_features(
    texts: Sequence[str], tokens: Sequence[np.ndarray], tokenizer: Tokenizer, kind: str
) -> dict[str, Numbers | Categories]:
    """Of normalised texts and their tokens, each `(time,)` with one or more."""
    lengths = np.array([len(own) for own in tokens], dtype=np.int64)
    codes = np.concatenate(tokens).astype(np.int64) if len(tokens) else np.zeros(0, dtype=np.int64)
    sentence = np.repeat(np.arange(len(tokens)), lengths)
    features: dict[str, Numbers | Categories] = {
        "tokens": Numbers(lengths.astype(np.float64)),
        "token": Categories(codes, tokenizer.pieces(range(tokenizer.size)), sentence),
        "unknown": Categories((codes == UNKNOWN).astype(np.int64), ["known", "unknown"], sentence),
    }
    if kind != "character":  # else each is a token
        characters = np.array([len(text) for text in texts], dtype=np.float64)
        features["characters_per_token"] = Numbers(np.round(characters / np.maximum(lengths, 1), 3))
    return features
