"""What the last night did with a task: `nights/TASK/night.json`. The next one, and the plan, read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from stages.data.files import write_json
from stages.nightly import Watched
from stages.tasks.protocol import Task


class NightRecord(BaseModel):
    """A night's decision on a task. It is no output of a stage: it has a time, and to lose it loses no more than a
    reason in the plan.
    """

    night: str  # when it began, in UTC
    data: str  # DVC's hash of the prepared data that it saw
    source: str = ""  # what had come from the source, in words
    source_fault: str = ""  # why the source could not be checked, or was refused
    retrain: bool
    reason: str
    done: bool = False  # the night came to its end: what it decided was carried out
    champion: str = ""  # version that forecasts were made with; empty where there is none
    watched: Watched | None = None  # what was known of drift, scores and the last training

    @property
    def is_cut_short(self) -> bool:
        """Whether the night had decided to train, and did not come to its end: the next one goes on with it."""
        return self.retrain and not self.done


def read_record(root: Path, task: str) -> NightRecord | None:
    """The record of the last night that looked at a task; None where there is none that this code reads."""
    try:
        return NightRecord.model_validate_json((root / Task(task).paths.night_record).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def write_record(root: Path, task: str, record: NightRecord) -> None:
    """Replace the record of a task."""
    write_json(root / Task(task).paths.night_record, record.model_dump(mode="json"))
