"""Compare how good a champion's answers are now with its evaluation.

    python -m stages.score forecast            the stored forecasts, up to the end of the newest data
    python -m stages.score sketch FILE         a file that `predict` reads, with the right answers in it

Prints one line, and writes `scores/TASK/score.json` with the verdict, `none` or `alarm`, tables and a picture.
The exit status is 0 for either verdict.
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
        [f"{store.shown}: {len(stored.skipped):,} files skipped, such as {stored.skipped[0]}"] if stored.skipped else []
    )
    if not len(stored.rows):
        raise ValueError(
            f"{store.shown}: no forecasts yet; first run `python -m stages.forecast {task.name}`, and score when a day "
            f"that it forecasts has come and is prepared (`dvc repro preprocess@{task.name}`)"
        )
    versions = sorted(set(stored.rows["version"].tolist()))
    known = evaluations(mlflow_runs.open_client(), task.description().model_name, versions)
    lost = [version for version in versions if version not in known or known[version].predictions is None]
    if lost:
        which = ", ".join(map(str, lost[:5]))
        notes.append(
            f"no test days are known for {len(lost):,} of {len(versions):,} versions ({which}); ideal ones are used"
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
        raise ValueError(f"{task.name} is scored on its stored forecasts; found a file; allowed: none")
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
        raise ValueError(f"{source}: none of {without:,} rows has a right answer; allowed: {module.LABELS}")
    failed = [str(answer["error"]) for answer in answers if answer.get("error") is not None]
    notes = [f"{without:,} rows without a right answer are left out"] if without else []
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
            f"{version.name} version {version.version}: the registry has lost its metrics: nothing to compare with"
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
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="file with right answers; not for a task that forecasts"
    )
    parser.add_argument(
        "--encoding", default="auto", metavar="NAME", help="encoding of FILE, such as cp1252; default: UTF-8"
    )
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
        verdict = "no alarm" if scored.verdict == "none" else scored.verdict
        print(f"{task.name}: {verdict}: {scored.summary}; see {FOLDER / task.name}")
        if scored.verdict == "alarm":
            print(f"{task.name}: docs/living.md describes what to do after an alarm")


if __name__ == "__main__":
    main()
