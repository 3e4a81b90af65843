"""The pin of a task's source: each file's name, address, version as the host says, and hashes. No times, no secrets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
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
    """The hash of a task's `source` block."""
    values = source.model_dump(mode="json", by_alias=True)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Pin:
    """A pin from its file; `NOTHING` where there is none. Raises ValueError where it is damaged."""
    if not path.is_file():
        return NOTHING
    try:
        return _parsed(read_json(path))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path}: not a pin that `python -m stages.refresh` wrote; delete it and refresh") from None


def parse(text: str) -> Pin:
    """A pin from the text of its file, which must be one."""
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
        words = ["what is left out, or an address, has changed"]
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


def _parsed(value: Mapping[str, Any]) -> Pin:
    return Pin(
        source=value["source"],
        files={name: _file(entry) for name, entry in value["files"].items()},
        left_out=value.get("left_out", {}),
    )


def _file(entry: Mapping[str, Any]) -> PinnedFile:
    of_content = {f.name for f in fields(Content)}
    content = Content(**{name: value for name, value in entry.items() if name in of_content})
    return PinnedFile(content=content, **{name: value for name, value in entry.items() if name not in of_content})
