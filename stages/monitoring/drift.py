"""Whether the input has changed: newly prepared data, or a user's files, beside what the champion has learned from.

What is compared are the features of the profile that travels with the champion (`preprocessing/profile.py`). A feature
has changed where both hold: it is sure, after Holm's correction for all features together, so that whoever looks once
is misled at most as often as `monitor.drift.significance` says, and it is large (`monitor.drift.warning_effect`,
`drift_effect`), since of enough examples every difference is sure. Holm's correction and not that of Benjamini and
Hochberg: features depend on each other, a single one makes the verdict, and so the chance of any false one is what
counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..data.files import read_json
from ..data.prepared import open_prepared
from ..preprocessing.profile import FORMAT, Known, Observed
from ..preprocessing.weekly import comparable
from .comparison import Change, compare, compare_shares, holm
from .series_comparison import compare_series

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..params import TaskParams
    from ..tasks.protocol import Task

Verdict = Literal["none", "warning", "drift"]
_VERDICTS: tuple[Verdict, ...] = ("none", "warning", "drift")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature that was compared."""

    change: Change
    adjusted: float  # its p-value after the correction for all features
    verdict: Verdict

    @property
    def name(self) -> str:
        return self.change.name

    @property
    def effect(self) -> float:
        """How far, 0 to 1."""
        return self.change.effect

    @property
    def p_value(self) -> float:
        """By itself."""
        return self.change.p_value

    @property
    def before(self) -> str:
        return self.change.before

    @property
    def now(self) -> str:
        return self.change.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What came of a comparison; the features that have changed most come first."""

    task: str
    model: str
    version: str  # the champion's
    what: str  # was compared with it: "newly prepared data", or the files
    examples: int
    features: tuple[Feature, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the features'."""
        return max((feature.verdict for feature in self.features), key=_VERDICTS.index, default="none")

    @property
    def summary(self) -> str:
        """One sentence."""
        changed = [feature for feature in self.features if feature.verdict == self.verdict != "none"]
        against = f"compared with {self.model} version {self.version}"
        if not self.examples:
            unseen = f"that {self.model} version {self.version} was not trained on"
            return f"{self.task}: none: no examples in {self.what} {unseen}"
        if not self.features:
            needed = f"needed: enough of what {self.model} version {self.version} was trained on"
            return f"{self.task}: none: nothing could be compared: {self.examples:,} examples in {self.what}; {needed}"
        if not changed:
            looked = f"{len(self.features)} features of {self.examples:,} examples in {self.what}"
            return f"{self.task}: none: no significant and large change in {looked}, {against}"
        shown = "; ".join(f"{one.name} {one.effect:.2f} ({one.before} → {one.now})" for one in changed[:3])
        more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"{self.task}: {self.verdict} in {self.what} ({self.examples:,} examples) {against}: {shown}{more}"

    def as_json(self) -> dict[str, Any]:
        """All of it but for what pictures are drawn from."""
        return {
            "task": self.task,
            "model": self.model,
            "version": self.version,
            "compared": self.what,
            "examples": self.examples,
            "verdict": self.verdict,
            "summary": self.summary,
            "features": [
                {
                    "name": one.name,
                    "effect": round(one.effect, 4),
                    "p_value": one.p_value,
                    "adjusted_p_value": one.adjusted,
                    "verdict": one.verdict,
                    "before": one.before,
                    "now": one.now,
                }
                for one in self.features
            ],
        }


def drift_of(task: Task, params: TaskParams, files: Sequence[str] = ()) -> Drift:
    """Compare files that `predict` reads or, without any, what the prepared data hold that the champion has not
    learned, with the profile of the champion.

    Raises ValueError where there is no registry, no champion or no profile, a file cannot be read or files hold nothing
    that can be compared, and FileNotFoundError without prepared data.
    """
    from ..registry.champion import learned_by
    from .watched import open_champion

    reader = task.file_profile() if files else None
    client, version = open_champion(task)
    with tempfile.TemporaryDirectory() as temporary:
        profile = _profile(client, version, task, Path(temporary))
        known = _known(version, Path(temporary))
        if reader:
            observed = reader.read(_rows(task, files), known)
            rejected = _of_files(profile, observed)
        else:
            learned = learned_by(task, version.name, str(version.version))
            rows = _new_rows(task, learned, whole=bool(profile["series"]))
            observed = task.profile().current(task.paths.prepared, rows, known)
            rejected = _of_preparation(profile["prepared"], read_json(task.paths.preparation_metrics))
    changes = changes_of(profile, observed, rejected, partial=bool(files)) if observed.examples else []
    if files and not changes:
        found = f"found {observed.examples:,} examples" if observed.examples else "found no examples"
        reason = f"{found}; allowed: files with enough of what {version.name} version {version.version} was trained on"
        raise ValueError(f"{', '.join(files)}: nothing could be compared: {reason}")
    return Drift(
        task=task.name,
        model=version.name,
        version=str(version.version),
        what=", ".join(files) or "newly prepared data",
        examples=observed.examples,
        features=judged(changes, params),
    )


