"""The host that download meets where its source is pinned: what a pin names, out of the nearest place that has it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..fetch import DownloadError, Request, UnreachableError, write_record
from ..fetch.host import Host, PresentHost
from ..fetch.tree import Tree
from . import pins
from .additional import ONE_MACHINE, is_local
from .fetched import Fetched, name_of
from .pins import Pin, PinnedFile

if TYPE_CHECKING:
    from ..params import Block


def host_of(task: str, source: Block) -> Host:
    """The host for a task's `source` block: as its pin says or, where that is of another block, as hosts are now."""
    pin = pins.read(pins.path_of(task))
    if pin.source != pins.digest(source):
        return UnpinnedHost(task, "belongs to another source")
    return PinnedHost(task, pin) if pin.files else UnpinnedHost(task, "names no file")


class UnpinnedHost(PresentHost):
    """The hosts as they are now; says so, and how to pin, once all has come."""

    def __init__(self, task: str, why: str) -> None:
        self._task, self._why, self._told = task, why, False

    def fetch(self, requests: Sequence[Request], record: Path) -> None:
        super().fetch(requests, record)
        if not self._told:
            found = f"{pins.path_of(self._task)} {self._why}, so the files that the host has now were fetched"
            way_out = f"`python -m stages.refresh {self._task}` pins them"
            print(f"unroll: download {self._task}: {found}; {way_out}", file=sys.stderr)
        self._told = True


class PinnedHost:
    """Lists what the pin names; fetches from `.fetched/`, else from DVC's cache, else from the host of the file."""

    def __init__(self, task: str, pin: Pin) -> None:
        self._task, self._pin, self._fetched = task, pin, Fetched()

    def tree(self, url: str, chosen: Sequence[str], *, below: str, max_files: int, loose: bool = False) -> Tree:
        names = {n.removeprefix(f"{below}/"): f.url for n, f in self._pin.files.items() if n.startswith(f"{below}/")}
        return Tree(files=names, left_out={} if loose else dict(self._pin.left_out))  # of a loose one none was

    def fetch(self, requests: Sequence[Request], record: Path) -> None:
        """Write every file as it is pinned. Raises DownloadError where the host no longer has that version."""
        named = [(request, self._pinned(request, record.parent)) for request in requests]
        missing = self._copy(named)
        if missing:
            with self._fetched.lock(self._task):  # of two worktrees, the second finds what the first has fetched
                missing = self._copy(missing)
                self._from_hosts(missing)
                for _, file in self._copy(missing):
                    raise self._other_version(f"{file.url} no longer matches {pins.path_of(self._task)}")
                self._fetched.prune({file.content.sha256 for _, file in named})
        write_record(
            record,
            {
                request.target: {
                    "url": file.url,
                    "bytes": file.content.bytes,
                    "md5": file.content.md5,
                    "etag": file.etag,
                    "generation": file.generation,
                    "complete": file.content.complete,
                }
                for request, file in named
            },
        )

    def _copy(self, named: Sequence[tuple[Request, PinnedFile]]) -> list[tuple[Request, PinnedFile]]:
        """Write what is here to its targets; what is left."""
        return [(r, file) for r, file in named if not self._fetched.copy(file.content, r.target)]

    def _pinned(self, request: Request, folder: Path) -> PinnedFile:
        name = name_of(request, folder)
        if name not in self._pin.files:
            raise DownloadError(
                f"{pins.path_of(self._task)} does not name {name}; `python -m stages.refresh {self._task}` pins it"
            )
        return self._pin.files[name]

    def _from_hosts(self, missing: Sequence[tuple[Request, PinnedFile]]) -> None:
        """Into `.fetched/`; of a file that has grown since, only what it had."""
        wanted = [replace(r, length=None if r.lines else f.content.bytes, size=None, sha256=None) for r, f in missing]
        try:
            self._fetched.fetch(wanted)
        except UnreachableError as error:
            raise UnreachableError(f"{error}; `dvc pull` may have it") from None
        except DownloadError as error:
            hint = f"; {ONE_MACHINE}" if any(is_local(file.url) for _, file in missing) else ""
            raise self._other_version(f"{error}{hint}") from None

    def _other_version(self, found: str) -> DownloadError:
        pins_it = f"`python -m stages.refresh {self._task}` pins what is there now"
        return DownloadError(f"{found}; {pins_it}, and `dvc pull` may have the earlier version")
