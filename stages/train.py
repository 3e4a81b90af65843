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
from .stopping import STATUS

if TYPE_CHECKING:
    from .models.batch import Dataset
    from .models.network import Network
    from .params import TaskParams, TrainParams
    from .tasks.protocol import Task
    from .training.checkpoint import Checkpoints
    from .training.progress import Epoch, StepRecord, TrainingHistory


def train(task: Task, params: TaskParams) -> None:
    """Train a task's network from fresh weights, or from where it was stopped, and keep those of its best epoch."""
    from .training import launch

    launch.run("train", task.name, params.train.ranks, _train, task, params)


def _train(task: Task, params: TaskParams) -> None:
    from .data.prepared import open_prepared
    from .models.weights import save_network
    from .provenance.hashes import training_signature
    from .training import debug_modes, distributed, inference, learning_curve
    from .training.checkpoint import Checkpoints

    paths = task.paths
    distributed.configure(seed=params.train.seed, threads=params.train.threads)
    _, description = open_prepared(paths.prepared)
    model = task.model()
    network = model.build(params.model, description)
    network.load_pretrained(paths.prepared)
    signature = distributed.broadcast(
        training_signature(paths, params.model.model_dump(), params.train.model_dump(), distributed.device().type)
    )
    checkpoints = Checkpoints.of(paths.resume(signature))
    train, validation, train_params = debug_modes.apply_mode(
        network,
        model.dataset(paths.prepared, "train", params, augment=True),
        model.dataset(paths.prepared, "validation", params, augment=False),
        params.train,
    )
    history = _fit(task, params, signature, network, train, validation, train_params, checkpoints)
    network.calibrate(lambda function: inference.predict(network, validation, params.train.batch_size, function))
    if distributed.rank() != 0:
        return
    training = {
        "signature": signature,
        "mode": params.train.mode,
        "seed": params.train.seed,
        "threads": params.train.threads,
        "best_epoch": history.best_epoch,
        "epochs": len(history.epochs),
    }
    with fresh_folder(paths.weights) as folder:
        save_network(folder, network, params.model, description, prepared=paths.prepared, training=training)
        model.learned(paths.prepared).save(folder)
    learning_curve.write(paths.learning_curve, [learning_curve.epoch_row(record) for record in history.epochs])
    learning_curve.write(paths.steps, [learning_curve.step_row(record) for record in history.step_records])
    checkpoints.remove()


def _fit(
    task: Task,
    params: TaskParams,
    signature: str,
    network: Network,
    train: Dataset,
    validation: Dataset,
    train_params: TrainParams,
    checkpoints: Checkpoints,
) -> TrainingHistory:
    """Train, tell the tracking and the terminal of every epoch, and exit with STATUS where it was stopped."""
    from .models.weights import parameters
    from .stopping import stop_signals
    from .tracking import training_run
    from .training import distributed, learning_curve, loop

    resumed = checkpoints.steps() if distributed.rank() == 0 else None
    with ExitStack() as stack:
        run: training_run.TrainingRun | None = None
        if distributed.rank() == 0:  # the others know nothing that it does not
            if resumed is not None:
                print(f"train {task.name}: going on after step {resumed}, from {checkpoints.folder}", flush=True)
            count = parameters(network)
            run = stack.enter_context(
                training_run.training_run(task, params, signature, parameters=count, resumed_step=resumed)
            )

        def on_epoch(record: Epoch) -> None:
            if run is not None:
                run.epoch(record)
                print(learning_curve.line(record), flush=True)

        def on_step_record(record: StepRecord) -> None:
            if run is not None:
                row = learning_curve.step_row(record)
                run.metrics({f"step_{name}": value for name, value in row.items() if name != "step"}, record.step)

        try:
            return loop.fit(
                network,
                train,
                validation,
                train_params,
                checkpoints=checkpoints,
                stop_requested=stack.enter_context(stop_signals()),
                on_epoch=on_epoch,
                on_step_record=on_step_record,
            )
        except loop.Stopped:
            if distributed.rank() == 0:
                print(f"unroll: train {task.name}: stopped; the next start goes on from {checkpoints.folder}")
            sys.exit(STATUS)


if __name__ == "__main__":
    main("train", __doc__, train)
