"""The files that `source.also` names beside a source's own: growing files of corrections, or a folder of them.

A growing file is pinned by its length and the hash of that prefix: what is appended later changes nothing until the
next refresh. Of a text only whole lines are taken, since somebody may be appending to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.additional import DRAWN, FOLDER, TRAIN
from ..fetch import Request, file_name, join_url, redacted
from ..fetch.host import Host
from ..fetch.tree import Tree
from ..paths import project_root

if TYPE_CHECKING:
    from ..params import AdditionalParams

OTHER = "other"  # the folder of what is of no known class, which nobody learns from
_MAX_FILES = 1_000_000
_SHOWN = 3


def additional_requests(
    params: AdditionalParams, folder: Path, host: Host, *, endings: tuple[str, ...], takes: Callable[[str], bool]
) -> list[Request]:
    """A request for each file that `source.also` names, by address and name; none where it is empty.

    An address with one of the `endings` of texts is a file of lines, any other a folder, of which the files are taken
    whose path within it `takes` accepts. In the raw folder the ending of a text is in lower case, as its readers look
    for it. Raises ValueError for a folder that is absent or holds none of these, and for one that holds a file of a
    name that no disk takes, or two whose names differ by the case of an ending.
    """
    below = f"{FOLDER}/{DRAWN if params.also_test else TRAIN}"
    wanted: list[Request] = []
    for number, named in enumerate(params.also, start=1):
        address, written = _located(named), _within(named)
        place = folder / below / str(number)
        if redacted(address).lower().endswith(endings):
            name = _in_raw(file_name(address), endings)
            wanted.append(Request(url=address, target=place / name, whole_lines=True, named=written))
            continue
        tree = host.tree(address, (), below=f"{below}/{number}", max_files=_MAX_FILES, loose=True)
        for name, why in sorted(tree.left_out.items()):
            raise ValueError(f"source.also: {redacted(named)}: {name}: {why}")
        names = {_in_raw(name, endings): name for name in sorted(tree.files) if takes(_in_raw(name, endings))}
        if not names:
            raise ValueError(f"source.also: {redacted(named)}: {_nothing(named, sorted(tree.files))}")
        for name in tree.files:
            if (other := names.get(_in_raw(name, endings), name)) != name:
                both = " and ".join(sorted((name, other)))
                raise ValueError(f"source.also: {redacted(named)}: found {both}; allowed: one of the two")
        wanted += [
            Request(
                url=tree.files[listed] if "://" in address else join_url(address, _as_it_lies(listed, tree)),
                target=place / name,
                stated=tree.stated.get(listed),
                whole_lines=name.endswith(endings),
                named=written and join_url(written, _as_it_lies(listed, tree)),
            )
            for name, listed in names.items()
        ]
    return wanted


def is_local(address: str) -> bool:
    """Whether only this machine has what lies there."""
    return "://" not in address or address.lower().startswith("file://")


def _located(address: str) -> str:
    """A relative path as it stands or, where a worktree has nothing there, that of the main checkout."""
    path = Path(address)
    if "://" in address or path.is_absolute() or path.exists():
        return address
    main = project_root() / path
    return str(main) if main.exists() else address


def _within(address: str) -> str | None:
    """An absolute path within the repository as one relative to it, and a relative one as it stands: what is written
    down names no folder of this machine. None for an address, which is written down as it is.
    """
    if "://" in address:
        return None
    path = Path(address)
    if path.is_absolute():
        path = next(
            (path.relative_to(root) for root in (Path.cwd(), project_root()) if path.is_relative_to(root)), path
        )
    return str(path)


def _in_raw(name: str, endings: tuple[str, ...]) -> str:
    """A file's name in the raw folder: the ending of a text in lower case."""
    ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] + ending


def _as_it_lies(listed: str, tree: Tree) -> str:
    """A file's name on this disk: a pin lists it as in the raw folder, and has the name with its address."""
    return f"{listed.rpartition('/')[0]}/{tree.files[listed].rpartition('/')[2]}".removeprefix("/")


def _nothing(address: str, others: list[str]) -> str:
    if others:
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
        return f"no file in it can be used for training; found {shown}"
    hint = f"; {ONE_MACHINE}" if is_local(address) else ""
    return f"no such folder, or it is empty; remove the address, or put corrections there{hint}"


ONE_MACHINE = (
    "a path exists on one machine only: run download there, or use an address that all machines reach (s3, gs, https)"
)
