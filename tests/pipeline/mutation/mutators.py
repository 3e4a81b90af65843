"""Seeded damage to the bytes of a file: what disks, editors, spreadsheets, broken downloads and ill will do to it."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

ODD_TOKENS = (
    *("", "-", "-1", "-0", "+7", "1e999", "-1e999", "1e-400", "NaN", "Infinity", "0x10", "1_000", "1,5", "1.5", "007"),
    *("9" * 30, "9" * 400, "1." + "0" * 400, "99999999999999999999", "2147483648", "18446744073709551616"),
    *("null", "true", "{}", "[]", '""', '"', "'", "\\", "\\u0000", "\\ud800", "[" * 2000, "[" * 100_000),
    *("{" + '"a":{' * 3000, "\t", "\r", "\r\n", "\n\n", "\0", "\v", "\u2028", "\u0661\u0662", "\uff11", "\u00a0"),
    *("\ufeff", "e\u0301" * 200, "\u0301" * 5000, "=1+1", "2024-02-30", "0001-01-01", "9999-12-31", "../../etc/passwd"),
)
_TOKEN = re.compile(rb"-?\d[\d.]*|[A-Za-z_]+|[^\sA-Za-z0-9]")


def _place(content: bytes, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _block(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))


def bits(content: bytes, rng: random.Random) -> bytes:
    """A few flipped bits."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if content else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def header(content: bytes, rng: random.Random) -> bytes:
    """Other numbers in the first or last hundred bytes, where formats keep sizes and offsets."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 2, 4)) if len(content) > 8 else 0):
        within = rng.randrange(min(len(content) - 4, 120))
        start = within if rng.random() < 0.5 else len(content) - 4 - within
        number = rng.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)))
        packed = struct.pack(rng.choice("<>") + "I", number)
        size = rng.choice((1, 2, 4))
        damaged[start : start + size] = packed[:size]
    return bytes(damaged)


def overwrite(content: bytes, rng: random.Random) -> bytes:
    """A block of NULs, of 0xff or of noise, as a disk leaves it."""
    start, end = _block(content, rng)
    size = end - start
    return content[:start] + rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size))) + content[end:]


def truncate(content: bytes, rng: random.Random) -> bytes:
    """Broken off, or without its beginning."""
    place = _place(content, rng)
    return content[:place] if rng.random() < 0.8 else content[place:]


def delete(content: bytes, rng: random.Random) -> bytes:
    """Without a block."""
    start, end = _block(content, rng)
    return content[:start] + content[end:]


def splice(content: bytes, rng: random.Random) -> bytes:
    """A block once more: where it stands, or somewhere else."""
    start, end = _block(content, rng)
    place = rng.choice((end, _place(content, rng)))
    return content[:place] + content[start:end] * rng.choice((1, 1, 2, 30)) + content[place:]


def lines(content: bytes, rng: random.Random) -> bytes:
    """Lines in another order, twice, or gone."""
    found = content.split(b"\n")
    for _ in range(rng.choice((1, 3, 10))):
        one, other = rng.randrange(len(found)), rng.randrange(len(found))
        kind = rng.randrange(3)
        if kind == 0:
            found[one], found[other] = found[other], found[one]
        elif kind == 1:
            found.insert(other, found[one])
        elif len(found) > 1:
            del found[one]
    return b"\n".join(found)


def token(content: bytes, rng: random.Random) -> bytes:
    """Odd words and numbers in place of some."""
    for _ in range(rng.choice((1, 1, 3, 10))):
        start = _place(content, rng)
        match = _TOKEN.search(content, start)
        begin, end = match.span() if match else (start, start)
        odd = rng.choice(ODD_TOKENS).encode()
        content = content[:begin] + odd + content[end if rng.random() < 0.7 else begin :]
    return content


def long(content: bytes, rng: random.Random) -> bytes:
    """A very long line."""
    place = _place(content, rng)
    what = rng.choice((b"a", b"0", b" ", b"[", b"\t", b'"', b",", "é".encode()))
    return content[:place] + what * int(2 ** rng.uniform(14, 22)) + content[place:]


def many(content: bytes, rng: random.Random) -> bytes:
    """Very many lines, most often empty ones."""
    place = _place(content, rng)
    what, most = rng.choice(((b"\n", 21), (b"\r\n", 21), (b"\n\r\n", 20), (b"a\n", 16)))
    return content[:place] + what * int(2 ** rng.uniform(8, most)) + content[place:]


def encode(content: bytes, rng: random.Random) -> bytes:
    """Another encoding, with a mark or without one."""
    text = content.decode("utf-8", errors="replace")
    encoding = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "utf-7"))
    packed = text.encode(encoding, errors="replace")
    return packed[: -rng.randrange(1, 4)] if rng.random() < 0.3 else packed


def stray(content: bytes, rng: random.Random) -> bytes:
    """Bytes that are no UTF-8, byte order marks, line ends, at odd places."""
    for _ in range(rng.choice((1, 3))):
        place = rng.choice((0, _place(content, rng), len(content)))
        odd = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff", b"\x80", b"\xed\xa0\x80", b"\0", b"\x1a"))
        content = content[:place] + odd + content[place:]
    return content.replace(b"\n", rng.choice((b"\n", b"\n", b"\r\n", b"\r")))


def pack(content: bytes, rng: random.Random) -> bytes:
    """Packed by gzip, perhaps twice, in two members, with damage or with something after the end."""
    packed = gzip.compress(content, mtime=0)
    kind = rng.randrange(5)
    if kind == 0:
        return gzip.compress(packed, mtime=0)
    if kind == 1:
        return gzip.compress(content[: len(content) // 2], mtime=0) + gzip.compress(
            content[len(content) // 2 :], mtime=0
        )
    return (packed, bits(packed, rng), packed + rng.randbytes(20))[kind - 2]


def whole(content: bytes, rng: random.Random) -> bytes:
    """Nothing, next to nothing, or the file several times."""
    return rng.choice((b"", b"\n", b"\0", b"\xef\xbb\xbf", content * 2, content * 5))


ANSWERED: tuple[Mutator, ...] = (  # of files whose lines have an answer each
    *(token, token, token, lines, lines, bits, overwrite, truncate, delete, splice, long, encode, stray, pack, whole),
)
TEXT: tuple[Mutator, ...] = (*ANSWERED, many)
BINARY: tuple[Mutator, ...] = (bits, bits, header, header, header, overwrite, truncate, delete, splice, pack, whole)


def mutate(content: bytes, rng: random.Random, mutators: tuple[Mutator, ...]) -> tuple[bytes, str]:
    """The content after one to three mutations that changed it, and their names."""
    names = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutator = rng.choice(mutators)
        names.append(mutator.__name__)
        content = mutator(content, rng)
    return content, "+".join(names)


def inside_gzip(content: bytes, rng: random.Random) -> bytes:
    """A gzip whose text is damaged and whose checksum fits."""
    return gzip.compress(mutate(gzip.decompress(content), rng, TEXT)[0], mtime=0)


def inside_zip(content: bytes, rng: random.Random) -> bytes:
    """A zip with a damaged member or name, whose checksums fit."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = rng.randrange(len(members))
    name, data = members[chosen]
    if rng.random() < 0.8:
        members[chosen] = name, mutate(data, rng, BINARY)[0]
    else:
        members[chosen] = _odd_name(name, rng), data
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


