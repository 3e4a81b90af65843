"""rar archives: their members by rarfile, what is packed in them by a program that must be on the machine."""

from __future__ import annotations

import io
import os
import select
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import rarfile

from .member import ArchiveError, Kind, Member, Meter

_MAX_SILENCE = 120  # seconds for the tool's next byte; bsdtar 3.6.2 never ends with some hard links
# By what they can unpack: bsdtar no solid archives, 7z none at all without a plug-in that is often missing. rarfile
# has such a table of its own, but its command for bsdtar names the archive "--" (rarfile 4.5).
_TOOLS = (
    ("unrar", "p", "-inul", "-p-", "--"),
    ("unar", "-q", "-o", "-", "-p", "", "--"),
    ("bsdtar", "-x", "--to-stdout", "-f"),
    ("7z", "e", "-so", "-bb0", "-p", "--"),
    ("7zz", "e", "-so", "-bb0", "-p", "--"),
)


def rar_members(archive: Path) -> Iterator[Member]:
    """The members of a rar in one file, of any version of the format, without a password."""
    with rarfile.RarFile(archive, errors="strict") as content, closing(_ToolOutput(archive)) as output:
        if content.needs_password():
            raise ArchiveError(f"{archive}: encrypted; allowed: archives without a password")
        if len(content.volumelist()) > 1:
            raise ArchiveError(f"{archive}: one of several volumes; allowed: an archive in one file")
        if not content.infolist():
            raise rarfile.BadRarFile("it has no members")
        meter, start = Meter(archive), 0
        for info in content.infolist():
            stored, kind = info.compress_type == rarfile.RAR_M0, _kind(info)
            open_ = partial(content.open, info) if stored else partial(_ToolFile, output, info, start)
            yield Member(info.filename, kind, partial(meter.chunks, open_))
            start += info.file_size if kind in ("file", "encrypted") else 0


def _kind(info: Any) -> Kind:
    if info.is_symlink() or info.file_redir:
        return "link"
    if info.is_dir():
        return "folder"
    if not info.is_file():
        return "special"
    return "encrypted" if info.needs_password() else "file"


def find_tool(archive: str | Path) -> tuple[str, ...]:
    """What prints all files of a rar, whose path comes after it, to its output, one after the other.

    Raises ArchiveError, with the archive's name, where no such program is installed.
    """
    for command in _TOOLS:
        if shutil.which(command[0]):
            return command
    names = ", ".join(command[0] for command in _TOOLS)
    hint = "on Debian: apt install unar or libarchive-tools"
    raise ArchiveError(f"{archive}: unpacking a rar needs one of these programs: {names} ({hint})")


class _ToolOutput:
    """All files of a rar, one after the other, as the tool prints them.

    One run of the tool for all: rarfile starts it for each member, and in a solid archive each of those unpacks all
    that stands before its member.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._process: subprocess.Popen[bytes] | None = None
        self._tool = ""
        self._position = 0

    def seek(self, start: int) -> None:
        """Pass over what is printed before `start`."""
        if self._process is None:
            quiet = subprocess.DEVNULL
            command = [*find_tool(self._archive), str(self._archive.resolve())]
            self._process = subprocess.Popen(command, bufsize=0, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet)
            self._tool = command[0]
        while self._position < start:
            self.read(start - self._position)

    def read(self, size: int) -> bytes:
        """The next bytes, at least one and at most `size`. Raises ArchiveError where none come."""
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _MAX_SILENCE)
        chunk = os.read(self._process.stdout.fileno(), min(size, 2**20)) if ready else b""
        if not chunk:
            how = "it ended early" if ready else f"no output for {_MAX_SILENCE} s"
            raise ArchiveError(f"{self._archive}: damaged, or {self._tool} cannot unpack it: {how}")
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()


class _ToolFile(io.RawIOBase):
    """One file within the tool's output, checked against the archive's checksum when its last byte is read."""

    def __init__(self, output: _ToolOutput, info: Any, start: int) -> None:
        output.seek(start)
        self._output, self._info = output, info
        self._missing: int = info.file_size
        self._crc = 0

    def read(self, size: int = -1) -> bytes:
        if not self._missing:
            return b""
        chunk = self._output.read(min(size, self._missing))
        self._missing -= len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)
        if not self._missing and self._info.CRC is not None and self._crc != self._info.CRC:
            raise rarfile.BadRarFile(f"{self._info.filename}: wrong checksum")
        return chunk
