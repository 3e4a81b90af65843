"""Numbers as people write them: `1234.5`, `1,234.5`, `1.234,5`, `1 234,5`, `1'234.5`.

A text is a number by the stated notation or it is none. Nothing is guessed: `1,234` is a thousand to some, and a little
more than one to others. Where another notation would read it, an error names the keys that choose that one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})  # what stands for no number, in lower case
DECIMAL = (".", ",")
# `prepare.thousands` → the characters that it stands for: a blank may be a no-break, a narrow or a thin one.
THOUSANDS = {"": "", ",": ",", ".": ".", " ": " \u00a0\u202f\u2009", "'": "'\u2019"}


@dataclass(frozen=True)
class Notation:
    """What parts the whole from the fraction, and the thousands from each other."""

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        groups = rf"\d{{1,3}}(?:[{THOUSANDS[self.thousands]}]\d{{3}})+|" if self.thousands else ""
        point = re.escape(self.decimal)
        return re.compile(rf"[+-]?(?:(?:{groups}\d+)(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?", re.ASCII)

    def parse(self, text: str) -> float | None:
        """The number that a text without blanks around it is, or None. Beyond float64 it is infinite."""
        if not self._pattern.fullmatch(text):
            return None
        for separator in THOUSANDS[self.thousands]:
            text = text.replace(separator, "")
        return float(text.replace(self.decimal, "."))

    def hint(self, text: str) -> str:
        """The keys of `prepare` that would read a text which this notation does not; empty where none would."""
        ways = []
        for other in _notations():
            marks = set(THOUSANDS[other.thousands])
            if other.parse(text) is not None and (not marks or marks & set(text)):
                keys = [f"prepare.thousands: {other.thousands!r}"] if other.thousands != self.thousands else []
                keys += [f"prepare.decimal: {other.decimal!r}"] if other.decimal != self.decimal else []
                ways.append(keys)
        fewest = min(map(len, ways), default=0)
        found = [" with ".join(keys) for keys in ways if len(keys) == fewest > 0]
        return f"; it looks like {' or '.join(found)}" if found else ""

    def may_be_thousands(self, text: str) -> bool:
        """Whether this notation reads a fraction of three digits, such as `1.234`, that another reads as thousands."""
        return bool(re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}{re.escape(self.decimal)}\d{{3}}", text, re.ASCII))


PLAIN = Notation()  # of the registered model, of .tsf files, and by default


@cache
def _notations() -> list[Notation]:
    """Every notation, those without a mark between thousands last."""
    return [Notation(point, mark) for mark in reversed(THOUSANDS) for point in DECIMAL if point != mark]
