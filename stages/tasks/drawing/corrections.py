"""A drawing that the model made, and whether a person would keep it: an ndjson line.

Nothing is trained on it: a model that learns from what it made itself drifts from what people draw. The class stands
under `label` and not under `word`, so that no source takes these lines for people's drawings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from ...feedback.correction import Correction, FeedbackError, Limits, checked_label, fields
from ..sketch.corrections import checked_strokes, key_of, line_of, timestamp

LIMITS = Limits(record=2**18, day=2**25, folder=2**28)
SUFFIX = ".ndjson"
_HOTTEST = 100.0


def correction(record: Mapping[str, Any], moment: datetime) -> Correction:
    """`label`, the class that was asked for; `drawing` as `[[xs, ys], …]`; `temperature` it was drawn at; `kept`."""
    kinds = {"label": (str,), "drawing": (list,), "temperature": (int, float), "kept": (bool,)}
    label, drawing, temperature, kept = fields(record, kinds)
    if not 0 <= temperature <= _HOTTEST:
        raise FeedbackError(f"temperature: found {temperature}; allowed: 0 to {_HOTTEST:g}")
    label, strokes = checked_label(label), checked_strokes(drawing)
    row = {"label": label, "timestamp": timestamp(moment), "kept": kept, "temperature": float(temperature)}
    return Correction(label=label, identity=_identity(key_of(strokes), label, kept), content=line_of(row, strokes))


def identity(line: bytes) -> str:
    """See `Corrections` in tasks/protocol.py."""
    row = orjson.loads(line)
    if not isinstance(row, dict) or not {"key_id", "label", "kept"} <= row.keys():
        raise ValueError("not a line that records a drawing as kept or dropped")
    return _identity(str(row["key_id"]), str(row["label"]), bool(row["kept"]))


def _identity(key: str, label: str, kept: bool) -> str:
    return f"{key}\t{label}\t{kept}"
