"""A process of Python beside a flow, for what takes seconds to import: it reads lines, and answers each with a line."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from .supervisor import hang_up

_END_SECONDS = 5.0
_POLL = 0.1


class SideProcess:
    """It ends when it is closed, or with this process: its standard input ends then. Nothing here imports Prefect."""

    def __init__(self, *arguments: str, folder: Path = Path(), environment: Mapping[str, str] | None = None) -> None:
        self._stderr = TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the flow; this one sees it end
        )

    def send(self, line: str) -> None:
        """Send it a line; where it has ended, `error` says why."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def read_line(self, seconds: float, stop: threading.Event) -> str:
        """Its next line; empty where none came in that time, or before `stop` was set or it ended."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while not select.select([self._process.stdout], [], [], _POLL)[0]:
            if stop.is_set() or time.monotonic() > deadline:
                return ""
        line = self._process.stdout.readline()
        if not line:
            hang_up(self._process, _END_SECONDS)
        return line.strip()

    def error(self) -> str:
        """The last line of its errors, or its status where it has ended without one; empty where it still works."""
        self._stderr.seek(0)
        status = self._process.poll()
        return self._stderr.read().strip().rpartition("\n")[2] or ("" if status is None else f"status {status}")

    def close(self) -> None:
        """End it, whatever it does."""
        assert self._process.stdout is not None
        hang_up(self._process, _END_SECONDS)
        self._process.stdout.close()
        self._stderr.close()
