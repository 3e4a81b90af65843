"""Sentences of a user's file as a profile sees them, brought into one form and tokenised as by the registered model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np

from ....preprocessing.profile import Known, Observed
from ..data.text import normalise
from ..data.tokenizer import load_tokenizers
from ..prepare.profile import MOST_SENTENCES, token_features


def read(groups: Iterable[list[dict[str, Any]]], known: Known) -> Observed:
    """The first sentences of a file, at most as many as a profile is made of. Empty lines count for nothing."""
    tokenizer, _ = load_tokenizers(known.folder, known.data)
    texts: list[str] = []
    tokens: list[np.ndarray] = []
    rejected: Counter[str] = Counter()
    for row in islice((row for group in groups for row in group), MOST_SENTENCES):
        if "error" in row:
            rejected["unreadable_line"] += 1
            continue
        text, _ = normalise(row["text"])
        own = np.array(tokenizer.encode(text), dtype=np.int64)
        if len(own) > known.data["max_source_tokens"]:
            rejected["too_long"] += 1
        elif len(own):
            texts.append(text)
            tokens.append(own)
    features = token_features(texts, tokens, tokenizer, known.data["tokenizer"])
    return Observed(examples=len(texts), features=features, rejected=rejected)
