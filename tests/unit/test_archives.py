"""What an archive from outside may not do to us."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stages import archives
from stages.archives import ArchiveError, extract, is_archive

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = {"b/second.txt": b"two\nlines\n" * 500, "a.txt": b"first\n", "b/empty": b""}
JUNK = {"__MACOSX/._a.txt": b"x", "b/.DS_Store": b"x", "b/._second.txt": b"x"}
ESCAPES = [
    *("../a", "b/../../a", "/etc/a", "\\\\host\\a", "b\\..\\..\\a", "C:\\a", "c:a"),
    *("a\nb", "n" * 256, "x/" * 600 + "a"),
]


def zipped(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("./b")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def rarred(path: Path, files: Mapping[str, bytes], *, method: int = 0x30, mode: int = 0o100644, flags: int = 0) -> Path:
    """A rar of the third format; `method` 0x30 is stored, else the content stands for what a tool would unpack."""

    def block(kind: int, flags: int, rest: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    blocks = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    for name, content in files.items():
        raw = name.encode()
        size, checksum = len(content), zlib.crc32(content)
        head = struct.pack("<IIBIIBBHI", size, size, 3, checksum, 0, 20, method, len(raw), mode)
        blocks += [block(0x74, 0x8000 | flags, head + raw), content]
    path.write_bytes(b"".join([*blocks, block(0x7B, 0x4000, b"")]))
    return path


MAKERS = {
    "zip": zipped,
    "tar": lambda path, files: tarred(path, files, "w"),
    "tar.gz": tarred,
    "tar.bz2": lambda path, files: tarred(path, files, "w:bz2"),
    "tar.xz": lambda path, files: tarred(path, files, "w:xz"),
    "rar": rarred,
}


def unpack(
    archive: Path, folder: Path, *, max_bytes: int = 2**30, max_files: int = 100, only: str | None = None
) -> list[Path]:
    wanted = None if only is None else lambda name: name == only
    return extract(archive, folder, max_bytes=max_bytes, max_files=max_files, wanted=wanted)


def left(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@pytest.mark.parametrize("kind", MAKERS)
def test_files_come_out_as_they_went_in_without_junk(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive.of.any.name", {**FILES, **JUNK})
    folder = tmp_path / "out"
    expected = [folder / "a.txt", folder / "b/empty", folder / "b/second.txt"]
    assert unpack(archive, folder) == expected
    assert [path.read_bytes() for path in expected] == [FILES["a.txt"], b"", FILES["b/second.txt"]]
    assert sorted(left(folder)) == sorted([*expected, folder / "b"])
    assert unpack(archive, folder) == expected  # the same again is no harm


@pytest.mark.parametrize("kind", MAKERS)
def test_only_wanted_files_are_written_and_counted(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", FILES)
    folder = tmp_path / "out"
    assert unpack(archive, folder, max_bytes=6, max_files=1, only="a.txt") == [folder / "a.txt"]


@pytest.mark.parametrize("kind", ["zip", "tar", "rar"])
@pytest.mark.parametrize("name", ESCAPES)
def test_no_member_leaves_the_folder(tmp_path: Path, kind: str, name: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", {"good": b"x", name: b"x"})
    with pytest.raises(ArchiveError, match="archive: .*found a(n absolute)? (name|control)"):
        unpack(archive, tmp_path / "in" / "out")
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "in" / "out", only="good")
    assert sorted(left(tmp_path)) == [archive, tmp_path / "in", tmp_path / "in" / "out"]


def tar_of(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """A tar of empty members, each with its name, its type and what it links to."""
    with tarfile.open(path, "w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a special file"),
        (tarfile.BLKTYPE, "a special file"),
        (tarfile.FIFOTYPE, "a special file"),
    ],
)
def test_links_in_a_tar_are_refused_before_anything_goes_through_them(tmp_path: Path, kind: bytes, found: str) -> None:
    path = tar_of(tmp_path / "archive.tar", ("b", kind, str(tmp_path)), ("b/escaped", tarfile.REGTYPE, ""))
    with pytest.raises(ArchiveError, match=f"b: found {found}; allowed: regular files"):
        unpack(path, tmp_path / "out")
    assert not left(tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


def test_links_and_devices_in_zip_and_rar_are_refused(tmp_path: Path) -> None:
    for kind, found in ((stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a special file"), (stat.S_IFCHR, "a special file")):
        info = zipfile.ZipInfo("b")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
            archive.writestr(info, "/etc")
        with pytest.raises(ArchiveError, match=f"b: found {found}"):
            unpack(tmp_path / "archive.zip", tmp_path / "out")
    with pytest.raises(ArchiveError, match="b: found a link"):
        unpack(rarred(tmp_path / "archive.rar", {"b": b"/etc"}, mode=stat.S_IFLNK | 0o777), tmp_path / "out")


def test_an_unwanted_link_does_no_harm(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "archive.tar", ("latest", tarfile.SYMTYPE, "a.txt"), ("a.txt", tarfile.REGTYPE, ""))
    assert unpack(path, tmp_path / "out", only="a.txt") == [tmp_path / "out" / "a.txt"]


@pytest.mark.parametrize("second", ["a", "./a", "a/b", "x\\..\\a"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tar_of(tmp_path / "archive.tar", ("a", tarfile.REGTYPE, ""), (second, tarfile.REGTYPE, ""))
    with pytest.raises(ArchiveError, match="found twice|with \\.\\."):
        unpack(path, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as twice:
            twice.writestr("a/b", "1")
            twice.writestr("a/b" if second == "a" else "a", "2")
    with pytest.raises(ArchiveError, match="found twice"):
        unpack(tmp_path / "archive.zip", tmp_path / "out")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"a": b"secret"}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    path.write_bytes(raw)
    with pytest.raises(ArchiveError, match="a: found encrypted"):
        unpack(path, tmp_path / "out")
    with pytest.raises(ArchiveError, match="encrypted; allowed: archives without a password"):
        unpack(rarred(tmp_path / "archive.rar", {"a": b"x"}, flags=4), tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
def test_bytes_and_files_are_bounded_together(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", {str(n): b"x" * 1000 for n in range(10)})
    with pytest.raises(ArchiveError, match="9: more than the 9,999 bytes allowed in total"):
        unpack(archive, tmp_path / "out", max_bytes=9_999)
    with pytest.raises(ArchiveError, match="more than the 9 files allowed"):
        unpack(archive, tmp_path / "out", max_files=9)
    assert not left(tmp_path / "out")
    assert len(unpack(archive, tmp_path / "out", max_bytes=10_000, max_files=10)) == 10


def test_bytes_are_counted_as_they_come_and_not_as_a_header_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "archive.zip", {"a": b"x" * 100_000})
    raw = path.read_bytes()
    assert raw.count(struct.pack("<I", 100_000)) == 2
    path.write_bytes(raw.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    with pytest.raises(ArchiveError, match="damaged.*CRC"):
        unpack(path, tmp_path / "out", max_bytes=1000)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", {"first": b"x", "zeros": bytes(2**25)})
    for only in (None, "zeros"):
        with pytest.raises(
            ArchiveError, match="unpacks to more than 250 times the archive's .*; refused as a decompression bomb"
        ):
            unpack(archive, tmp_path / "out", max_bytes=2**40, only=only)
        assert not left(tmp_path / "out")


def test_a_bomb_in_a_tar_is_noticed_where_nobody_wants_it(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "archive", {"zeros": bytes(2**25), "last": b"x"})
    with pytest.raises(ArchiveError, match="refused as a decompression bomb"):
        unpack(archive, tmp_path / "out", max_bytes=1, only="last")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_in_many_small_members_is_counted_together(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", {str(n): bytes(2**23) for n in range(3)})
    with pytest.raises(ArchiveError, match="refused as a decompression bomb"):
        unpack(archive, tmp_path / "out")


def test_a_header_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2**30
    (tmp_path / "archive.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10240))
    with pytest.raises(ArchiveError, match="a header of 1,073,741,824 bytes"):
        unpack(tmp_path / "archive.tar", tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_damaged_archive_is_one_clear_error_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / "archive", {"first": b"x", **FILES, "last": bytes(range(256)) * 40})
    raw = archive.read_bytes()
    for share in (0.3, 0.6, 0.9):
        archive.write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(ArchiveError, match="archive: damaged, or not a zip, tar or rar: "):
            unpack(archive, tmp_path / "out")
        assert not left(tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz", "rar"])
def test_a_changed_byte_is_noticed(tmp_path: Path, kind: str) -> None:
    content = bytes(range(256)) * 40
    archive = MAKERS[kind](tmp_path / "archive", {"a": content})
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "out")


def test_a_tar_with_a_damaged_header_in_its_middle_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "archive", {"a": b"x", "b": b"y"}, "w")
    raw = bytearray(archive.read_bytes())
    raw[512 * 3] ^= 0xFF  # the second file's name: a folder, a file, its content, then this
    archive.write_bytes(raw)
    with pytest.raises(ArchiveError, match="bad checksum in place of a member or the end mark"):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(raw[: 512 * 3])
    with pytest.raises(ArchiveError, match="empty header in place of a member or the end mark"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [b"", b"plain text\n" * 100, gzip.compress(b"no tar\n" * 100, mtime=0), b"PK\x03\x04", b"Rar!\x1a\x07\x00"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="file.zip: damaged, or not a zip, tar or rar"):
        unpack(tmp_path / "file.zip", tmp_path / "out")
    with pytest.raises(ArchiveError, match="none.zip: no such file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")


def test_a_file_that_is_there_is_not_overwritten_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"mine")
    with pytest.raises(ArchiveError, match="a.txt already exists with different content"):
        unpack(zipped(tmp_path / "archive.zip", FILES), tmp_path)
    assert (tmp_path / "a.txt").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "archive.zip"]


def test_a_link_that_stands_in_the_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match="leads outside"):
        unpack(zipped(tmp_path / "archive.zip", FILES), tmp_path / "out")
    assert not left(tmp_path / "elsewhere")


def test_a_packed_rar_without_a_tool_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = rarred(tmp_path / "archive.rar", FILES, method=0x33)
    with pytest.raises(ArchiveError, match="unpacking a rar needs one of these programs: unrar, unar, bsdtar, 7z, 7zz"):
        unpack(archive, tmp_path / "out")


def test_a_packed_rar_is_unpacked_by_one_run_of_the_tool_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = rarred(tmp_path / "archive.rar", {**JUNK, **FILES}, method=0x33)
    output = tmp_path / "output"
    unrar = tmp_path / "unrar"
    unrar.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/runs\ncat {output}\n')
    unrar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    output.write_bytes(b"".join({**JUNK, **FILES}.values()))
    paths = unpack(archive, tmp_path / "out")
    assert [path.read_bytes() for path in paths] == [FILES["a.txt"], b"", FILES["b/second.txt"]]
    assert (tmp_path / "runs").read_text() == f"p -inul -p- -- {archive}\n"
    (path,) = unpack(archive, tmp_path / "one", only="a.txt")
    assert path.read_bytes() == b"first\n"
    output.write_bytes(output.read_bytes().replace(b"first", b"wrong"))
    with pytest.raises(ArchiveError, match="a.txt: wrong checksum"):
        unpack(archive, tmp_path / "again")
    output.write_bytes(output.read_bytes()[:100])
    with pytest.raises(ArchiveError, match="damaged, or unrar cannot unpack it: it ended early"):
        unpack(archive, tmp_path / "again")
    assert not left(tmp_path / "again")


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    archive = zipped(tmp_path / "archive.zip", FILES)
    monkeypatch.setattr(Path, "mkdir", full)
    monkeypatch.setattr(archives.tempfile, "mkdtemp", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path)


@pytest.mark.skipif(not DATA.exists(), reason="no shared data")
def test_a_tatoeba_zip_as_published(tmp_path: Path) -> None:
    about, text = unpack(DATA / "tatoeba" / "fra-eng.zip", tmp_path)
    assert (about.name, about.stat().st_size) == ("_about.txt", 1441)
    assert (text.name, text.stat().st_size) == ("fra.txt", 11_669_748)
    lines = text.read_bytes().splitlines()
    assert (lines[0], len(lines)) == (b"Go.\tVa !", 167_130)


@pytest.mark.parametrize("kind", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    assert is_archive(tarred(tmp_path / "a.csv", {"x": b"1"}, kind))
    assert is_archive(zipped(tmp_path / "b.csv", {"x": b"1"}))
    assert is_archive(rarred(tmp_path / "c.csv", {"x": b"1"}))
    packers: dict[str, Callable[[bytes], bytes]] = {
        "w:": bytes,
        "w:gz": gzip.compress,
        "w:bz2": bz2.compress,
        "w:xz": lzma.compress,
    }
    for number, content in enumerate([b"", b"date,y\n2020-01-01,1\n", bytes(512), b"x" * 5000]):
        (tmp_path / f"{number}.csv").write_bytes(packers[kind](content))
        assert not is_archive(tmp_path / f"{number}.csv")
