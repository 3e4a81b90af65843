"""A night, in this order: refresh, plan, new data, drift and scores, decision, training and gate, forecasts, report,
commit.

One night at a time in a checkout: a second one waits, and then finds its work done. What is done stands in dvc.lock, in
the registry, in the forecast store, and what was decided in `nights/TASK/night.json`; so the next night goes on with
what one was cut short in.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from stages.monitoring.retraining import Retraining, decide
from stages.nightly import SourceNews
from stages.params import load
from stages.paths import project_root
from stages.tasks.protocol import Task

from ..compat import open_repo
from ..dag import Pipeline, PlannedStage
from ..execution.locks import StoppedError, locked
from ..execution.placement import placement
from ..execution.stage import Checkout
from ..execution.stage_runs import StageRuns
from ..execution.states import summary
from ..hold_back import data_of, held_back, hold_back, tasks_waiting, unfinished
from ..record import read_record
from ..reports.tables import plan_table
from . import report
from .commit import CommitRefused, check_committable, commit_night
from .questions import Questions
from .task_night import TaskNight

if TYPE_CHECKING:
    from ..options import PipelineOptions
    from ..reports.report import Reporter

_OF_DATA = ("download", "preprocess")


def night(options: PipelineOptions, reporter: Reporter, stop: threading.Event) -> State[Any]:
    """Run a night in the present folder, inside a flow."""
    log = get_run_logger()
    file = project_root() / ".dvc" / "tmp" / "flows" / "night.lock"
    try:
        with locked(
            file, stop=stop, on_wait=lambda: log.info("waiting for another nightly run in this checkout")
        ) as held:
            questions = Questions(Path(), stop=stop, descriptors=(held,), on_line=log.info)
            return _Night(options, reporter, questions, stop).run()
    except StoppedError as error:
        return Cancelled(message=str(error))


class _Night:
    def __init__(
        self, options: PipelineOptions, reporter: Reporter, questions: Questions, stop: threading.Event
    ) -> None:
        self._root = Path().resolve()
        self._options = options
        self._reporter = reporter
        self._ask = questions
        self._log = get_run_logger()
        self._began = datetime.now(UTC)
        self._params = load()
        self._trains = options.up_to not in _OF_DATA
        self._nights = self._refreshed()
        self._checkout = Checkout(self._root, stop=stop)  # with the pins as they are now
        self._runs = StageRuns(self._checkout, force=options.force, parallel=options.parallel)
        # As things are; None once a stage has run, or something else may have changed them.
        self._pipeline: Pipeline | None = self._checkout.pipeline
        self._plan: tuple[PlannedStage, ...] | None = None

    def run(self) -> State[Any]:
        refused = self._refused()
        self._run(self._first_plan())
        self._go_on()
        self._watch()
        held = self._run_models()
        self._go_on()
        self._forecast()
        return self._end(held, refused)

    def _go_on(self) -> None:
        if self._checkout.stop.is_set():
            raise StoppedError("stopped; the next nightly run continues where this one stopped")

    def _refreshed(self) -> list[TaskNight]:
        """Ask the sources; one whose host is away keeps its pin, and the night goes on with the data there are."""
        owners = list(dict.fromkeys(Task(name).description().dataset_task for name in self._options.tasks))
        nights = []
        for owner, answer in self._ask.refresh(owners).items():
            news = SourceNews(state="refused", summary=answer) if isinstance(answer, str) else answer
            one = TaskNight(owner=owner, news=news, before=read_record(self._root, owner))
            if one.source_fault:
                self._log.warning("%s: %s", owner, one.source_fault)
            nights.append(one)
        return nights

    def _refused(self) -> str:
        """Why the night will not be committed, said at once: its end may be hours away."""
        if self._options.commit:
            try:
                check_committable(self._root)
            except CommitRefused as error:
                self._log.warning("%s; the nightly run continues without it", error)
                return str(error)
        return ""

    def _first_plan(self) -> list[PlannedStage]:
        """Show the plan as far as it is known now; returns what fetches and prepares."""
        plan = self._planned(force=self._options.force)
        if not self._options.force:
            held = held_back(self._latest(), self._params, self._began.date(), unfinished(plan))
            plan = hold_back(plan, held)
        plan = placement(self._checkout, plan, self._options)
        self._reporter.expect(plan)
        create_markdown_artifact(plan_table(plan), key="plan", description="Which stages run, where and why")
        return [stage for stage in plan if stage.name.partition("@")[0] in _OF_DATA]

    def _run(self, plan: Sequence[PlannedStage]) -> None:
        """Run the stages of a plan; what is known of the checkout holds on where they found nothing to do."""
        known = len(self._runs.states)
        self._runs.run(plan)
        if any(state.name != "Cached" for state in list(self._runs.states.values())[known:]):
            self._pipeline = self._plan = None

    def _latest(self) -> Pipeline:
        """The graph with dvc.lock as it is now."""
        self._pipeline = self._pipeline or Pipeline(self._root)
        return self._pipeline

    def _planned(self, *, force: bool = False) -> tuple[PlannedStage, ...]:
        """The plan as things are now, whatever is held back."""
        if force:
            return self._latest().plan(self._options.targets(), force=True)
        self._plan = self._plan or self._latest().plan(self._options.targets())
        return self._plan

    def _watch(self) -> None:
        """Look at drift and scores where there is anything new to look at, and decide where models wait."""
        pipeline, plan = self._latest(), self._planned()
        tasks = {stage.name.partition("@")[2] for stage in plan}
        waiting = tasks_waiting(pipeline, unfinished(plan) if self._trains else tasks)
        for one in self._nights:
            one.data = data_of(pipeline, one.owner)
            one.edited = next((stage for stage in plan if self._is_edited(stage, one.owner, waiting)), None)
            one.waiting = tuple(name for name in waiting if Task(name).description().dataset_task == one.owner)
            one.failed = not self._is_done(one.stages(self._runs.states))
        looked_at = [one for one in self._nights if not one.failed and (one.waiting or one.has_news)]
        answers = self._ask.watch([one.owner for one in looked_at if one.has_news])
        for one in looked_at:
            one.hear(answers.get(one.owner))
            if one.waiting and self._trains:
                one.decision = self._decide(one)
            if one.is_told:
                one.write(self._root, self._began)
        create_markdown_artifact(report.decisions(self._nights), key="decision", description="What trains and why")
        for one in self._nights:
            if one in looked_at or one.news.state != "unchanged":
                report.emit(one)

    def _is_edited(self, stage: PlannedStage, owner: str, waiting: Sequence[str]) -> bool:
        """Whether a model's stage runs, and for another reason than new data alone."""
        verb, _, task = stage.name.partition("@")
        mine = verb not in _OF_DATA and Task(task).description().dataset_task == owner
        return mine and task not in waiting and stage.verdict in ("run", "restore")

    def _decide(self, one: TaskNight) -> Retraining:
        if self._options.force:
            return Retraining(True, "requested with force")
        before, watched, monitor = one.before, one.watched, self._params[one.owner].monitor
        if before and before.is_cut_short and before.data == one.data:
            one.goes_on = before.night
            return Retraining(True, before.reason)
        if watched is None:
            return Retraining(False, f"{monitor.retrain}: the champion could not be checked: {one.fault}")
        return decide(monitor, watched.evidence(self._began.date()))

    def _pin_weights(self) -> None:
        """Have what trains again begin with the newest weights that its params name: an alias may have moved."""
        names = [name for one in self._nights for name in one.waiting if one.decision and one.decision.retrain]
        starting = [name for name in names if self._params[name].train.start_from]
        if starting:
            self._plan = None
        for name, fault in self._ask.weights(starting).items():
            if isinstance(fault, str):
                self._log.warning("%s: training starts from the weights pinned earlier: %s", name, fault)

    def _run_models(self) -> list[PlannedStage]:
        """Run what must run and is not held back; returns what is."""
        self._pin_weights()
        reasons = {name: one.held_back for one in self._nights for name in one.waiting if one.held_back}
        plan = hold_back(self._planned(force=self._options.force), reasons)
        plan = placement(self._checkout, plan, self._options)
        self._run([stage for stage in plan if stage.verdict != "held"])
        return [stage for stage in plan if stage.verdict == "held"]

    def _forecast(self) -> None:
        """Let the registry and the gate have the last word on the champion, then ask it."""
        status = self._reporter.finish(self._runs.states)
        for one in self._nights:
            one.registered(status, [name for name in self._options.tasks if self._was_registered(name)])
        asked = [one for one in self._nights if Task(one.owner).has_forecasts and not one.failed and one.asks_forecasts]
        for owner, answer in self._ask.forecast([one.owner for one in asked]).items():
            one = next(one for one in asked if one.owner == owner)
            one.forecast = answer
            if isinstance(answer, str):
                self._log.warning("%s: no forecasts: %s", owner, answer)

    def _end(self, held: list[PlannedStage], refused: str) -> State[Any]:
        """Show and keep what became of it."""
        states = self._runs.states
        told = [one for one in self._nights if one.is_told]
        for one in told:
            if one.watched is None and not one.fault:
                one.hear(None)  # tonight only its source was looked at
            report.show(self._root, one)
        noted = self._ask.note([one.owner for one in told if one.champion])
        for owner, fault in noted.items():
            if isinstance(fault, str):
                self._log.warning("%s: the report could not be sent to MLflow: %s", owner, fault)
        for one in told:
            done = self._is_done(one.stages(states)) and not isinstance(one.forecast, str)
            one.write(self._root, self._began, done=done)
        state = summary(states)
        lines = [str(state.message), *([f"{len(held)} held back by monitor.retrain"] if held else [])]
        lines += [line for one in self._nights for line in report.lines(one)]
        if self._options.commit and not refused and state.is_completed():
            try:
                lines.append(self._commit(lines))
            except CommitRefused as error:
                refused = str(error)
        message = "\n\n".join([*lines, *([refused] if refused else [])])
        return Failed(message=message) if refused else state.model_copy(update={"message": message})

    def _commit(self, lines: list[str]) -> str:
        with open_repo(self._root).lock:  # DVC writes dvc.lock in place
            commit = commit_night(self._root, report.commit_message(self._began, self._nights, lines))
        return f"committed as {commit[:12]} on unroll/nightly" if commit else "nothing new to commit"

    def _was_registered(self, task: str) -> bool:
        state = self._runs.states.get(f"register@{task}")
        return state is not None and state.is_completed() and state.name != "Cached"

    def _is_done(self, names: Sequence[str]) -> bool:
        return all(self._runs.states[name].is_completed() for name in names)
