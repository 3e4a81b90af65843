"""What asks the registry for a flow: a process of its own (`stages.registry.status`), as MLflow imports for seconds.

It is started as early as may be, and asked as late as must be. Nothing here imports Prefect: the command line starts it
before it does.
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

from stages.registry.status import RegistryStatus

from ..execution.supervisor import hang_up

_PATIENCE = 300.0  # seconds for the registry's answer, which may have to register every model first
_END_SECONDS = 5.0
_POLL = 0.02


class RegistryProcess:
    """Asks on behalf of one checkout. It ends when it is told to, or with this process."""

    def __init__(self, root: Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, `end` closes it
        self._failed = tempfile.TemporaryFile()  # noqa: SIM115
        # The checkout's own code, as its stages run it: `-m` looks into the present folder first.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stages.registry.status"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=self._failed,
            start_new_session=True,  # Ctrl-C is for the flow; this one sees it end
        )

    def ask(self) -> None:
        """Have it look now; to ask twice changes nothing."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; its answer says why
            self._process.stdin.write(b"now\n")
            self._process.stdin.flush()

    def answer(self, stop: threading.Event) -> RegistryStatus | str:
        """What the registry says, or why it says nothing."""
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None:
            if stop.is_set() or time.monotonic() > deadline:
                return f"no answer within {_PATIENCE:g} s"
            time.sleep(_POLL)
        self._said.seek(0)
        self._failed.seek(0)
        try:
            return RegistryStatus.model_validate_json(self._said.read().strip().rpartition(b"\n")[2])
        except ValidationError:
            last = self._failed.read().decode(errors="replace").strip().rpartition("\n")[2]
            return last or f"stages.registry.status ended with {self._process.returncode}"

    def end(self) -> None:
        """End it, whatever it does."""
        hang_up(self._process, _END_SECONDS)
        self._said.close()
        self._failed.close()


_EARLY: dict[Path, RegistryProcess] = {}


def start_early(root: Path) -> None:
    """Start the process of a checkout before whoever needs it has been imported."""
    _EARLY[root.resolve()] = RegistryProcess(root)


def registry_process(root: Path) -> RegistryProcess:
    """The process of a checkout: the one that was started early, else a new one."""
    return _EARLY.pop(root.resolve(), None) or RegistryProcess(root)
