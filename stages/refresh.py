"""Ask the hosts of the sources for newer files, fetch them, check them, and pin them.

python -m stages.refresh                  all tasks with data of their own
python -m stages.refresh forecast         one task
python -m stages.refresh forecast --accept    take earlier data that were corrected or lost, this once
python -m stages.refresh --check          only report; the pins stay
python -m stages.refresh --weights [TASK] pin what `train.start_from` refers to now: sources/weights/TASK.json

It writes sources/TASK.json, on which the download stage depends. Fetched files are kept in .fetched/, where download
reads them. Status 0: success; 1: something is new (with --check), or a source was refused, since it has rewritten or
lost earlier data (params.yaml, TASK.monitor.rewritten_past); 75: a host is unreachable, its pin stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from .command import one_line_errors
from .fetch import Request, UnreachableError
from .fetch.host import PresentHost
from .fetch.question import ask_all
from .fetch.remote import Stated, Version
from .fetch.tree import Tree
from .sources import pins
from .sources.fetched import Fetched, content_of, name_of, shown
from .sources.pins import Content, Pin, PinnedFile
from .tasks.protocol import Task

if TYPE_CHECKING:
    from .params import TaskParams
    from .sources.look import Findings

AWAY = 75  # EX_TEMPFAIL of sysexits.h: try again later


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshed:
    """What became of a source."""

    state: Literal["unchanged", "new", "away", "refused"]
    summary: str  # a sentence
    files: int  # that the pin names now
    files_changed: int = 0  # those that came or went included
    lines_added: int | None = None  # None where it is not known


class _AskedHost(PresentHost):
    """The hosts as they are now, and what their listings left out."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}

    def tree(self, url: str, chosen: Sequence[str], *, below: str, max_files: int, loose: bool = False) -> Tree:
        found = super().tree(url, chosen, below=below, max_files=max_files, loose=loose)
        self.left_out |= found.left_out
        return found


def refresh_task(task: Task, params: TaskParams, *, check: bool = False, accept: bool = False) -> Refreshed:
    """Ask for a task's source, or for that of the task whose data it learns from; move the pin, unless `check`, and
    unless earlier data have changed, which must be allowed by `accept` or by `monitor.rewritten_past`.

    Two at once: the second waits, and then finds nothing new. Raises ValueError where a source that was never pinned
    cannot be had, and where the pin is damaged.
    """
    owner, fetched = Task(task.description().dataset_task), Fetched()
    path = pins.path_of(owner.name)
    with fetched.lock(owner.name):
        old = pins.read(path)
        same_source = old.source == pins.digest(params.source)
        unpinned = same_source and old.source is not None and not old.files
        if unpinned:
            old = _of_raw(owner.paths.raw, old)
        try:
            new = _present(owner, params, old if same_source else pins.NOTHING, fetched)
        except UnreachableError as error:
            return Refreshed(state="away", summary=f"{error}; the pin stays", files=len(old.files))
        except ValueError as error:
            if not same_source:
                raise
            return Refreshed(state="refused", summary=f"{error}; the pin stays", files=len(old.files))
        if new.holds_the_same(old) and path.is_file() and not unpinned:
            return Refreshed(state="unchanged", summary=_nothing_new(new), files=len(new.files), lines_added=0)
        from .sources.look import Findings, look  # with all kinds of archives

        records = partial(owner.source().records, params)
        found = look(old, new, fetched, records, date.today(), owner.paths.raw) if same_source else Findings()
        if unpinned:
            found.notes.insert(0, _compared_with_raw(path, owner.paths.raw, old))
        accept = accept or params.monitor.rewritten_past == "accept"
        result = _result(old if same_source else None, new, found, task.name, accept=accept)
        if result.state == "new" and not check:
            if path.is_file():
                fetched.keep_pin(path.read_text(encoding="utf-8"))
            pins.write(path, new)
            fetched.prune({file.content.sha256 for file in new.files.values()})
        return result


def _present(task: Task, params: TaskParams, old: Pin, fetched: Fetched) -> Pin:
    """The pin of the source as it is now; whatever of it is not known yet lies in `fetched` afterwards."""
    host = _AskedHost()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wanted: list[Request] = task.source().requests(params.source, folder, host)
        if not wanted:
            return pins.NOTHING
        files = _files(task, wanted, folder, old, fetched)
    return Pin(source=pins.digest(params.source), files=files, left_out=host.left_out)


def _files(task: Task, wanted: Sequence[Request], folder: Path, old: Pin, fetched: Fetched) -> dict[str, PinnedFile]:
    """The files as they are now; fetches those whose content nobody here knows."""
    record = _record(task.paths.raw)
    found: dict[str, PinnedFile] = {}
    missing: list[tuple[Request, Stated]] = []
    for request, said in zip(wanted, ask_all(wanted), strict=True):
        name = name_of(request, folder)
        before = old.files.get(name)
        content = fetched.lookup(request, said)
        moved = fetched.contradicts(request, said)  # under the same ETag
        if content is None and not moved and before and before.url == shown(request) and _names(before, said):
            content = before.content
        if content is None and not moved:
            content = _downloaded(task.paths.raw / name, record.get(name, {}), shown(request), said)
        # One that is nowhere here is fetched, though the host says that it is the same: download would look for it.
        same = before is not None and before.content == content
        if content and (fetched.holds(content) if same else fetched.find(content)):
            found[name] = _pinned(request, content, said)
        else:
            older = fetched.find(before.content) if before and request.lines is None else None
            missing.append((replace(request, stated=said, grown_from=older), said))
    if missing:
        came = fetched.fetch([request for request, _ in missing])
        for (request, said), (content, version) in zip(missing, came, strict=True):
            said = replace(said, version=_newer(said.version, version))
            fetched.remember(request, said, content)
            found[name_of(request, folder)] = _pinned(request, content, said)
    return found


