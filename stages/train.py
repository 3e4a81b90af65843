"""Train a task's network.

python -m stages.train TASK         reads  data/TASK/prepared/, params.yaml: TASK.model, TASK.train
                                    writes weights/TASK/, plots/TASK/training.csv, plots/TASK/steps.csv, a run in MLflow

A training that was stopped, whether asked to or killed, goes on from its newest state in .resume/ when it is started
again. Asked to stop (SIGTERM, Ctrl-C), it saves its state and ends with status 75.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .command import main
from .data.files import fresh_folder

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


def train(task: Task, params: TaskParams) -> None:
    """Train a task's network from fresh weights, or from where it was stopped, and keep those of its best epoch."""
    from .training import launch

    launch.run("train", task.name, params.train.ranks, _train, task, params)


def _train(task: Task, params: TaskParams) -> None:
    from .data.prepared import open_prepared
    from .models.weights import parameters, save_network
    from .provenance.hashes import training_signature
    from .stopping import stop_signals
    from .tracking import training_run
    from .training import debug_modes, distributed, learning_curve, loop
    from .training.checkpoint import Checkpoints

    paths = task.paths
    loop.configure(seed=params.train.seed, threads=params.train.threads)
    _, description = open_prepared(paths.prepared)
    model = task.model()
    network = model.build(params.model, description)
    network.start_from(paths.prepared)
    signature = distributed.from_rank_0(
        training_signature(paths, params.model.model_dump(), params.train.model_dump(), distributed.device().type)
    )
    checkpoints = Checkpoints.of(paths.resume(signature))
    train, validation, train_params = debug_modes.applied(
        network,
        model.dataset(paths.prepared, "train", params, augment=True),
        model.dataset(paths.prepared, "validation", params, augment=False),
        params.train,
    )
    resumed = checkpoints.steps()
    if resumed is not None and distributed.rank() == 0:
        print(f"train {task.name}: going on after step {resumed}, from {checkpoints.folder}", flush=True)
    with ExitStack() as stack:
        run: training_run.TrainingRun | None = None
        if distributed.rank() == 0:  # the others have nothing to tell that it does not know
            count = parameters(network)
            telling = training_run.training_run(task, params, signature, parameters=count, resumed_step=resumed)
            run = stack.enter_context(telling)

        def on_epoch(record: loop.Epoch) -> None:
            if run is not None:
                run.epoch(record)
                print(learning_curve.line(record), flush=True)

        def on_stretch(stretch: loop.Stretch) -> None:
            if run is not None:
                values = learning_curve.stretch_row(stretch)
                run.metrics({f"step_{name}": value for name, value in values.items() if name != "step"}, stretch.step)

        try:
            fit = loop.fit(
                network,
                train,
                validation,
                train_params,
                checkpoints=checkpoints,
                stop_asked=stack.enter_context(stop_signals()),
                on_epoch=on_epoch,
                on_stretch=on_stretch,
            )
        except loop.Stopped:
            if distributed.rank() == 0:
                print(f"unroll: train {task.name}: stopped; the next start goes on from {checkpoints.folder}")
            sys.exit(distributed.PREEMPTED)
    network.settle(lambda answer: loop.predict(network, validation, params.train.batch_size, answer))
    if distributed.rank() != 0:
        return
    training = {
        "signature": signature,
        "mode": params.train.mode,
        "seed": params.train.seed,
        "threads": params.train.threads,
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.epochs),
    }
    with fresh_folder(paths.weights) as folder:
        save_network(folder, network, params.model, description, prepared=paths.prepared, training=training)
    learning_curve.write(paths.learning_curve, [learning_curve.row(record) for record in fit.epochs])
    learning_curve.write(paths.steps, [learning_curve.stretch_row(stretch) for stretch in fit.stretches])
    checkpoints.remove()


if __name__ == "__main__":
    main("train", __doc__, train)