def inside_tar(content: bytes, rng: random.Random) -> bytes:
    """A tar, packed as it was, with an odd member whose header's checksum fits."""
    packed = content.startswith(b"\x1f\x8b")
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as archive,
        tarfile.open(fileobj=target, mode="w:gz" if packed else "w") as new,
    ):
        infos = archive.getmembers()
        chosen = rng.randrange(len(infos))
        for number, info in enumerate(infos):
            data = archive.extractfile(info).read()  # type: ignore[union-attr]
            if number == chosen:
                kind = rng.randrange(4)
                if kind == 0:
                    info.name = _odd_name(info.name, rng)
                elif kind == 1:
                    info.type = rng.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"Z"))
                    info.linkname = rng.choice(("", infos[0].name, "../out", "/etc/passwd"))
                elif kind == 2:
                    info.pax_headers = {rng.choice(("size", "path", "mtime", "GNU.sparse.map")): _odd_name("9", rng)}
                else:
                    data = mutate(data, rng, TEXT)[0]
                    info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _odd_name(name: str, rng: random.Random) -> str:
    odd = (
        ".",
        "..",
        "/",
        f"../{name}",
        f"/{name}",
        f"{name}/",
        f"{name}/{name}",
        "n" * 300,
        "a\nb",
        "C:\\x",
        "\u202e",
    )
    return rng.choice((*odd, name.upper(), f"{name}?", "é", "-1", "99999999999", "0,1,2"))
