"""The weights that a training starts from, as `sources/weights/TASK.json` pins them.

The pin names a version and hashes, never an alias: what `models:/NAME@champion` means changes from one night to the
next, and a training must not become stale by that. `stages/registry/pin_weights.py` writes it; a training reads what it
names, by its md5 from DVC's cache, else from DVC's default remote, else from MLflow or from its path, and believes only
the sha256.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.files import read_json, write_json
from ..paths import MEASURED
from ..sources.dvc_cache import cache_folder, cache_path, read_from_remote
from .store import store_error, without_credentials

if TYPE_CHECKING:
    from ..params import TaskParams
    from ..tasks.protocol import Task

_MODEL = "models:/"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedFile:
    """A file by its hashes, in hexadecimal digits."""

    md5: str
    sha256: str

    def __post_init__(self) -> None:
        """Raises ValueError for what is no hash: an md5 becomes the name of a file."""
        for name, digits in (("md5", 32), ("sha256", 64)):
            value = getattr(self, name)
            if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
                raise ValueError(f"{name}: found {value!r:.80}; allowed are {digits} hexadecimal digits")

    @staticmethod
    def of(content: bytes) -> PinnedFile:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return PinnedFile(md5=md5, sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """Which weights `start_from` stood for when it was pinned."""

    start_from: str  # as params have it
    found: str  # models:/NAME/VERSION, or the path
    files: Mapping[str, PinnedFile]  # weights.safetensors and, where the network has it, learned.safetensors

    @property
    def name(self) -> str:
        """What outputs call the weights, which name no path of a machine: the version, or the beginning of a sha256."""
        if self.found.startswith(_MODEL):
            return self.found
        return f"sha256:{self.files[_names()[0]].sha256[:16]}"

    def write(self, path: Path) -> None:
        """Write it; the same pin gives the same bytes."""
        write_json(path, asdict(self))


def read_pin(path: Path) -> Pin | None:
    """A task's pin; None where nothing is pinned. Raises ValueError for a file that is none."""
    try:
        values = read_json(path)
        if not values:
            return None
        files = {name: PinnedFile(**hashes) for name, hashes in values["files"].items()}
        names = _names()
        if names[0] not in files or not set(files) <= set(names):
            allowed = f"{names[0]} and, beside it, {names[1]}"
            raise ValueError(f"files: found {', '.join(files)[:80]}; allowed: {allowed}")
        for key in ("start_from", "found"):
            if not isinstance(values[key], str):
                raise ValueError(f"{key}: found {values[key]!r:.80}; allowed is text")
        return Pin(start_from=values["start_from"], found=values["found"], files=files)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: bad weights pin: {error!r}; run `python -m stages.refresh --weights`") from None


def pinned(task: Task, params: TaskParams) -> Pin | None:
    """What the task's training starts from; None for fresh weights.

    Raises ValueError where params name weights that the pin does not.
    """
    wanted = params.train.start_from
    if not wanted:
        return None
    path = task.paths.weights_pin
    pin = read_pin(path) if path.is_file() else None
    if pin is None or pin.start_from != wanted:
        found = f"weights of {pin.start_from}" if pin else "none"
        raise ValueError(
            f"{task.name}.train.start_from is {wanted}, and {path} pins {found}; "
            f"run `python -m stages.refresh --weights {task.name}` to pin them"
        )
    return pin


def read_pinned(task: Task, pin: Pin) -> dict[str, bytes]:
    """The pinned files by name. A place that has other ones, or does not answer, is skipped with a line. Raises
    ValueError where no place has them.
    """
    places: dict[str, Callable[[], Mapping[str, bytes | None]]] = {
        "DVC's cache": partial(_of_cache, pin),
        "DVC's remote": lambda: {name: read_from_remote(file.md5) for name, file in pin.files.items()},
        pin.found: lambda: read_network_files(task, pin.found),
    }
    faults: list[str] = []
    for place, read in places.items():
        try:
            contents = read()
        except Exception as error:  # of whatever library reads there
            fault = store_error(error) or without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
        else:
            if place != pin.found and all(content is None for content in contents.values()):
                continue
            fault = _fault(task, pin, contents)
            if not fault:
                return {name: content for name in pin.files if (content := contents[name]) is not None}
        faults.append(fault if fault.startswith(place) else f"{place}: {fault}")
        if place != pin.found:
            print(f"unroll: train {task.name}: {faults[-1]}; skipped", file=sys.stderr, flush=True)
    raise ValueError("; ".join(faults))


def _of_cache(pin: Pin) -> dict[str, bytes | None]:
    cache = cache_folder()
    paths = {name: cache_path(cache, file.md5) for name, file in pin.files.items()}
    return {name: path.read_bytes() if path.is_file() else None for name, path in paths.items()}


def _fault(task: Task, pin: Pin, contents: Mapping[str, bytes | None]) -> str:
    """Why these are not the pinned files; empty where they are."""
    for name, file in pin.files.items():
        content = contents.get(name)
        if content is None:
            return f"{name} is missing; {task.paths.weights_pin} pins it"
        if (sha256 := hashlib.sha256(content).hexdigest()) != file.sha256:
            return f"{name} has sha256 {sha256}; {task.paths.weights_pin} pins {file.sha256}"
    return ""


def read_network_files(task: Task, found: str) -> dict[str, bytes]:
    """The weights, and what was learned, of the measured network of `models:/NAME/VERSION`, or of a path: that of a
    network's folder or of its weights. Raises ValueError where there are none.
    """
    if not found.startswith(_MODEL):
        path = Path(found)
        return _files_in(path.parent if path.is_file() else path, path.name if path.is_file() else _names()[0], found)
    from mlflow import artifacts

    from .mlflow_runs import open_client

    open_client()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(artifacts.download_artifacts(f"{found}/artifacts/{task.name}", dst_path=temporary))
        measured = folder / MEASURED
        return _files_in(measured if measured.is_dir() else folder, _names()[0], found)


def _files_in(folder: Path, weights: str, found: str) -> dict[str, bytes]:
    name, learned = _names()
    if not (folder / weights).is_file():
        raise ValueError(f"{found}: no {weights} there; allowed: a network's folder, or its weights")
    paths = {name: folder / weights, learned: folder / learned}
    return {key: path.read_bytes() for key, path in paths.items() if path.is_file()}


def _names() -> tuple[str, str]:
    from ..models.learned import LEARNED_NAME
    from ..models.weights import WEIGHTS_NAME

    return WEIGHTS_NAME, LEARNED_NAME
