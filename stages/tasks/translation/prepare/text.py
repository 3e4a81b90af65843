"""How a text is brought into one form before it is a sentence. Travels inside a registered model.

1. Unicode normalisation form C, so that é is one character however it was typed. 2. Marks that are not seen (soft
hyphen, zero-width space, direction, byte order) go; the joiners that spelling needs stay. 3. Control characters and
half surrogates become a space. 4. Spaces of every kind, the no-break spaces of French among them, and line ends become
one ordinary space each run; none
   stands at either end.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def normalise(text: str) -> tuple[str, list[str]]:
    """The text in its one form, and the names of the rules that changed it: composed, invisible, control, spaces."""
    changed: list[str] = []

    def apply(rule: str, before: str, after: str) -> str:
        if after != before:
            changed.append(rule)
        return after

    text = apply("composed", text, unicodedata.normalize("NFC", text))
    text = apply("invisible", text, _INVISIBLE.sub("", text))
    text = apply("control", text, _CONTROL.sub(" ", text))
    text = apply("spaces", text, " ".join(text.split()))
    return text, changed