def changes_of(
    profile: Mapping[str, Any], observed: Observed, rejected: Mapping[str, Mapping[str, float]], *, partial: bool
) -> list[Change]:
    """Every feature of a profile beside what was observed. `rejected`: see `_of_preparation`; `partial`: that a series
    is not among them says nothing.
    """
    found: list[Change] = []
    for name, feature in observed.features.items():
        if name in profile["features"]:
            found += compare(name, profile["features"][name], feature, observed.groups)
    for rule, counts in rejected.items():
        before, now = (counts["before"], counts["all_before"]), (counts["now"], counts["all_now"])
        if before[1] and now[1]:
            found.append(compare_shares(rule, before, now))
    series = comparable(profile["series"], observed.series)
    lines = profile["series"].get("lines", {})
    today = max((one.last_day for one in series), default=0)
    for one in series:
        label = f"{one.name}: " if len(lines) > 1 else ""
        found += compare_series(lines[one.name], one, one.last_day if partial else today, label)
    return found


def judged(changes: Sequence[Change], params: TaskParams) -> tuple[Feature, ...]:
    """Each change with its verdict, the worst first."""
    limits = params.monitor.drift
    adjusted = holm(np.array([change.p_value for change in changes])).tolist()
    features = []
    for change, p_value in zip(changes, adjusted, strict=True):
        sure = p_value < limits.significance
        large = (change.effect >= limits.warning_effect) + (change.effect >= limits.drift_effect)
        features.append(Feature(change=change, adjusted=p_value, verdict=_VERDICTS[large if sure else 0]))
    return tuple(sorted(features, key=lambda one: (-_VERDICTS.index(one.verdict), -one.effect, one.name)))


def _profile(client: MlflowClient, version: ModelVersion, task: Task, temporary: Path) -> dict[str, Any]:
    from ..registry.lineage import recorded
    from ..registry.versions import CONTENT, PROFILE_FILE

    path = recorded(client, version, PROFILE_FILE, temporary) if CONTENT in version.tags else None
    profile = read_json(path) if path else {}
    if profile.get("format") != FORMAT:
        found = "no profile" if not profile else f"a profile of format {profile.get('format')}"
        raise ValueError(
            f"{version.name} version {version.version} has {found}, since it was made by other code; "
            f"`dvc repro register@{task.name}` registers a version that has one"
        )
    return profile


def _known(version: ModelVersion, temporary: Path) -> Known:
    """What the champion knows of its data, with the small files of it, such as tokenizers."""
    from mlflow import artifacts

    from ..paths import NETWORK_NAME

    def found(address: str) -> Iterator[str]:
        for file in sorted(artifacts.list_artifacts(artifact_uri=address), key=lambda file: file.path):
            below = f"{address}/{Path(file.path).name}"
            yield from found(below) if file.is_dir else iter([below])

    files = list(found(f"models:/{version.name}/{version.version}/artifacts"))
    network = next((file for file in files if file.endswith(f"/{NETWORK_NAME}")), None)
    if network is None:
        raise ValueError(f"{version.name} version {version.version} has no {NETWORK_NAME}, so it cannot be loaded")
    folder = temporary / "known"
    # MLflow keeps the folders of an address, so that a network's files lie beside it here, too.
    file = Path(artifacts.download_artifacts(artifact_uri=network, dst_path=str(folder)))
    data = read_json(file)["data"]
    for name in data.get("assets", ()):
        if name.endswith(".json"):
            artifacts.download_artifacts(artifact_uri=f"{network.rpartition('/')[0]}/{name}", dst_path=str(folder))
    return Known(data, file.parent)


def _new_rows(task: Task, learned: Any, *, whole: bool) -> np.ndarray:
    """The rows of the training and the validation split that were not learned; all of series, which go on.

    An example keeps its split, so that one of the test split, whether it is new or not, tells nothing.
    """
    from ..models.learned import FITTED_SPLITS

    store, _ = open_prepared(task.paths.prepared)
    if whole:
        return np.arange(len(store))
    rows = store.rows(FITTED_SPLITS)
    return rows if learned is None else rows[~learned.may_hold(task.model().identities(task.paths.prepared, rows))]


def _rows(task: Task, files: Sequence[str]) -> Iterable[list[dict[str, Any]]]:
    return chain.from_iterable(task.rows().groups(file) for file in files)


def _of_preparation(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """By rule: how many values were rejected of how many, before and in what has come since. Where data have only
    grown, what was there before is no news.
    """
    keys = [name for name in sorted({*before, *now}) if name.startswith("rejected_") and name != "rejected_share"]
    counted = ["accepted", *keys]
    grown = all(now.get(name, 0) >= before.get(name, 0) for name in counted)
    since = {name: now.get(name, 0) - (before.get(name, 0) if grown else 0) for name in [*counted, "rejected"]}
    whole_before, whole_now = (counts["accepted"] + counts["rejected"] for counts in (before, since))
    return {
        key.replace("_", " "): {
            "before": before.get(key, 0),
            "all_before": whole_before,
            "now": since[key],
            "all_now": whole_now,
        }
        for key in keys
    }


def _of_files(profile: Mapping[str, Any], observed: Observed) -> dict[str, dict[str, float]]:
    """The same of files: the rules that their reader has found broken. Of series none: a file counts them, a
    preparation their days.
    """
    if profile["series"]:
        return {}
    before = profile["prepared"]
    return {
        f"rejected {rule.replace('_', ' ')}": {
            "before": before.get(f"rejected_{rule}", 0),
            "all_before": before["accepted"] + before["rejected"],
            "now": count,
            "all_now": observed.examples + sum(observed.rejected.values()),
        }
        for rule, count in observed.rejected.items()
    }
