"""States of a training at an address that fsspec writes to, where UNROLL_RESUME names one: s3://, gs://, file://, …

Any machine that goes on with the training finds them there. What lies there counts; the folder on this machine only
holds what was just read or is about to be written. A file at the address is whole or not there: an object store shows
an object once all of it has arrived, and elsewhere a file gets its name when it is written.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..paths import resume_address, resume_folder


class StateMirror:
    """The files of one folder of states, as they lie at the address."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self._folder = folder

    @classmethod
    def of(cls, folder: Path) -> StateMirror | None:
        """That of a folder in the resume folder; None where UNROLL_RESUME is no address."""
        address, root = resume_address(), resume_folder()
        if address is None or not folder.is_relative_to(root):
            return None
        return cls(f"{address}/{folder.relative_to(root).as_posix()}", folder)

    def pull(self, *names: str) -> None:
        """Bring files into the folder; those that are not at the address are removed from it, too.

        Raises ConnectionError where the address does not answer: a training that began anew would lose its states.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._asked("read") as (fs, root):
            for name in names:
                temporary = self._folder / f".{name}.{uuid.uuid4().hex}"
                try:
                    fs.get_file(f"{root}/{name}", str(temporary))
                    temporary.replace(self._folder / name)
                except FileNotFoundError:
                    (self._folder / name).unlink(missing_ok=True)
                finally:
                    temporary.unlink(missing_ok=True)

    def push(self, name: str, before: str) -> None:
        """Write a file of the folder to the address; the one of its name there is called `before` from now on.

        Raises ConnectionError; both are then as they were, or the older one alone is there.
        """
        with self._asked("written to") as (fs, root):
            fs.makedirs(root, exist_ok=True)
            temporary = f"{root}/.{name}.{socket.gethostname()}.{os.getpid()}"
            try:
                fs.put_file(str(self._folder / name), temporary)
                with suppress(FileNotFoundError):
                    fs.mv(f"{root}/{name}", f"{root}/{before}")
                fs.mv(temporary, f"{root}/{name}")
            except BaseException:
                with suppress(Exception):
                    fs.rm_file(temporary)
                raise

    def rename(self, name: str, other: str) -> None:
        """Give a file at the address another name."""
        with self._asked("written to") as (fs, root):
            fs.mv(f"{root}/{name}", f"{root}/{other}")

    def remove(self) -> None:
        """Delete all that lies there. Of a failure a line on standard error tells: no result hangs on it."""
        try:
            with self._asked("written to") as (fs, root), suppress(FileNotFoundError):
                fs.rm(root, recursive=True)
        except ConnectionError as error:
            print(f"unroll: {error}; the states there were not deleted", file=sys.stderr, flush=True)

    @contextmanager
    def _asked(self, verb: str) -> Iterator[tuple[Any, str]]:
        """The file system of the address, and the path in it. Raises ConnectionError for its errors."""
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(self.address)
            fs.invalidate_cache()
            yield fs, root
        except Exception as error:  # the library behind each protocol has errors of its own
            line = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ConnectionError(f"UNROLL_RESUME: {self.address} cannot be {verb}: {line}") from error
