"""What a night finds out about a task with data of its own, and does with it and those that learn from its data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stages.monitoring.retraining import Retraining
from stages.nightly import Forecast, SourceNews, Watched
from stages.registry.status import RegistryStatus
from stages.tasks.protocol import Task

from ..dag import PlannedStage
from ..record import NightRecord, write_record


@dataclass(slots=True, kw_only=True)
class TaskNight:
    """It is filled as the night goes on."""

    owner: str  # the task whose data it is about
    news: SourceNews
    before: NightRecord | None
    failed: bool = False  # its data could not be brought up to date
    data: str = ""  # DVC's hash of the prepared data
    waiting: tuple[str, ...] = ()  # tasks whose models new data alone has made stale
    edited: PlannedStage | None = None  # the first stage of its models that runs whatever the policy
    watched: Watched | None = None  # None: there was nothing to look at, or `fault` says why not
    fault: str = ""
    decision: Retraining | None = None  # None: there was nothing to decide
    goes_on: str = ""  # the night that had decided so before, and was cut short
    champion: str = ""
    models: tuple[str, ...] = ()  # what became of the models, a line each
    forecast: Forecast | str | None = None  # a line: why there is none; None: not asked for

    @property
    def has_news(self) -> bool:
        """Whether there are data that no night which came to its end has seen."""
        return not (self.before and self.before.done and self.before.data == self.data)

    @property
    def came(self) -> str:
        """What has come from the source, tonight or in a night that was cut short; empty where nothing has."""
        if self.news.state == "new":
            return self.news.summary
        return self.before.source if self.before and not self.before.done else ""

    @property
    def source_fault(self) -> str:
        """Why the source could not be checked, or was refused; empty where all is well."""
        return self.news.summary if self.news.state in ("away", "refused") else ""

    @property
    def held_back(self) -> str:
        """Why its models wait; empty where they do not."""
        return self.decision.reason if self.decision and not self.decision.retrain else ""

    @property
    def asks_forecasts(self) -> bool:
        """Whether there is a champion that has not forecast from these data."""
        known = self.before.champion if self.before else ""
        return bool(self.champion) and (self.has_news or self.champion != known)

    @property
    def is_told(self) -> bool:
        """Whether there is anything to report: other data, a source that is away or refused or is well again, another
        decision, an edit, another champion.
        """
        known = (self.before.retrain, self.before.reason) if self.before else None
        decided = self.decision is not None and (self.decision.retrain, self.decision.reason) != known
        of_source = bool(self.source_fault or (self.before and self.before.source_fault))
        news = self.has_news or of_source or decided or self.edited is not None or self.asks_forecasts
        return news and not self.failed

    def stages(self, names: Iterable[str]) -> list[str]:
        """Those of these stages that are of its data, or of a model that learns from them."""
        return [name for name in names if Task(name.partition("@")[2]).description().dataset_task == self.owner]

    def hear(self, answer: Watched | str | None) -> None:
        """Take what is known of drift and scores; None: what the last night knew of the same data."""
        if answer is None:
            self.watched = self.before.watched if self.before else None
            return
        if isinstance(answer, str):
            self.fault = answer
        else:
            self.watched = answer

    def registered(self, status: RegistryStatus | None, tasks: Sequence[str]) -> None:
        """Take who is champion, and what became of the models of the `tasks` that were registered; a silent registry
        changes nothing.
        """
        if status is None:
            self.champion = self.before.champion if self.before else ""
            return
        lines = []
        for name in (name for name in tasks if Task(name).description().dataset_task == self.owner):
            model = status.models[name]
            if model.here:
                lines.append(f"{model.name} version {model.here.version}: {model.here.decision}: {model.here.reason}")
        self.models = tuple(lines)
        champion = status.models[self.owner].champion
        self.champion = champion.version if champion else ""

    def write(self, root: Path, began: datetime, *, done: bool = False) -> None:
        """Keep what the next night, and the plan, need to know."""
        decision = self.decision
        record = NightRecord(
            night=f"{began:%Y-%m-%d %H:%M}",
            data=self.data,
            source=self.came,
            source_fault=self.source_fault,
            retrain=decision is not None and decision.retrain,
            reason=decision.reason if decision else "",
            done=done,
            champion=self.champion,
            watched=self.watched,
        )
        write_record(root, self.owner, record)
