"""The train and evaluate stages on a snapshot, of which MLflow is told nothing. Started by `trainings` in its folder.

python -m flows.replay.train_snapshot TASK

Baselines that are fitted at every origin are left out, since they take longer than the training.
"""

from __future__ import annotations

import argparse

from stages.command import let_threads_sleep, one_line_errors
from stages.stopping import end_with_parent

QUICK_BASELINES = ("naive", "seasonal_naive", "ridge")


def main() -> None:
    """Train; asked to stop, end with status 75 once the state is saved."""
    parser = argparse.ArgumentParser(prog="python -m flows.replay.train_snapshot", description=__doc__)
    parser.add_argument("task")
    end_with_parent()
    let_threads_sleep()
    name = parser.parse_args().task
    with one_line_errors(f"unroll: train {name}"):
        from stages.evaluate import evaluate
        from stages.params import load
        from stages.tasks.protocol import Task
        from stages.train import train

        task, params = Task(name), load()[name]
        train(task, params, tracked=False)
        asked: list[str] = params.evaluate.baselines  # type: ignore[attr-defined]  # of this task
        quick = [baseline for baseline in asked if baseline in QUICK_BASELINES] or ["seasonal_naive"]
        evaluate(task, params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"baselines": quick})}))


if __name__ == "__main__":
    main()
