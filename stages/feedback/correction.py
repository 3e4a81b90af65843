"""A correction as a task's `corrections.py` makes it of what a user sent, and how much may be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_LABEL = 80  # characters


class FeedbackError(ValueError):
    """What was sent is not kept; the message says why, and holds nothing of this machine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that are kept at most: of one correction, of a day (UTC), of a task's folder."""

    record: int
    day: int
    folder: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What is kept of one record."""

    label: str  # the class it is said to be of; empty where the task has no classes
    identity: str  # equal for corrections that say the same, whenever they came
    content: bytes  # a line with its line feed, or a whole file
    suffix: str = ""  # of that file, with its dot


def fields(record: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> list[Any]:
    """The values of a record in the order of `kinds`. Raises FeedbackError where it has other keys, or other types."""
    if not isinstance(record, Mapping) or record.keys() != kinds.keys():
        found = ", ".join(sorted(map(repr, record)))[:200] if isinstance(record, Mapping) else type(record).__name__
        raise FeedbackError(f"found {found or 'nothing'}; allowed: exactly the keys {', '.join(kinds)}")
    for key, allowed in kinds.items():
        value = record[key]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join(one.__name__ for one in allowed)
            raise FeedbackError(f"{key}: found {type(value).__name__}; allowed: {names}")
    return [record[key] for key in kinds]


def checked_label(text: str) -> str:
    """A label without blanks around it. Raises FeedbackError where it is none that a class could have."""
    label = text.strip()
    if not 0 < len(label) <= MAX_LABEL or not label.isprintable():
        raise FeedbackError(
            f"found a label of {len(label)} characters; allowed: 1 to {MAX_LABEL}, all of them printable"
        )
    return label
