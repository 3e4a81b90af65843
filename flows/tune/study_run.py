"""The run of a study in MLflow, as the flow holds it: by a process that outlives the flow, and closes the run then."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from prefect import get_run_logger

from stages.paths import search_path

from ..execution.locks import StoppedError
from ..execution.supervisor import hang_up
from .mlflow_run import END, StudyFacts

_SECONDS = 120.0  # for MLflow to be imported, to answer and to be told
_CLOSING_SECONDS = 5.0  # for it to close the run of a study that was stopped
_POLL = 0.1


class StudyRun:
    """Makes the run when the study begins, ends it when the study ends, and has it KILLED where the study is stopped.

    The process (`flows.tune.mlflow_run`) sees its standard input end, whatever it is that ends the flow. MLflow cannot
    fail a study: where its store is away, that is a warning in the log.
    """

    def __init__(self, folder: Path, stop: threading.Event) -> None:
        self._folder = folder
        self._stop = stop
        self._held = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._failed = self._held.enter_context(TemporaryFile("w+"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        self._held.close()

    def begin(self, facts: StudyFacts) -> str:
        """The id of the run, or nothing where the store is away."""
        facts.write(self._folder)
        return self._answer("begun")

    def end(self, facts: StudyFacts) -> None:
        """Log what came out."""
        facts.write(self._folder)
        if self._process is None:
            self._answer("begun")  # it was away at the beginning, and may be back
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(OSError):
                self._process.stdin.write(f"{END}\n")
                self._process.stdin.flush()
            self._answer("ended")

    def _answer(self, what: str) -> str:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.tune.mlflow_run", str(self._folder)],
                env={**os.environ, "PYTHONPATH": search_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._failed,
                text=True,
                start_new_session=True,  # Ctrl-C is for the flow; this one sees it end
            )
        assert self._process.stdout is not None
        deadline = time.monotonic() + _SECONDS
        while not select.select([self._process.stdout], [], [], _POLL)[0]:
            if self._stop.is_set():
                raise StoppedError("stopped while MLflow was told of the study")
            if time.monotonic() > deadline:
                break
        else:
            if line := self._process.stdout.readline().strip():
                return line
        self._close()
        self._failed.seek(0)
        reason = self._failed.read().strip().rpartition("\n")[2] or f"no answer within {_SECONDS:g} s"
        get_run_logger().warning("MLflow was not told that the study has %s: %s", what, reason)
        return ""

    def _close(self) -> None:
        if self._process is None:
            return
        assert self._process.stdout is not None
        hang_up(self._process, _CLOSING_SECONDS)
        self._process.stdout.close()
        self._process = None
