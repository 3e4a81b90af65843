"""The pin of a task's source: each file's name, address, version as the host says, and hashes. No times, no secrets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..data.files import read_json, write_text

if TYPE_CHECKING:
    from ..params import Block

FOLDER = Path("sources")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a file holds, whatever host it came from."""

    bytes: int
    sha256: str
    md5: str  # by which DVC's cache knows it
    lines: int | None = None  # line feeds; None where it is packed or no text
    complete: bool = True  # False: only the first lines of the host's file were taken


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedFile:
    """One file of a source."""

    url: str  # without user and query
    content: Content
    etag: str | None = None
    generation: str | None = None
    version_id: str | None = None

    @property
    def named(self) -> bool:
        """Whether its host names the version, so that it can be asked for without fetching."""
        return bool(self.etag or self.generation or self.version_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """A version of a source: its files by their names in the raw folder, and what its folder holds besides."""

    source: str | None  # the digest of the `source` block it was made for; None where nothing is fetched
    files: Mapping[str, PinnedFile] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)  # name → why it is not fetched

    def holds_the_same(self, other: Pin) -> bool:
        """Whether both give the same raw folder, but for what hosts call its versions."""

        def content(pin: Pin) -> Any:
            return pin.source, dict(pin.left_out), {name: (f.url, f.content) for name, f in pin.files.items()}

        return bool(content(self) == content(other))

    def text(self) -> str:
        """As it stands in the file: a line a file, sorted, so that git shows which have changed."""
        lines = [f"    {_dumps(name)}: {_dumps(_as_json(self.files[name]))}" for name in sorted(self.files)]
        body = ",\n".join(lines)
        parts = ['  "files": {' + (f"\n{body}\n  " if body else "") + "}"]
        if self.left_out:
            parts.append(f'  "left_out": {_dumps(dict(self.left_out))}')
        parts.append(f'  "source": {_dumps(self.source)}')
        return "{\n" + ",\n".join(parts) + "\n}\n"


NOTHING = Pin(source=None)  # of every sample: its bytes are made here


def path_of(task: str) -> Path:
    """Where the pin of a task with data of its own stands, relative to the project."""
    return FOLDER / f"{task}.json"


def digest(source: Block) -> str:
    """The hash of a task's `source` block; without `also` that of a block from before there was such a key."""
    values = source.model_dump(mode="json", by_alias=True)
    if not values.get("also"):
        values = {key: value for key, value in values.items() if key not in ("also", "also_test")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Pin:
    """A pin from its file; `NOTHING` where there is none. Raises ValueError where it is damaged."""
    if not path.is_file():
        return NOTHING
    try:
        return _parsed(read_json(path))
    except ValueError as error:
        found = f"not a pin that `python -m stages.refresh` wrote: {error}"
        raise ValueError(f"{path}: {found}; delete it and refresh") from None


def parse(text: str) -> Pin:
    """A pin from the text of its file. Raises ValueError where it is none."""
    return _parsed(json.loads(text))


def write(path: Path, pin: Pin) -> None:
    """Write a pin, under a temporary name first."""
    write_text(path, pin.text())


def difference(old: Pin, new: Pin) -> tuple[int, int | None, str]:
    """How many files of `new` differ from `old`, those that came or went included; by how many lines they grew, where
    that is known; both in words: `2 of 345 files changed, 92 lines more`.
    """
    changed = [n for n in new.files.keys() & old.files.keys() if new.files[n].content != old.files[n].content]
    came, went = new.files.keys() - old.files.keys(), old.files.keys() - new.files.keys()
    grown: int | None = 0
    for name in {*changed, *came, *went}:
        sides = [pin.files[name].content.lines if name in pin.files else 0 for pin in (new, old)]
        grown = None if grown is None or None in sides else grown + (sides[0] or 0) - (sides[1] or 0)
    words = [f"{len(changed)} of {len(old.files)} files changed"] if changed else []
    words += [f"{counted(len(came), 'file')} more"] if came else []
    words += [f"{counted(len(went), 'file')} fewer"] if went else []
    if grown:
        words.append(f"{counted(abs(grown), 'line')} {'more' if grown > 0 else 'fewer'}")
    if not words:
        words = ["an address, or the list of files left out, has changed"]
    return len(changed) + len(came) + len(went), grown, ", ".join(words)


def counted(count: int, noun: str) -> str:
    """`1 file`, `1,000 files`"""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _as_json(file: PinnedFile) -> dict[str, Any]:
    values = {**asdict(file), **asdict(file.content)}
    del values["content"]
    kept = {name: value for name, value in values.items() if value is not None}
    return {name: value for name, value in kept.items() if not (name == "complete" and value)}


def _parsed(value: object) -> Pin:
    values = _object(value, "the file", {"source", "files"}, {"left_out"})
    files, left_out = (_object(values.get(key, {}), key) for key in ("files", "left_out"))
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name == "." or not name.isprintable():
            raise ValueError(f"files: found the name {name[:80]!r}; allowed: a relative path without ..")
    for name, why in left_out.items():
        _check(isinstance(why, str), f"left_out: {name[:80]}", why, "text")
    digest = values["source"]
    _check(digest is None or _is_hex(64)(digest), "source", digest, "64 hexadecimal digits or null")
    return Pin(source=digest, files={name: _file(name, entry) for name, entry in files.items()}, left_out=left_out)


def _file(name: str, value: object) -> PinnedFile:
    of_content = {f.name for f in fields(Content)}
    others = {"etag", "generation", "version_id"}
    entry = _object(value, f"files: {name}", {"url"}, {*of_content, *others})
    _check(isinstance(entry["url"], str), f"files: {name}: url", entry["url"], "text")
    for key in others & entry.keys():
        _check(isinstance(entry[key], str), f"files: {name}: {key}", entry[key], "text")
    content = content_from({key: one for key, one in entry.items() if key in of_content}, f"files: {name}")
    return PinnedFile(content=content, **{key: one for key, one in entry.items() if key not in of_content})


def content_from(value: object, where: str) -> Content:
    """A content from JSON, which is not to be believed: its hashes become names of files.

    Raises ValueError, which begins with `where`, for what is none.
    """
    entry = _object(value, where, {"bytes", "sha256", "md5"}, {"lines", "complete"})
    for key, one in entry.items():
        allowed, fits = _OF_CONTENT[key]
        _check(fits(one), f"{where}: {key}", one, allowed)
    return Content(**entry)


def _is_hex(digits: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_OF_CONTENT: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "bytes": ("a whole number of 0 or more", _is_count),
    "sha256": ("64 hexadecimal digits", _is_hex(64)),
    "md5": ("32 hexadecimal digits", _is_hex(32)),
    "lines": ("a number of 0 or more, or null", lambda value: value is None or _is_count(value)),
    "complete": ("true or false", lambda value: isinstance(value, bool)),
}


def _object(
    value: object, where: str, required: frozenset[str] | set[str] = frozenset(), optional: set[str] | None = None
) -> dict[str, Any]:
    """A JSON object with these keys; with any where `optional` is None."""
    _check(isinstance(value, dict), where, value, "an object")
    assert isinstance(value, dict)
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{where}: {missing[0]} is missing")
    if optional is not None and (unknown := sorted(value.keys() - required - optional)):
        raise ValueError(
            f"{where}: found the key {unknown[0][:80]!r}; allowed: {', '.join(sorted(required | optional))}"
        )
    return value


def _check(fits: bool, where: str, value: object, allowed: str) -> None:
    if not fits:
        raise ValueError(f"{where}: found {_dumps(value)[:80]}; allowed: {allowed}")
