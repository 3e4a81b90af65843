"""What a night asks of `stages.nightly`, each time in a process of its own: to import what answers takes seconds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import ValidationError

from stages.nightly import Answer, Forecast, SourceNews, Watched

from ..execution.locks import StoppedError
from ..execution.supervisor import run_supervised

A = TypeVar("A", bound=Answer)


class Questions:
    """Asks about the tasks of a checkout, by its own code. `descriptors` stay open until the answer is there: the lock
    of the night, which is not over as long as anything works for it.
    """

    def __init__(
        self, root: Path, *, stop: threading.Event, descriptors: Sequence[int], on_line: Callable[[str], None]
    ) -> None:
        self._root = root
        self._stop = stop
        self._descriptors = descriptors
        self._on_line = on_line

    def refresh(self, tasks: Sequence[str]) -> dict[str, SourceNews | str]:
        """Whether the sources of these tasks have anything new, which is then pinned; or why that is not known."""
        return self._ask("refresh", tasks, SourceNews)

    def watch(self, tasks: Sequence[str]) -> dict[str, Watched | str]:
        """Drift, scores and the last training of these tasks; or why that is not known."""
        return self._ask("watch", tasks, Watched)

    def weights(self, tasks: Sequence[str]) -> dict[str, Answer | str]:
        """Have the weights that trainings start from pinned as they are now; or why the pin stays."""
        return self._ask("weights", tasks, Answer)

    def forecast(self, tasks: Sequence[str]) -> dict[str, Forecast | str]:
        """The champions' forecasts; or why there are none."""
        return self._ask("forecast", tasks, Forecast)

    def note(self, tasks: Sequence[str]) -> dict[str, Answer | str]:
        """Have MLflow keep what `nights/TASK/` holds, at the champion's version; or why it does not."""
        return self._ask("note", tasks, Answer)

    def _ask(self, verb: str, tasks: Sequence[str], kind: type[A]) -> dict[str, A | str]:
        """The answer for each task, or a line that says why there is none. Raises StoppedError."""
        if not tasks:
            return {}
        with TemporaryDirectory() as name:
            result = run_supervised(
                [sys.executable, "-m", "stages.nightly", verb, *tasks, "--answers", name],
                folder=self._root,
                stop=self._stop,
                descriptors=self._descriptors,
                on_line=self._on_line,
            )
            if self._stop.is_set():
                raise StoppedError(f"stopped during {verb}")
            last = next((line for line in reversed(result.tail) if line.strip()), f"status {result.status}")
            return {task: _answer(Path(name, f"{task}.json"), kind) or last for task in tasks}


def _answer(file: Path, kind: type[A]) -> A | str:
    """The answer in a file, or the fault that it names; empty where there is none."""
    try:
        answer = kind.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except ValidationError:
        return Answer.model_validate_json(file.read_text(encoding="utf-8")).fault
    return answer.fault or answer
