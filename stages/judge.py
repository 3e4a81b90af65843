"""Train the network that judges what another network makes of a task's data.

python -m stages.judge TASK         reads  data/TASK/prepared/, params.yaml: TASK.judge
                                    writes weights/judge/TASK/

It is stopped and resumed in the same way as `stages.train`. Nothing is logged to MLflow: the network is used to measure
others and is never served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import main
from .data.files import fresh_folder

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task
    from .training.progress import Epoch


def judge(task: Task, params: TaskParams) -> None:
    """Train a task's judge and keep its best epoch. Raises ValueError for a task that has none."""
    from .training import launch

    judged = task.judge().judging(params)
    launch.run("judge", task.name, judged.train.ranks, _judge, task, judged)


def _judge(task: Task, params: TaskParams) -> None:
    from .data.prepared import open_prepared
    from .models.weights import save_network
    from .provenance.hashes import training_signature
    from .training import distributed, inference, launch, learning_curve, loop
    from .training.checkpoint import Checkpoints

    paths, model, settings = task.paths, task.model(), params.train
    _, description = open_prepared(paths.prepared)
    distributed.configure(seed=settings.seed, threads=settings.threads)
    network = model.build(params.model, description)
    network.load_pretrained(paths.prepared)
    device = distributed.device().type
    signature = distributed.broadcast(
        training_signature(paths, params.model.model_dump(), settings.model_dump(), device)
    )
    checkpoints = Checkpoints.of(paths.resume(signature))
    train = model.dataset(paths.prepared, "train", params, augment=True)
    validation = model.dataset(paths.prepared, "validation", params, augment=False)

    def on_epoch(record: Epoch) -> None:
        if distributed.rank() == 0:
            print(f"judge {learning_curve.line(record)}", flush=True)

    with launch.stoppable("judge", task.name, checkpoints.folder) as stop_requested:
        history = loop.fit(
            network,
            train,
            validation,
            settings,
            checkpoints=checkpoints,
            stop_requested=stop_requested,
            on_epoch=on_epoch,
        )
    network.calibrate(lambda function: inference.predict(network, validation, settings.batch_size, function))
    network.cpu()
    if distributed.rank() != 0:
        return
    training = {
        "signature": signature,
        "seed": settings.seed,
        "threads": settings.threads,
        "best_epoch": history.best_epoch,
        "epochs": len(history.epochs),
    }
    with fresh_folder(paths.judge) as folder:
        save_network(folder, network, params.model, description, prepared=paths.prepared, training=training)
    checkpoints.remove()


if __name__ == "__main__":
    main("judge", __doc__, judge)
