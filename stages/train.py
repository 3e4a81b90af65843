"""Train a task's network.

python -m stages.train TASK         reads  data/TASK/prepared/, params.yaml: TASK.model, TASK.train
                                    writes weights/TASK/, plots/TASK/training.csv, a run in MLflow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import fresh_folder, main
from .paths import Paths

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks import Task


def train(task: Task, params: TaskParams) -> None:
    """Train a task's network from fresh weights and keep those of its best epoch."""
    from . import engine, learning_curve, tracking
    from .preparation import open_prepared
    from .signature import training_signature
    from .weights import parameters, save_network

    paths = Paths(task.name)
    engine.configure(seed=params.train.seed, threads=params.train.threads)
    _, description = open_prepared(paths.prepared)
    model = task.model()
    network = model.build(params.model, description)
    signature = training_signature(task, params)
    rows: list[dict[str, float]] = []
    with tracking.training_run(task, params, signature, parameters=parameters(network)) as run:

        def on_epoch(record: engine.Epoch) -> None:
            rows.append(learning_curve.row(record))
            run.epoch(record)
            print(learning_curve.line(record), flush=True)

        fit = engine.fit(
            network,
            model.dataset(paths.prepared, "train", params, augment=True),
            model.dataset(paths.prepared, "validation", params, augment=False),
            params.train,
            on_epoch=on_epoch,
        )
    training = {
        "signature": signature,
        "seed": params.train.seed,
        "threads": params.train.threads,
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.epochs),
    }
    with fresh_folder(paths.weights) as folder:
        save_network(folder, network, params.model, description, prepared=paths.prepared, training=training)
    learning_curve.write(paths.learning_curve, rows)


if __name__ == "__main__":
    main("train", __doc__, train)
