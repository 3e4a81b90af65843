"""A better translation, as a line of tab-separated values that `source.also` takes in: source, target."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...data.text import Text, TextError
from ...feedback.correction import Correction, FeedbackError, Limits, fields
from .data.text import normalise

LIMITS = Limits(record=2**14, day=2**23, folder=2**26)
SUFFIX = ".tsv"
_LONGEST = 4000  # characters of a text, before it is normalised


def correction(record: Mapping[str, Any], moment: datetime) -> Correction:
    """`source` and `target`, each brought into the form that preparation gives it: no tab, no line end."""
    texts = []
    for side, text in zip(("source", "target"), fields(record, {"source": (str,), "target": (str,)}), strict=True):
        if len(text) > _LONGEST:
            raise FeedbackError(f"{side}: found {len(text):,} characters; allowed: {_LONGEST:,}")
        normal, _ = normalise(text)
        if not normal:
            raise FeedbackError(f"{side}: found no text; allowed: text on both sides")
        texts.append(normal)
    line = "\t".join(texts)
    content = f"{line}\n".encode()
    try:  # it may be a file's first, by whose first bytes preparation tells a text from something packed: `BZh`, `PAR1`
        Text(io.BytesIO(content), "source")
    except TextError as error:
        raise FeedbackError(str(error)) from None
    return Correction(label="", identity=line, content=content)


def identity(line: bytes) -> str:
    """See `Corrections` in tasks/protocol.py."""
    return line.decode()
