"""The run of a study in MLflow, as the flow holds it: by a process that outlives the flow, and closes the run then."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from prefect import get_run_logger

from stages.paths import search_path

from ..execution.locks import StoppedError
from ..execution.side_process import SideProcess
from .mlflow_run import END, StudyFacts

_SECONDS = 120.0  # for MLflow to be imported and to answer


class StudyRun:
    """Makes the run when the study begins, ends it when the study ends, and has it KILLED where the study is stopped.

    The process (`flows.tune.mlflow_run`) sees its standard input end, whatever it is that ends the flow. MLflow cannot
    fail a study: where its store is away, that is a warning in the log.
    """

    def __init__(self, folder: Path, stop: threading.Event) -> None:
        self.folder = folder
        self._stop = stop
        self._process: SideProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def begin(self, facts: StudyFacts) -> str:
        """The id of the run, or nothing where the store is away."""
        facts.write(self.folder)
        if self._process is None:
            command = ("-P", "-m", "flows.tune.mlflow_run", str(self.folder))
            self._process = SideProcess(*command, environment={"PYTHONPATH": search_path()})
        return self._read(self._process, "begun")

    def end(self, facts: StudyFacts) -> None:
        """Log what came out."""
        if self._process is None:
            self.begin(facts)  # the store was away at the beginning, and may be back
        if self._process is not None:
            facts.write(self.folder)
            self._process.send(END)
            self._read(self._process, "ended")

    def _read(self, process: SideProcess, event: str) -> str:
        answer = process.read_line(_SECONDS, self._stop)
        if not answer:
            if self._stop.is_set():
                raise StoppedError("stopped while sending the study to MLflow")
            reason = process.error() or f"no answer within {_SECONDS:g} s"
            get_run_logger().warning("could not record in MLflow that the study has %s: %s", event, reason)
            self._close()
        return answer

    def _close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
