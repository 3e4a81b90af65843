"""Downloads over https, http, s3, gs and from disks; a file is either complete and checked, or absent.

A broken connection is resumed where it broke, by this run or the next; a remote file that has changed begins anew.
All files get their final names together, after the last has come, so that a folder is never half of something. The
record of what came holds no time and no secret: equal files give equal bytes. `transfer` runs the attempts, `partial`
keeps what came so far, `remote` and `web` talk to hosts, `question` asks them for versions, `tree` lists folders,
`host` is what a task's source meets. A change here fetches every task's raw data again.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, unquote

from ..data.files import write_json
from ..progress_bar import BYTES, ProgressBar
from .partial import Partial
from .remote import (
    DownloadError,
    UnreachableError,
    check_protocol,
    from_environment,
    is_web,
    read_file,
    redacted,
    without_secrets,
)
from .transfer import Limits, Request, Transfer
from .web import Web

__all__ = [
    "DownloadError",
    "Limits",
    "Request",
    "UnreachableError",
    "check_protocol",
    "decoded",
    "fetch_all",
    "file_name",
    "from_environment",
    "join_url",
    "redacted",
    "write_record",
]

PARTIALS = Path(".resume/downloads")
DEFAULT_LIMITS = Limits()
_GRACE = 0.5  # seconds that the other downloads get to notice the end


def fetch_all(
    requests: Sequence[Request],
    record: Path,
    *,
    workers: int = 4,
    partials: Path = PARTIALS,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Fetch every request to its target, at most `workers` at a time, and write down in `record` what came.

    `${NAME}` in a URL is taken from the environment, so that a password need not stand in params.yaml.

    `record` is a JSON list sorted by `file` (relative to the record): `url` as written, without user and query, `file`,
    `bytes`, `md5`, `etag` and `generation` as the host says, `complete` (false where only some `lines` were taken).
    Entries of an earlier call for other files stay. Partials are kept in `partials`; between runs it may be deleted.

    Raises DownloadError at the first file that cannot be had; nothing then gets its final name. Raises ValueError for a
    target that does not lie in the record's folder.
    """
    _validate(requests, record.parent, workers)
    written = {request.target: check_protocol(request.address) for request in requests}
    requests = [replace(request, url=check_protocol(from_environment(request.url))) for request in requests]
    stop, lock = threading.Event(), threading.Lock()
    known = None if any(request.size is None for request in requests) else sum(r.size or 0 for r in requests)
    web = Web(idle=limits.idle, longest_wait=limits.longest_wait, connections=workers, stop=stop)
    fetched: dict[Path, dict[str, Any]] = {}
    with (
        closing(web),
        ProgressBar("download", unit=BYTES, total=known) as bar,
    ):

        def progress(count: int) -> None:
            with lock:
                bar.update(count)

        def transfer_of(request: Request) -> Transfer:
            partial = Partial(partials, _key(request), progress)
            read = web.read if is_web(request.url) else functools.partial(read_file, idle=limits.idle)
            shown = redacted(written[request.target])
            return Transfer(request=request, partial=partial, read=read, limits=limits, stop=stop, shown=shown)

        transfers = [transfer_of(request) for request in requests]
        with without_secrets(written.values()), closing(_run_in_threads(transfers, workers, stop)) as results:
            for target, entry in results:
                fetched[target] = entry
                with lock:
                    bar.note(f"{len(fetched)}/{len(requests)} files")
    for transfer in transfers:
        transfer.publish()
    write_record(record, {target: {"url": redacted(url), **fetched[target]} for target, url in written.items()})


def _key(request: Request) -> str:
    """What a partial is known by: an earlier start's is of the same request."""
    return f"{request.url}\n{request.part}\n{request.target}"


def join_url(base: str, *parts: str) -> str:
    """`base` with each of `parts` after a slash; percent-encoded, all but slashes, where the host speaks HTTP.

    Names on s3, gs and disks are what they are: fsspec takes a `%20` in them literally.
    """
    names = [part.strip("/") for part in parts]
    return "/".join([base.rstrip("/"), *(quote(name) if is_web(base) else name for name in names)])


def decoded(name: str) -> str:
    """A name without its percent signs; as it is where they stand for what is no UTF-8, so that no two become one."""
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name


def file_name(url: str) -> str:
    """The file's name in an address, decoded. Raises ValueError where it would lead elsewhere or is hidden."""
    name = decoded(PurePosixPath(redacted(url)).name)
    if not name or name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        raise ValueError(f"{redacted(url)}: found {name!r} as the file's name; allowed: a name without / and \\")
    return name


def _validate(requests: Sequence[Request], folder: Path, workers: int) -> None:
    if workers < 1:
        raise ValueError(f"found workers={workers}; allowed: 1 or more")
    seen: set[Path] = set()
    home = folder.resolve()
    for request in requests:
        if not request.target.resolve().is_relative_to(home):
            raise ValueError(f"{redacted(request.url)}: would be written to {request.target}, outside {folder}")
        if request.target in seen:
            raise ValueError(f"{request.target} is the target of two requests")
        if request.lines is not None and request.lines < 1:
            found = f"found lines={request.lines}; allowed: 1 or more, or None for all"
            raise ValueError(f"{redacted(request.url)}: {found}")
        seen.add(request.target)


def _run_in_threads(
    transfers: Sequence[Transfer], workers: int, stop: threading.Event
) -> Generator[tuple[Path, dict[str, Any]]]:
    """Run all and give each target and its result as they come; raise the first error, wait for nobody who is stuck.

    The threads are daemons, which those of an executor are not: Ctrl-C must not wait for a host that has gone silent.
    """
    pending: SimpleQueue[Transfer] = SimpleQueue()
    outcomes: SimpleQueue[tuple[Path, dict[str, Any]] | BaseException] = SimpleQueue()
    for transfer in transfers:
        pending.put(transfer)

    def work() -> None:
        try:
            while True:
                transfer = pending.get_nowait()
                outcomes.put((transfer.request.target, transfer.run()))
        except Empty:
            pass
        except BaseException as error:
            outcomes.put(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(transfers)))]
    for thread in threads:
        thread.start()
    try:
        for _ in transfers:
            outcome = outcomes.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        stop.set()
        end = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def write_record(record: Path, fetched: Mapping[Path, Mapping[str, Any]]) -> None:
    """Add what came, by target, to the `record` of `fetch_all`, which says what stands in it."""
    entries: dict[str, dict[str, Any]] = {}
    if record.exists():
        try:
            entries = {entry["file"]: entry for entry in json.loads(record.read_text(encoding="utf-8"))}
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{record}: not a record of downloads; delete it and fetch again") from None
    for target, entry in fetched.items():
        name = Path(os.path.relpath(target, record.parent)).as_posix()
        entries[name] = {**entry, "file": name}
    write_json(record, [entries[name] for name in sorted(entries)])
