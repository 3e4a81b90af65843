"""How good a champion's answers are today, beside what its evaluation had found.

    python -m stages.score forecast            the forecasts in the store, as far as the newest data has come
    python -m stages.score sketch FILE         a file that `predict` reads and that says what is right

Prints a line, and leaves `scores/TASK/score.json` with the verdict, none or alarm, tables and a picture there. The
exit status is 0 for either verdict.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .command import let_threads_sleep, one_line_errors
from .tasks.protocol import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion

    from .monitoring.evaluations import Evaluation
    from .monitoring.scoring import Scored
    from .params import TaskParams


def score_task(task: Task, params: TaskParams) -> Scored:
    """Score the stored forecasts of a task by what the newest prepared data says of the days that have come.

    Writes nothing. Raises ValueError for a task without forecasts, OSError where the store or the data is away.
    """
    from .monitoring.evaluations import evaluations
    from .monitoring.forecast_store import ForecastStore
    from .monitoring.scoring import compare, references
    from .tracking import mlflow_runs

    if not task.has_forecasts:
        raise ValueError(f"{task.name} has no forecasts to score; name a file: {task.labelled().LABELS}")
    monitor: Any = params.monitor
    store = ForecastStore(monitor.store, task.name)
    stored = store.read()
    notes = (
        [f"{store.shown}: {len(stored.skipped):,} files passed over, such as {stored.skipped[0]}"]
        if stored.skipped
        else []
    )
    if not len(stored.rows):
        raise ValueError(
            f"{store.shown}: no forecasts yet; first run `python -m stages.forecast {task.name}`, and score once a day "
            f"that it forecasts has come and is prepared (`dvc repro preprocess@{task.name}`)"
        )
    versions = sorted(set(stored.rows["version"].tolist()))
    known = evaluations(mlflow_runs.open_client(), task.description().model_name, versions)
    lost = [version for version in versions if version not in known or known[version].predictions is None]
    if lost:
        which = ", ".join(map(str, lost[:5]))
        notes.append(
            f"of {len(lost):,} of {len(versions):,} versions ({which}) no test days are known: ideal ones stand in"
        )
    actuals = task.forecasts().actuals(task.paths.prepared, stored.rows["ds"].min().date())
    newest = known.get(versions[-1])
    scored = compare(
        stored.rows,
        actuals,
        references({version: evaluation.predictions for version, evaluation in known.items()}),
        monitor.alarm,
        newest.metrics if newest else None,
    )
    return _with_notes(scored, notes)


def score_labelled(task: Task, params: TaskParams, source: str, *, encoding: str = "auto") -> Scored:
    """Have the champion answer a file that says what is right, and compare with its evaluation. Writes nothing.

    Raises ValueError or OSError where that cannot be done; the message is for a person.
    """
    from .evaluation.report import headline_metric
    from .monitoring.labelled import judge
    from .predict import answered_chunks, chunks
    from .progress_bar import ProgressBar

    if task.has_forecasts:
        raise ValueError(f"{task.name} is scored by what has come true of its forecasts; allowed: no file")
    module, reader = task.labelled(), task.rows()
    version, evaluation = _champion(task)
    answers: list[dict[str, Any]] = []
    targets: list[str] = []
    read = 0

    def with_targets() -> Iterator[list[dict[str, Any]]]:
        nonlocal read
        for rows in chunks(reader, source, encoding):
            read += len(rows)
            if known := [row for row in rows if row.get("target") not in (None, "")]:
                yield known

    address = f"models:/{version.name}/{version.version}"
    with ProgressBar("score", unit="rows") as bar:
        for rows, answered in answered_chunks(address, reader.KEY, with_targets(), {}):
            targets += [str(row["target"]) for row in rows]
            answers += answered
            bar.update(len(rows))
    without = read - len(targets)
    if not targets:
        raise ValueError(f"{source}: no row of {without:,} says what is right; allowed: {module.LABELS}")
    failed = [str(answer["error"]) for answer in answers if answer.get("error") is not None]
    notes = [f"{without:,} rows that do not say what is right are left out"] if without else []
    if failed:
        notes.append(f"{len(failed):,} rows could not be answered and count as wrong, such as: {failed[0]}")
    metric = headline_metric(evaluation.metrics, task.description())
    return judge(metric, module.scores(targets, answers, params, metric), evaluation.metrics, targets, notes)


def _champion(task: Task) -> tuple[ModelVersion, Evaluation]:
    from .monitoring.evaluations import evaluation_of
    from .monitoring.watched import open_champion

    client, version = open_champion(task)
    evaluation = evaluation_of(client, version)
    if evaluation is None:
        raise ValueError(
            f"{version.name} version {version.version}: its metrics are gone from the registry: nothing to compare with"
        )
    return version, evaluation


def _with_notes(scored: Scored, notes: list[str]) -> Scored:
    from dataclasses import replace

    return replace(scored, notes=(*scored.notes, *notes))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument("file", nargs="?", metavar="FILE", help="not for a task that forecasts")
    parser.add_argument("--encoding", default="auto", metavar="NAME", help="of FILE, such as cp1252; else UTF-8")
    args = parser.parse_args()
    let_threads_sleep()
    task = Task(args.task)
    with one_line_errors(f"unroll: score {task.name}"):
        from .monitoring.score_files import FOLDER, write
        from .params import load

        params = load()[task.name]
        if args.file is None:
            scored = score_task(task, params)
        else:
            scored = score_labelled(task, params, args.file, encoding=args.encoding)
        write(scored, FOLDER / task.name)
        for note in scored.notes:
            print(f"{task.name}: {note}")
        print(f"{task.name}: {scored.verdict}: {scored.summary}; see {FOLDER / task.name}")
        if scored.verdict == "alarm":
            print(f"{task.name}: what to do at an alarm stands in docs/living.md")


if __name__ == "__main__":
    main()
