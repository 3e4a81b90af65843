"""The names of series: each is one series', and names that a person would take for one are told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ..data.series import Rejection

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


class Names:
    """The names that the files of a folder give to series."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._spelled: dict[str, str] = {}

    def claim(self, name: str, owner: str) -> None:
        """Raises Rejection where the name is another owner's; one is a column of values, or a line of a .tsf."""
        if (first := self._owners.setdefault(name, owner)) != owner:
            found = f"found the series {name!r} in {owner} and another one with that name in {first}"
            raise Rejection("name_of_two", f"{found}; allowed: a unique name for each series")

    def is_free(self, name: str) -> bool:
        """Whether no series has the name."""
        return name not in self._owners

    def as_before(self, name: str, text: str) -> bool:
        """Whether a name stands in the file as it did first, blanks around it included."""
        return self._spelled.setdefault(name, text) == text


def alike(names: Iterable[str]) -> dict[str, str]:
    """Names that differ from an earlier one in nothing that is seen (how é is composed, a no-break space, a byte order
    mark), each with that one.
    """
    first: dict[str, str] = {}
    found = ((name, first.setdefault(_seen(name), name)) for name in names)
    return {name: other for name, other in found if name != other}


def _seen(name: str) -> str:
    return " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", name)).split())
