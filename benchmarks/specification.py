"""What one training of a benchmark is: task, data, params, what it is measured on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.params import TaskParams


@dataclass(frozen=True, kw_only=True, slots=True)
class Specification:
    """What to train; all of it JSON."""

    task: str
    prepared: str
    params: dict[str, Any]  # the task's whole block
    textbook: bool  # the textbook's network and inputs in place of the task's own
    measured: str  # the split to measure on after each epoch
    examples: int  # to train on, evenly over the split; 0: all
    saved: str  # folder for the best epoch's network; empty: none

    @classmethod
    def of(
        cls,
        task: str,
        prepared: Path,
        params: TaskParams,
        *,
        measured: str,
        textbook: bool = False,
        examples: int = 0,
        saved: Path | None = None,
    ) -> Specification:
        """The specification for a task's params."""
        return cls(
            task=task,
            prepared=str(prepared),
            params=params.model_dump(by_alias=True),
            textbook=textbook,
            measured=measured,
            examples=examples,
            saved=str(saved or ""),
        )

    def write(self, path: Path) -> Path:
        """Write it as JSON; returns the path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path
