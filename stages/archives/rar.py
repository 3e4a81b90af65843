"""rar archives: their members by rarfile, what is packed in them by a program that must be on the machine."""

from __future__ import annotations

import io
import os
import select
import shutil
import subprocess
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import rarfile

from .entries import ArchiveError, Entry, Kind, Meter, reading

_PATIENCE = 120  # seconds for the tool's next byte; bsdtar 3.6.2 never ends with some hard links
# By what they can unpack: bsdtar no solid archives, 7z none at all without a plug-in that is often missing. rarfile
# has such a table of its own, but its command for bsdtar names the archive "--" (rarfile 4.5).
_TOOLS = (
    ("unrar", "p", "-inul", "-p-", "--"),
    ("unar", "-q", "-o", "-", "-p", "", "--"),
    ("bsdtar", "-x", "--to-stdout", "-f"),
    ("7z", "e", "-so", "-bb0", "-p", "--"),
    ("7zz", "e", "-so", "-bb0", "-p", "--"),
)


def rar_entries(archive: Path) -> Generator[Entry]:
    """The members of a rar in one file, of any version of the format, without a password."""
    with rarfile.RarFile(archive, errors="strict") as content:
        if content.needs_password():
            raise ArchiveError(f"{archive}: encrypted; allowed are archives without a password")
        if len(content.volumelist()) > 1:
            raise ArchiveError(f"{archive}: one of several volumes; allowed is an archive in one file")
        if not content.infolist():
            raise rarfile.BadRarFile("it has no members")
        output, start, counts = _RarOutput(archive), 0, [0]
        try:
            for info in content.infolist():

                def unpack(info: Any = info, start: int = start) -> io.RawIOBase:
                    with reading(archive):
                        stored = info.compress_type == rarfile.RAR_M0
                        stream = content.open(info) if stored else output.section(info, start)
                        return Meter(stream, archive, counts)

                kind, encrypted = _kind(info), info.needs_password()
                yield Entry(name=info.filename, size=info.file_size, kind=kind, encrypted=encrypted, open=unpack)
                start += info.file_size if kind == "file" else 0
        finally:
            output.close()


def _kind(info: Any) -> Kind:
    if info.is_symlink() or info.file_redir:
        return "link"
    if info.is_dir():
        return "folder"
    return "file" if info.is_file() else "special"


def tool(archive: str | Path) -> tuple[str, ...]:
    """What prints all files of a rar, whose path comes after it, to its output, one after the other.

    Raises ArchiveError, with the archive's name, where no such program is installed.
    """
    for command in _TOOLS:
        if shutil.which(command[0]):
            return command
    names = ", ".join(dict.fromkeys(command[0] for command in _TOOLS))
    hint = "on Debian: apt install unar or libarchive-tools"
    raise ArchiveError(f"{archive}: to unpack a rar one of these programs must be installed: {names} ({hint})")


class _RarOutput:
    """All files of a rar, one after the other, as the tool prints them.

    One run of the tool for all: rarfile starts it for each member, and in a solid archive each of those unpacks all
    that stands before its member.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._process: subprocess.Popen[bytes] | None = None
        self._tool = ""
        self.position = 0

    def section(self, info: Any, start: int) -> IO[bytes]:
        """The bytes of one file, which begins at `start`; sections are asked for in their order."""
        if self._process is None:
            quiet = subprocess.DEVNULL
            command = [*tool(self._archive), str(self._archive.resolve())]
            self._process = subprocess.Popen(command, bufsize=0, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet)
            self._tool = command[0]
        while self.position < start:
            self.read(min(2**20, start - self.position))
        return io.BufferedReader(_RarSection(self, info))

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises ArchiveError where they do not come."""
        assert self._process is not None
        assert self._process.stdout is not None
        chunks, missing = [], size
        while missing:
            came, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
            chunk = os.read(self._process.stdout.fileno(), missing) if came else b""
            if not chunk:
                how = "it ended early" if came else f"nothing came for {_PATIENCE} s"
                raise ArchiveError(f"{self._archive}: damaged, or {self._tool} cannot unpack it: {how}")
            chunks.append(chunk)
            missing -= len(chunk)
        self.position += size
        return b"".join(chunks)

    def close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()


class _RarSection(io.RawIOBase):
    """One file within the tool's output, checked against the archive's checksum when its last byte is read."""

    def __init__(self, output: _RarOutput, info: Any) -> None:
        self._output, self._info = output, info
        self._left: int = info.file_size
        self._crc = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._output.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)
        if not self._left and self._info.CRC is not None and self._crc != self._info.CRC:
            raise rarfile.BadRarFile(f"{self._info.filename}: wrong checksum")
        buffer[: len(chunk)] = chunk
        return len(chunk)
