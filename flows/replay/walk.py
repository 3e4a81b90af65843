"""The days of decision in their order, for all policies side by side.

On each day a policy first learns what has come since the one before, then decides whether to train, lets the gate say
who becomes champion, and has the champion forecast. All it sees is the day's snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

from stages.progress_bar import track
from stages.tasks.forecast.data.series import calendar_date

from .policies import Policy, reason_to_train
from .snapshot import Snapshot
from .trainings import Training

if TYPE_CHECKING:
    import pandas as pd

    from stages.registry.decision import Verdict

KEY = ["unique_id", "ds"]
BASELINE = "seasonal_naive"  # beside the policies: last week's values, which nothing must be trained for


class Model(Protocol):
    """A network as its users ask it: `serving.predictor.Predictor`."""

    def predict(self, frame: pd.DataFrame, *, on_error: str) -> pd.DataFrame: ...


class Judge(Protocol):
    """Who becomes champion."""

    def __call__(self, snapshot: Snapshot, candidate: Training, champion: Training | None) -> Verdict: ...


class Watch(Protocol):
    """What notices that a policy's forecasts have become worse."""

    def __call__(self, scored: pd.DataFrame) -> str:
        """Why the forecasts of days that have come, with `y`, raise an alarm; empty where they do not."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy did on a day."""

    policy: Policy
    day: date
    alarm: str  # raised by what has come since the day before; empty where there is none
    reason: str  # to train; empty where it did not
    verdict: str  # the gate's; empty where nothing was trained
    said: str  # its reason, for people
    champion: date  # of the data that the champion was trained on
    seconds: float  # that the training took, whichever policy was first to need it


@dataclass
class Course:
    """A policy on its way."""

    policy: Policy
    watch: Watch
    origins: dict[str, pd.Timestamp] = field(default_factory=dict)  # by series, the first day of its newest forecast
    champion: Training | None = None
    last: date | None = None  # training
    alarm: str = ""  # the newest since then
    waiting: list[pd.DataFrame] = field(default_factory=list)  # forecasts whose days have not all come


@dataclass
class Walk:
    """What is needed to decide; `run` decides."""

    snapshots: Callable[[int], Snapshot]
    trainings: Callable[[int], Training]
    models: Callable[[Training], Model]
    judge: Judge
    watch: Callable[[], Watch]
    pause_days: int
    decisions: list[Decision] = field(default_factory=list)
    forecasts: list[pd.DataFrame] = field(default_factory=list)  # KEY, mean, quantiles, origin, version, policy, day
    came: list[pd.DataFrame] = field(default_factory=list)  # KEY, y
    unanswered: dict[str, str] = field(default_factory=dict)  # series that no forecast was given for → the first reason

    def run(self, policies: Sequence[Policy], days: Sequence[int], last_day: int) -> None:
        """Decide on all days, and look at what came up to `last_day` for the sake of the last forecasts."""
        courses = [Course(policy, self.watch()) for policy in policies]
        baseline: dict[str, pd.Timestamp] = {}
        before: int | None = None
        for day in track(days, "replay: decide", unit="days"):
            snapshot = self.snapshots(day)
            if before is not None:
                self.came.append(snapshot.came(before))
            question, rejected = snapshot.question()
            for name in sorted(rejected):
                self.unanswered.setdefault(name, f"{calendar_date(day)}: preprocess rejects it")
            answers: dict[str, pd.DataFrame] = {}
            for course in courses:
                alarm = self._alarm(course, day)
                course.alarm = alarm or course.alarm
                self.decisions.append(self._decide(course, snapshot, alarm))
                answer = self._ask(course, day, question, answers)
                course.waiting.append(self._new(answer, course.origins, course.policy, day))
            self._new(snapshot.last_week(), baseline, BASELINE, day)
            before = day
        if before is not None and last_day > before:
            self.came.append(self.snapshots(last_day).came(before))

    def _alarm(self, course: Course, day: int) -> str:
        """What the watch says of the forecasts whose days have come since it was asked last."""
        import pandas as pd

        if not course.waiting:
            return ""
        waiting = pd.concat(course.waiting, ignore_index=True)
        scored = waiting.merge(self.came[-1], on=KEY)
        course.waiting = [waiting[waiting["ds"] > pd.Timestamp(calendar_date(day))]]
        return course.watch(scored) if len(scored) else ""

    def _decide(self, course: Course, snapshot: Snapshot, alarm: str) -> Decision:
        from stages.registry.decision import Decision as State

        day = calendar_date(snapshot.day)
        reason = reason_to_train(course.policy, day, course.last, alarm=course.alarm, pause_days=self.pause_days)
        state, said, seconds = "", "", 0.0
        if reason:
            candidate = self.trainings(snapshot.day)
            verdict = self.judge(snapshot, candidate, course.champion)
            state, said, seconds = verdict.decision.value, verdict.reason, candidate.seconds
            if course.champion is None or verdict.decision is State.CHAMPION:  # there must be one to forecast
                course.champion = candidate
            course.last, course.alarm = day, ""
        assert course.champion is not None
        champion = calendar_date(course.champion.day)
        return Decision(course.policy, day, alarm, reason, state, said, champion, seconds)

    def _ask(self, course: Course, day: int, question: pd.DataFrame, answers: dict[str, pd.DataFrame]) -> pd.DataFrame:
        """The champion's answers, with `version`; policies with the same champion ask it once."""
        champion = course.champion
        assert champion is not None
        if champion.signature not in answers:
            answer = self.models(champion).predict(question, on_error="report")
            bad = answer["error"].notna()
            for name, reason in answer.loc[bad, ["unique_id", "error"]].itertuples(index=False):
                self.unanswered.setdefault(str(name), f"{calendar_date(day)}: {reason}")
            answer = answer[~bad].drop(columns="error").astype({"unique_id": str})
            answers[champion.signature] = answer.assign(version=champion.day)
        return answers[champion.signature]

    def _new(self, answer: pd.DataFrame, origins: dict[str, pd.Timestamp], policy: str, day: int) -> pd.DataFrame:
        """Note forecasts, with `origin`, their first day. Without a new day a series has no new forecast."""
        import pandas as pd

        origin = answer.groupby("unique_id")["ds"].transform("min")
        known = pd.to_datetime(answer["unique_id"].map(origins))  # NaT, which is not later, where there is none
        new = answer.assign(origin=origin)[~(origin <= known)]
        origins |= dict(zip(new["unique_id"], new["origin"], strict=True))
        self.forecasts.append(new.assign(policy=policy, day=pd.Timestamp(calendar_date(day))))
        return new
