"""A raw folder to download into, as a download stage has it, and what comes into it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from stages.fetch import Limits, Request, fetch_all

CONTENT = random.Random(1).randbytes(300_000)
LINES = b"".join(b"%05d %s\n" % (i, b"x" * (20 + i % 50)) for i in range(5000))  # 5,000 lines of 27 to 76 bytes
QUICK = Limits(idle=5, attempts=4, backoff=0.001)


def first_lines(count: int) -> bytes:
    return b"".join(LINES.splitlines(keepends=True)[:count])


class Folder:
    """The raw folder, and partials outside it."""

    def __init__(self, path: Path) -> None:
        self.raw, self.partials = path / "raw", path / "partials"

    def fetch(self, *requests: Request, limits: Limits = QUICK, workers: int = 4) -> None:
        fetch_all(requests, self.raw / "downloads.json", workers=workers, partials=self.partials, limits=limits)

    def request(self, url: str, name: str = "file.bin", **settings: Any) -> Request:
        return Request(url=url, target=self.raw / name, **settings)

    def read(self, name: str = "file.bin") -> bytes:
        return (self.raw / name).read_bytes()

    def record(self) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = json.loads((self.raw / "downloads.json").read_text())
        return value

    def kept(self) -> int:
        """Bytes in partials."""
        return sum(path.stat().st_size for path in self.partials.glob("*.partial"))

    def left(self) -> list[str]:
        """All files there are."""
        return sorted(path.name for path in self.raw.parent.rglob("*") if path.is_file())
