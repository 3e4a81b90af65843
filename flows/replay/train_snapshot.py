"""The train and evaluate stages on a snapshot, without a run in MLflow. `trainings` starts it in the snapshot's folder.

python -m flows.replay.train_snapshot TASK

Only the baselines of `register.must_beat` are measured, except those that are fitted at every origin: these take longer
than the training.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stages.command import let_threads_sleep, one_line_errors
from stages.stopping import end_with_parent

if TYPE_CHECKING:
    from stages.params import TaskParams

QUICK_BASELINES = ("naive", "seasonal_naive", "ridge", "lightgbm")


def with_quick_baselines(params: TaskParams) -> TaskParams:
    """Params that measure the quick ones of `register.must_beat`, or seasonal_naive, and ask to beat these."""
    quick = [name for name in params.register_.must_beat if name in QUICK_BASELINES] or ["seasonal_naive"]
    evaluate = params.evaluate.model_copy(update={"baselines": quick})
    return params.model_copy(
        update={"evaluate": evaluate, "register_": params.register_.model_copy(update={"must_beat": quick})}
    )


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
        evaluate(task, with_quick_baselines(params))


if __name__ == "__main__":
    main()
