"""The process that asks the registry for a flow (`stages.registry.status`), as MLflow takes seconds to import.

It is started as early as possible, and asked as late as possible. Nothing here imports Prefect: the command line starts
the process before it does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from stages.registry.status import Standings

from ..execution.supervisor import hang_up

_ANSWER_SECONDS = 300.0  # for the registry to answer; it may have to register every model first
_END_SECONDS = 5.0
_POLL = 0.02


class RegistryProcess:
    """The process of one checkout. It ends when `end` is called, or with this process."""

    def __init__(self, root: Path) -> None:
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115, `end` closes it
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        # The checkout's own code, as its stages run it: `-m` looks into the present folder first.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stages.registry.status"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C is for the flow; this one sees it end
        )

    def ask(self) -> None:
        """Have it look now; to ask twice changes nothing."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; its answer says why
            self._process.stdin.write(b"now\n")
            self._process.stdin.flush()

    def answer(self, stop: threading.Event) -> Standings | str:
        """What the registry holds, or why that is not known."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._process.poll() is None:
            if stop.is_set() or time.monotonic() > deadline:
                return f"no answer within {_ANSWER_SECONDS:g} s"
            time.sleep(_POLL)
        self._stdout.seek(0)
        self._stderr.seek(0)
        try:
            return Standings.model_validate_json(self._stdout.read().strip().rpartition(b"\n")[2])
        except ValidationError:
            last = self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
            return last or f"stages.registry.status ended with {self._process.returncode}"

    def end(self) -> None:
        """End it, whatever it does."""
        hang_up(self._process, _END_SECONDS)
        self._stdout.close()
        self._stderr.close()


_STARTED: dict[Path, RegistryProcess] = {}


def start_early(root: Path) -> None:
    """Start the process of a checkout before the modules that need it are imported."""
    _STARTED[root.resolve()] = RegistryProcess(root)


def registry_process(root: Path) -> RegistryProcess:
    """The process of a checkout: the one that was started early, else a new one."""
    return _STARTED.pop(root.resolve(), None) or RegistryProcess(root)
