"""The steps of a nightly run that work on one task at a time; each writes its answer as a JSON file into a folder.

    python -m stages.nightly refresh TASK … --answers FOLDER     check the sources, and pin what is new
    python -m stages.nightly watch TASK … --answers FOLDER       drift, scores, the last training
    python -m stages.nightly weights TASK … --answers FOLDER     pin what `train.start_from` refers to now
    python -m stages.nightly forecast TASK … --answers FOLDER    write the champion's forecasts to the forecast store
    python -m stages.nightly note TASK … --answers FOLDER        copy nights/TASK/ to the champion's version in MLflow

`flows.night` starts it. By hand, run `stages.refresh`, `stages.drift`, `stages.score` and `stages.forecast`: they print
more.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from .command import let_threads_sleep, one_line_errors
from .data.files import read_json, write_text
from .monitoring.retraining import Evidence
from .tasks.protocol import Task

if TYPE_CHECKING:
    from .params import TaskParams

Rows = list[dict[str, str]]  # a table, formatted

_SHOWN_FEATURES = 20
_SHOWN_SERIES = 4  # whose forecasts are shown
_ERROR = 1000  # characters

DRIFT_FOLDER, SCORES_FOLDER = "drift", "scores"  # below nights/TASK/

# Tags of a version: the verdicts of the last night that looked at it.
DRIFT, SCORES = "unroll.drift", "unroll.scores"


class Answer(BaseModel):
    """About one task; `fault` says in a line why there is no other answer."""

    fault: str = ""


class SourceNews(Answer):
    """What became of a source (`stages.refresh.Refreshed`)."""

    state: Literal["unchanged", "new", "away", "refused"]
    summary: str


class Watched(Answer):
    """What the champion gets and answers."""

    last_training: date | None  # None: there is no version
    drift: Literal["none", "warning", "drift", "unknown"] = "unknown"
    drift_summary: str = ""
    features: Rows = []  # of the data beside those the champion has learned from; what has changed most first
    scores: Literal["none", "alarm", "unknown"] = "unknown"
    scores_summary: str = ""

    def evidence(self, day: date) -> Evidence:
        """What a policy decides by on a day."""
        return Evidence(
            day=day,
            last_training=self.last_training,
            drift=self.drift,
            drift_summary=self.drift_summary,
            scores=self.scores,
            scores_summary=self.scores_summary,
        )


class Forecast(Answer):
    """What the champion has forecast."""

    summary: str
    rows: Rows = []  # of some series


def _refresh(task: Task, params: TaskParams) -> SourceNews:
    from .refresh import refresh_task

    found = refresh_task(task, params)
    return SourceNews(state=found.state, summary=found.summary)


def _watch(task: Task, params: TaskParams) -> Watched:
    """Drift and scores apart: where one of them cannot answer, there is still the other. Their tables and pictures lie
    in the night's folder, in place of those before.
    """
    from .registry.lineage import last_training
    from .tracking import mlflow_runs

    for folder in (DRIFT_FOLDER, SCORES_FOLDER):
        shutil.rmtree(task.paths.night / folder, ignore_errors=True)
    found = Watched(last_training=last_training(mlflow_runs.open_client(), task))
    if found.last_training is None:
        return found
    return found.model_copy(update=_drift(task, params) | _scores(task, params))


def _drift(task: Task, params: TaskParams) -> dict[str, Any]:
    from .drift import write
    from .monitoring.drift import drift_of

    try:
        found = drift_of(task, params)
        write(found, task.paths.night / DRIFT_FOLDER)
    except Exception as error:  # the night goes on without
        return {"drift_summary": _line(error)}
    rows = [
        {"feature": one.name, "before": one.before, "now": one.now, "distance": f"{one.effect:.2f}", "is": one.verdict}
        for one in found.features[:_SHOWN_FEATURES]
    ]
    summary = found.summary.removeprefix(f"{task.name}: ")
    return {"drift": found.verdict, "drift_summary": summary, "features": rows}


def _scores(task: Task, params: TaskParams) -> dict[str, Any]:
    if not task.has_forecasts:
        return {"scores_summary": f"scored only on labelled files: `python -m stages.score {task.name} FILE`"}
    from .monitoring.score_files import write
    from .score import score_task

    try:
        found = score_task(task, params)
        write(found, task.paths.night / SCORES_FOLDER)
    except Exception as error:  # the night goes on without
        return {"scores_summary": _line(error)}
    return {"scores": found.verdict, "scores_summary": found.summary}


def _weights(task: Task, params: TaskParams) -> Answer:
    from .registry.pin_weights import pin_weights

    print(pin_weights(task, params))
    return Answer()


def _forecast(task: Task, params: TaskParams) -> Forecast:
    from .monitoring.forecast_store import ForecastStore
    from .monitoring.forecasting import forecast_task

    found = forecast_task(task, params)
    monitor: Any = params.monitor
    store = ForecastStore(monitor.store, task.name)
    table = store.forecasts(date.fromisoformat(found.origin), found.version)
    assert table is not None  # it stands there since `forecast_task`
    write_text(task.paths.night / "forecasts.csv", table.to_csv(index=False, float_format="%.6g"))
    shown = table[table["unique_id"].isin(sorted(table["unique_id"].unique())[:_SHOWN_SERIES])]
    rows = [
        {
            "series": str(row["unique_id"]),
            "day": f"{row['ds']:%Y-%m-%d}",
            "mean": f"{row['mean']:.4g}",
            "5 % to 95 %": f"{row['q05']:.4g} to {row['q95']:.4g}",
        }
        for row in shown.to_dict("records")
    ]
    return Forecast(summary=found.summary, rows=rows)


def _note(task: Task, params: TaskParams) -> Answer:
    """Keep what the night leaves in files, and its verdicts as tags."""
    from .registry.champion import get_version
    from .registry.decision import CHAMPION
    from .registry.versions import CONTENT, folder
    from .tracking import mlflow_runs

    client, name = mlflow_runs.open_client(), task.description().model_name
    version = get_version(client, name, CHAMPION)
    client.log_artifacts(str(version.run_id), str(task.paths.night), f"{folder(version.tags[CONTENT])}/night")
    watched = read_json(task.paths.night_record)["watched"] or {}
    for tag, key in ((DRIFT, "drift"), (SCORES, "scores")):
        client.set_model_version_tag(name, str(version.version), tag, watched.get(key, "unknown"))
    return Answer()


def _line(error: Exception) -> str:
    from .tracking.store import store_error

    text = store_error(error) or next(iter(str(error).splitlines()), "") or type(error).__name__
    return text if len(text) <= _ERROR else f"{text[:_ERROR]}…"


_VERBS: dict[str, Callable[[Task, TaskParams], Answer]] = {
    "refresh": _refresh,
    "watch": _watch,
    "weights": _weights,
    "forecast": _forecast,
    "note": _note,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.nightly", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=_VERBS)
    parser.add_argument("tasks", nargs="+", choices=Task.names(), metavar="TASK")
    parser.add_argument("--answers", type=Path, required=True, metavar="FOLDER", help="folder for TASK.json")
    args = parser.parse_args()
    let_threads_sleep()
    with one_line_errors("unroll: nightly"):
        from .params import load

        params = load()
        for name in args.tasks:
            try:
                answer = _VERBS[args.verb](Task(name), params[name])
            except Exception as error:  # of this task; the others go on
                answer = Answer(fault=_line(error))
            write_text(args.answers / f"{name}.json", answer.model_dump_json())


if __name__ == "__main__":
    main()
