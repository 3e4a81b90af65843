"""What parts of raw files came to in earlier preparations, so that preparing costs what is new.

A part is what a task makes of some bytes by themselves: a clip decoded, a chunk of drawings. It is an Arrow table, kept
under a hash of all that decides it: the bytes, the params and the code that made it, the libraries. Parts lie in
`.resume/prepared/`, shared by worktrees and outside DVC's outs; the folder may be deleted at any time. Where
nothing can be kept there, a line says so and the preparation goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from ..paths import delete_least_used, delete_older, resume_folder
from ..provenance.hashes import code_md5

FOLDER = "prepared"  # in the resume folder
MAX_BYTES = 20 * 10**9  # of all parts of all tasks; the least recently used go first
_FORMAT = 1  # of a file: an Arrow file, and after it the sha256 of its bytes
_DIGEST_BYTES = 32
_ABANDONED = 24 * 3600.0  # seconds after which what a killed process was writing is given up


@dataclass(frozen=True, slots=True)
class KeptParts:
    """The parts that one way of making them gives; worker processes are sent a copy."""

    folder: Path | None  # None where nothing can be kept
    way: str  # a hash of what decides a part beside its bytes

    @classmethod
    def made_by(cls, modules: Iterable[str], *, libraries: Iterable[str], facts: Mapping[str, Any]) -> Self:
        """Those of the code of some modules, with all that they import of the project, of the installed libraries and
        of further facts (JSON-able), such as params. A line on standard error says where their folder cannot be made,
        such as where a file lies in its place: none is then found or kept.
        """
        installed = {name: version(name) for name in libraries}
        machine = platform.machine(), sys.version_info[:2]
        way = json.dumps([_FORMAT, code_md5(modules), installed, machine, facts], sort_keys=True)
        folder = resume_folder() / FOLDER
        if fault := _cannot_be_made(folder):
            print(f"unroll: {folder}: {fault}; everything is prepared again, and nothing is kept", file=sys.stderr)
        return cls(None if fault else folder, hashlib.sha256(way.encode()).hexdigest())

    def or_in(self, folder: Path) -> Self:
        """These, in another folder where nothing can be kept: worker processes hand over through it what they made."""
        return self if self.folder else replace(self, folder=folder)

    def key(self, content: str, *further: str) -> str:
        """What a part is kept under: `content` is the sha256 of its bytes, `further` what else of it matters."""
        return hashlib.sha256(json.dumps([self.way, content, *further]).encode()).hexdigest()

    def holds(self, key: str) -> bool:
        """Whether there is such a part; it is not read."""
        path = self._path(key)
        with suppress(OSError):  # of a folder that may not be looked into
            return path is not None and path.is_file()
        return False

    def find(self, key: str) -> pa.Table | None:
        """A part, None where it is not there. A damaged one is dropped, which a line on standard error says."""
        path = self._path(key)
        if path is None:
            return None
        try:
            whole = path.read_bytes()  # not mapped: a disk that fails to give a page would end the process
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            _drop(path, error.strerror or type(error).__name__)
            return None
        body, digest = memoryview(whole)[:-_DIGEST_BYTES], whole[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            _drop(path, "its bytes differ from those written")
            return None
        with suppress(OSError):
            os.utime(path)  # it is used
        return pa.ipc.open_file(pa.py_buffer(body)).read_all()

    def keep(self, key: str, table: pa.Table) -> None:
        """Keep a part. Where that fails, such as on a full disk, a line on standard error says so once a process."""
        path = self._path(key)
        if path is None:
            return
        stream = pa.BufferOutputStream()
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
        body = stream.getvalue()
        temporary = path.with_name(f"{key}.{uuid.uuid4().hex}.partial")
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(body)
                file.write(hashlib.sha256(body).digest())
            temporary.replace(path)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink()
            if not isinstance(error, OSError):
                raise
            if not isinstance(error, FileNotFoundError):  # of whoever deletes the folder just now
                _tell_not_kept(path.parent.parent, error.strerror or type(error).__name__)

    def prune(self) -> None:
        """Delete the least recently used parts beyond MAX_BYTES, whatever made them."""
        if self.folder is None:
            return
        with suppress(OSError):  # of whoever deletes the folder just now, or of a disk that may only be read
            delete_least_used(self.folder.glob("?/*.arrow"), MAX_BYTES)
            delete_older(self.folder.glob("?/*.partial"), _ABANDONED)

    def _path(self, key: str) -> Path | None:
        return self.folder / key[:1] / f"{key}.arrow" if self.folder else None


def _cannot_be_made(folder: Path) -> str:
    """Why a folder is not there and cannot be made, in words; empty where it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
        return f"found {file}, a file; allowed: a folder" if file else error.strerror or type(error).__name__
    return ""


@cache
def _tell_not_kept(folder: Path, why: str) -> None:
    print(f"unroll: {folder}: parts are not kept ({why}); the next preparation makes them again", file=sys.stderr)


def _drop(path: Path, why: str) -> None:
    with suppress(OSError):
        path.unlink()
    print(f"unroll: {path} is damaged ({why}); deleted and prepared again", file=sys.stderr)