def _names(file: PinnedFile, said: Stated) -> bool:
    """Whether the host names the version that is pinned, and this one."""
    version = said.version
    same = (file.etag, file.generation, file.version_id) == (version.etag, version.generation, version.version_id)
    whole = file.content.complete and said.size is not None
    return file.named and same and (not whole or said.size == file.content.bytes)


def _newer(asked: Version, came: Version) -> Version:
    """The version of what came, which may be younger than the answer to the question."""
    if not asked.differs(came):
        return asked
    return replace(asked, etag=came.etag, generation=came.generation, modified=None, version_id=None)


def _pinned(request: Request, content: Content, said: Stated) -> PinnedFile:
    version = said.version
    return PinnedFile(
        url=shown(request),
        content=content,
        etag=version.etag,
        generation=version.generation,
        version_id=version.version_id,
    )


def _of_raw(raw: Path, empty: Pin) -> Pin:
    """A pin that names no file, with those that the last download left."""
    files: dict[str, PinnedFile] = {}
    for name, entry in _record(raw).items():
        if (raw / name).is_file() and isinstance(entry.get("url"), str):
            content = replace(content_of(raw / name), complete=bool(entry.get("complete")))
            if content.md5 == entry.get("md5"):
                files[name] = PinnedFile(url=entry["url"], content=content)
    return replace(empty, files=files)


def _compared_with_raw(path: Path, raw: Path, old: Pin) -> str:
    compared = f"compared with {raw}" if old.files else f"{raw} has no files to compare with"
    return f"{path} named no file; {compared}"


def _record(raw: Path) -> dict[str, dict[str, Any]]:
    """What an earlier download fetched, by file, where it is still there."""
    try:
        return {entry["file"]: entry for entry in json.loads((raw / "downloads.json").read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _downloaded(path: Path, entry: Mapping[str, Any], url: str, said: Stated) -> Content | None:
    """The content of a file that a download which had no pin has left, where it is of the version that the host has."""
    named = [(entry.get("etag"), said.version.etag), (entry.get("generation"), said.version.generation)]
    if entry.get("url") != url or not any(a and a == b for a, b in named) or not path.is_file():
        return None
    if entry.get("complete") and said.size not in (None, entry.get("bytes")):
        return None
    content = content_of(path)
    return replace(content, complete=entry["complete"]) if content.md5 == entry.get("md5") else None


def _nothing_new(pin: Pin) -> str:
    return f"nothing new in {pins.counted(len(pin.files), 'file')}" if pin.files else "a built-in sample"


def _result(old: Pin | None, new: Pin, found: Findings, task: str, *, accept: bool) -> Refreshed:
    """What to say and do about another version of a source; `old` is None where it is the first."""
    from .sources.look import in_words

    if old is None:
        said = (
            f"pinned for the first time: {pins.counted(len(new.files), 'file')}" if new.files else "a built-in sample"
        )
        return Refreshed(state="new", summary=said, files=len(new.files), files_changed=len(new.files))
    changed, lines, said = pins.difference(old, new)
    if found.faults and not accept:
        way_out = f"pin and data stay; `python -m stages.refresh {task} --accept` takes it"
        summary = f"refused, since its earlier data have changed: {in_words(found.faults)}; {way_out}"
        return Refreshed(state="refused", summary=summary, files=len(old.files))
    if found.faults:
        said += f"; its earlier data have changed: {in_words(found.faults)}"
    if found.notes:
        said += f"; {in_words(found.notes)}"
    return Refreshed(state="new", summary=said, files=len(new.files), files_changed=changed, lines_added=lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.refresh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    allowed = Task.names()
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"one or more of {', '.join(allowed)}; default: all")
    parser.add_argument("--check", action="store_true", help="only report")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="take the TASK's source this once, although it has rewritten or lost earlier data",
    )
    parser.add_argument(
        "--weights", action="store_true", help="pin the weights that trainings start from, not the sources"
    )
    args = parser.parse_args()
    if args.weights and args.check:
        parser.error("--weights: found with --check; allowed: alone, since it pins what params.yaml names")
    if args.accept and not args.tasks:
        parser.error("--accept: found no TASK; allowed: with the tasks whose earlier data may change")
    with one_line_errors("unroll: refresh"):
        from .params import load

        params = load()
        if args.weights:
            from .registry.pin_weights import pin_weights

            for name in dict.fromkeys(args.tasks or allowed):
                print(pin_weights(Task(name), params[name]), flush=True)
            return
        owners = dict.fromkeys(Task(name).description().dataset_task for name in args.tasks or allowed)
        states = []
        for name in owners:
            result = refresh_task(Task(name), params[name], check=args.check, accept=args.accept)
            states.append(result.state)
            failed = result.state in ("away", "refused")
            line = f"{'unroll: refresh ' if failed else ''}{name}: {result.summary}"
            print(line, file=sys.stderr if failed else sys.stdout, flush=True)
    if "refused" in states or (args.check and "new" in states):
        sys.exit(1)
    if "away" in states:
        sys.exit(AWAY)


if __name__ == "__main__":
    main()
