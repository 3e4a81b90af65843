"""How a text is brought into one form before it is a sentence. Travels inside a registered model.

1. Of more than 30 combining marks on one character the others go: no language has so many, and normalisation takes
quadratic time for them (Unicode's own limit, https://unicode.org/reports/tr15/#Stream_Safe_Text_Format). 2. Unicode
normalisation form C, so that é is one character however it was typed. 3. Marks that are not seen (soft hyphen,
zero-width space, direction, byte order) go; the joiners that spelling needs stay. 4. Control characters and half
surrogates become a space. 5. Spaces of every kind, the no-break spaces of French among them, and line ends become one
ordinary space each run; none stands at either end. By name: marks, composed, invisible, control, spaces.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_MOST_MARKS = 30  # on one character
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def normalise(text: str) -> tuple[str, list[str]]:
    """The text in its one form, and the names of the rules that changed it.

    Takes time in proportion to the text's length.
    """
    changed: list[str] = []

    def apply(rule: str, before: str, after: str) -> str:
        if after != before:
            changed.append(rule)
        return after

    text = apply("marks", text, _with_few_marks(text))
    text = apply("composed", text, unicodedata.normalize("NFC", text))
    text = apply("invisible", text, _INVISIBLE.sub("", text))
    text = apply("control", text, _CONTROL.sub(" ", text))
    text = apply("spaces", text, " ".join(text.split()))
    return text, changed


def _with_few_marks(text: str) -> str:
    if len(text) <= _MOST_MARKS or text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)
