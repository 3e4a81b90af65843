"""What the registry knows of this project's models: the versions, and where each came from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import read_json
from ..evaluation.report import HIGH, LOW, is_bound
from ..sources.pins import path_of
from ..tasks.protocol import Task
from .champion import get_version
from .decision import CHAMPION, Decision, facts, read_verdict, verdict_text
from .gate import FILE
from .more_learned import MoreLearned
from .status import describe
from .versions import COMMIT, CONTENT, DIRTY, LOCKED, PATCH, PATCH_FILE, RECEIPT, all_versions, folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_SHORTEST = 6  # digits of a md5


@dataclass(frozen=True, slots=True)
class Target:
    """A model of this project and, where one was named, a version: a number or an alias."""

    task: Task
    version: str | None

    @property
    def name(self) -> str:
        return self.task.description().model_name


def parse(text: str) -> Target:
    """`MODEL`, `MODEL@ALIAS` or `MODEL/NUMBER`; the task's name does as well. Raises ValueError for any other model."""
    name, separator, version = text.partition("@" if "@" in text else "/")
    known = {task.description().model_name: task for task in map(Task, Task.names())}
    task = known.get(name) or next((task for task in known.values() if task.name == name), None)
    if task is None:
        raise ValueError(f"{name!r} is not a model of this project; allowed: {', '.join(known)}, or the name of a task")
    if separator and not version:
        raise ValueError(f"{text!r} names no version; allowed: {name}@champion, {name}/3")
    return Target(task, version or None)


def data_hashes(version: ModelVersion) -> dict[str, str]:
    """DVC's md5 of the data a version comes from, by path: `data/TASK/raw`, `data/TASK/prepared`."""
    return {
        tag.removeprefix(LOCKED).replace(".", "/"): value
        for tag, value in facts(version).items()
        if tag.startswith(f"{LOCKED}data.")
    }


def receipt(version: ModelVersion) -> dict[str, str]:
    """What a version was registered as, out of its tags: see `versions.receipt`."""
    return {tag.removeprefix(RECEIPT): value for tag, value in facts(version).items() if tag.startswith(RECEIPT)}


def stands_on(version: ModelVersion, md5: str) -> bool:
    """Whether a version comes from this data; the beginning of the md5 is enough, and `.dir` may be left out.

    Raises ValueError for fewer than six digits.
    """
    if len(md5) < _SHORTEST:
        raise ValueError(f"{md5!r}: too short; allowed: at least {_SHORTEST} digits of an md5")
    return any(value.startswith(md5) for value in data_hashes(version).values())


def list_versions(client: MlflowClient, target: Target | None, md5: str | None) -> Iterator[tuple[Task, ModelVersion]]:
    """All versions of one model or of all, the newest first; those that come from a data md5 where one is named."""
    for task in [target.task] if target else map(Task, Task.names()):
        for version in all_versions(client, task.description().model_name):
            if md5 is None or stands_on(version, md5):
                yield task, version


def name_and_aliases(version: ModelVersion) -> str:
    """A version as tables show it: `forecaster 3 @challenger @champion`."""
    return " @".join([f"{version.name} {version.version}", *sorted(version.aliases)])


def creation_time(version: ModelVersion) -> str:
    """When a version was made, in UTC, to the minute."""
    return datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def last_training(client: MlflowClient, task: Task) -> date | None:
    """The day, in UTC, on which the newest version was made; None where there is none. What was trained with params of
    one run alone does not count.
    """
    times = [
        version.creation_timestamp
        for version in all_versions(client, task.description().model_name)
        if (verdict := read_verdict(version)) is None or verdict.decision is not Decision.CHALLENGER_OVERRIDES
    ]
    return datetime.fromtimestamp(max(times) / 1000, UTC).date() if times else None


def show(client: MlflowClient, target: Target) -> None:
    """Print all that is known of a version: how to load it, where it came from, what it reached."""
    version = get_version(client, target.name, target.version or CHAMPION)
    tags, described = facts(version), describe(client, version)
    where = f"{folder(tags[CONTENT])}/" if CONTENT in tags else ""
    aliases = "".join(f" @{alias}" for alias in sorted(version.aliases))
    print(f"{version.name} version {version.version}{aliases}, made {creation_time(version)} UTC")
    _lines("verdict", [verdict_text(version)])
    _lines("load", [f'mlflow.pyfunc.load_model("models:/{version.name}/{version.version}")'])
    changed = tags.get(DIRTY) == "true"
    patch = f", with the changes in {where}{PATCH_FILE}" if PATCH in tags else ", with changes"
    _lines("code", [f"commit {tags.get(COMMIT, 'unknown')}{patch if changed else ''}"])
    _lines("data", [f"{path}  {md5}" for path, md5 in sorted(data_hashes(version).items())])
    pin = path_of(target.task.paths.dataset_task).as_posix()
    _lines("pin", [f"{pin}  {md5}" for md5 in [tags.get(f"{LOCKED}{pin.replace('/', '.')}")] if md5])
    hashes = sorted(receipt(version).items())
    _lines("hashes", [f"{name:<9} {value}" for name, value in hashes if name != "model"])
    files = _files(client, described.run_id, where.rstrip("/")) if described.run_id else []
    _lines("run", [described.run_id or "is gone", *(f"has {file}" for file in files)])
    metrics = described.metrics
    names = [name for name in metrics if not is_bound(metrics, name)]
    _lines("metrics", [f"{name} {metrics[name]:.6g}{_interval(metrics, name)}" for name in names])
    with tempfile.TemporaryDirectory() as temporary:
        if f"{where}{FILE}" in files and (path := recorded(client, version, FILE, Path(temporary))):
            _lines("gate", comparison_lines(read_json(path)))


def comparison_lines(judged_by: dict[str, Any]) -> list[str]:
    """How a version and the champion compared, from a `gate.json`, also of older code; nothing without a champion."""
    comparison = judged_by["comparison"] if "comparison" in judged_by else judged_by["duel"]
    if not comparison:
        return []
    examples = comparison["examples"] if "examples" in comparison else comparison["questions"]
    sides = [side for side in (comparison["candidate"], comparison["champion"]) if side]
    lines = [f"version {s['version']} reached {s['value']:.6g}  ({s['low']:.6g} to {s['high']:.6g})" for s in sides]
    if comparison.get("same"):  # the oldest do not have it
        result = "the same answers"
    else:
        chance = comparison["chance"]
        result = f"better with a chance of {chance:.1%}" if comparison["champion"] else comparison["fault"]
        if more := comparison.get("more_learned"):
            result = f"{result}; {MoreLearned(**more)}"
    return [*lines, f"on {examples} test examples: {result}"]


def _lines(title: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        print(f"  {title if number == 0 else '':<8}  {line}")


def _interval(metrics: dict[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}{LOW}"), metrics.get(f"{name}{HIGH}")
    return "" if low is None or high is None else f"  ({low:.6g} to {high:.6g})"


def _files(client: MlflowClient, run_id: str, where: str) -> list[str]:
    return [file.path for file in client.list_artifacts(run_id, where)] if where else []


def recorded(client: MlflowClient, version: ModelVersion, name: str, temporary: Path) -> Path | None:
    """A file that was logged for a version, such as `LOCK_FILE` or `PATCH_FILE`, as a local copy; None without it."""
    where = folder(version.tags[CONTENT])
    if f"{where}/{name}" not in _files(client, str(version.run_id), where):
        return None
    return Path(client.download_artifacts(str(version.run_id), f"{where}/{name}", str(temporary)))
