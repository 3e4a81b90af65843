"""What a task's source meets when it asks for files: the hosts as they are now, or as a pin says they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from . import Request, fetch_all
from .tree import Tree, files_below


class Host(Protocol):
    """Lists and fetches files. The other one is `sources.pinned.PinnedHost`."""

    def tree(self, url: str, chosen: Sequence[str], *, below: str, max_files: int, loose: bool = False) -> Tree:
        """What lies below an address, as `files_below` says; in the raw folder it is kept in the folder `below`."""

    def fetch(self, requests: Sequence[Request], record: Path) -> None:
        """All files to their targets, as `fetch_all` says."""


class PresentHost:
    """The hosts as they are now."""

    def tree(self, url: str, chosen: Sequence[str], *, below: str, max_files: int, loose: bool = False) -> Tree:
        return files_below(url, chosen, max_files=max_files, loose=loose)

    def fetch(self, requests: Sequence[Request], record: Path) -> None:
        fetch_all(requests, record)


PRESENT = PresentHost()
