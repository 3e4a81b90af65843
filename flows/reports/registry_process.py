"""The process that asks the registry for a flow (`stages.registry.status`), as MLflow takes seconds to import.

It is started as early as possible, and asked as late as possible: the command line starts it before it imports Prefect.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from stages.registry.status import RegistryStatus

from ..execution.side_process import SideProcess

_ANSWER_SECONDS = 300.0  # for the registry to answer; it may have to register every model first


class RegistryProcess(SideProcess):
    """The process of one checkout, which runs the checkout's own code."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__("-m", "stages.registry.status", folder=root, environment=environment)

    def ask(self) -> None:
        """Have it look now; to ask twice changes nothing."""
        self.send("now")

    def answer(self, stop: threading.Event) -> RegistryStatus | str:
        """What the registry holds, or why that is not known."""
        while line := self.read_line(_ANSWER_SECONDS, stop):
            with suppress(ValidationError):
                return RegistryStatus.model_validate_json(line)
        return self.error() or f"no answer within {_ANSWER_SECONDS:g} s"


_STARTED: dict[Path, RegistryProcess] = {}


def start_early(root: Path) -> None:
    """Start the process of a checkout before the modules that need it are imported."""
    _STARTED[root.resolve()] = RegistryProcess(root)


def registry_process(root: Path, environment: Mapping[str, str] | None = None) -> RegistryProcess:
    """The process of a checkout: the one that was started early, else a new one, in this environment."""
    return _STARTED.pop(root.resolve(), None) or RegistryProcess(root, environment)
