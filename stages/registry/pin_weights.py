"""Pins the weights that a training starts from: an alias is resolved here, once, and by no training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..data.files import write_json
from ..tracking import mlflow_runs
from ..tracking.start_weights import Pin, PinnedFile, read_network_files, read_pin
from .champion import get_version

if TYPE_CHECKING:
    from pathlib import Path

    from ..params import TaskParams
    from ..tasks.protocol import Task

_MODEL = re.compile(r"models:/(?P<name>[^@/]+)[@/](?P<version>.+)")


def pin_weights(task: Task, params: TaskParams) -> str:
    """Write which weights `train.start_from` stands for now to `sources/weights/TASK.json`; returns what it wrote, in a
    line.

    What has not changed keeps its bytes. Raises PromotionError where there is no such version, ValueError where there
    are no weights that a training can start from, and MLflow's errors where the registry is away: the pin then stays as
    it was.
    """
    from ..models.weights import WEIGHTS_NAME, read_weights

    wanted, path = params.train.start_from, task.paths.weights_pin
    if not wanted:
        return _written(task, path, None)
    found = wanted
    if model := _MODEL.fullmatch(wanted):
        name = model["name"]
        found = f"models:/{name}/{get_version(mlflow_runs.open_client(), name, model['version']).version}"
    contents = read_network_files(task, found)
    read_weights(contents[WEIGHTS_NAME], f"{task.name}.train.start_from: {found}")
    files = {name: PinnedFile.of(content) for name, content in contents.items()}
    return _written(task, path, Pin(start_from=wanted, found=found, files=files))


def _written(task: Task, path: Path, pin: Pin | None) -> str:
    before = read_pin(path) if path.is_file() else None
    text = f"{task.name}: trainings start from {pin.found if pin else 'fresh weights'}"
    if path.is_file() and pin == before:
        return f"{text}, as before"
    if pin:
        pin.write(path)
    else:
        write_json(path, {})
    return text


def pinned_versions(name: str) -> set[str]:
    """The versions of a model that trainings of this checkout start from."""
    from ..tasks.protocol import Task

    pins = [read_pin(path) for task in map(Task, Task.names()) if (path := task.paths.weights_pin).is_file()]
    start = f"models:/{name}/"
    return {pin.found.removeprefix(start) for pin in pins if pin and pin.found.startswith(start)}
