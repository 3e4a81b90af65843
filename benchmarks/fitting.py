"""One training by the engine in a process, or some ranks, of its own; see `turns.py` for how it is talked to.

    python -m benchmarks.fitting SPECIFICATION.json

The network is measured on the specification's `measured` split after each epoch, and saved after the last one where
the specification names a folder.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.data.files import fresh_folder
from stages.evaluation.bootstrap import evenly
from stages.models.batch import Dataset
from stages.models.network import Network
from stages.params import TaskParams
from stages.tasks.protocol import Task
from stages.training.debug_modes import Subset
from stages.training.progress import Epoch, TrainingHistory

from .specification import Specification


def network_and_data(specification: Specification, params: TaskParams) -> tuple[Network, Dataset, Dataset]:
    """Fresh weights, the examples to learn from and those to measure on."""
    folder = Path(specification.prepared)
    if specification.textbook:
        from . import textbook

        return textbook.network_and_data(folder, params, specification.measured)
    from stages.data.prepared import open_prepared

    model = Task(specification.task).model()
    network = model.build(params.model, open_prepared(folder)[1])
    train: Dataset = model.dataset(folder, "train", params, augment=True)
    if 0 < specification.examples < len(train):
        train = Subset(train, evenly(len(train), specification.examples), augment=True)
    return network, train, model.dataset(folder, specification.measured, params, augment=False)


def _save(specification: Specification, network: Network, params: TaskParams, fit: TrainingHistory) -> None:
    from stages.data.prepared import open_prepared
    from stages.models.weights import save_network

    prepared = Path(specification.prepared)
    description = open_prepared(prepared)[1]
    training = {"epochs": len(fit.epochs), "best_epoch": fit.best_epoch}
    with fresh_folder(Path(specification.saved)) as folder:
        save_network(folder, network, params.model, description, prepared=prepared, training=training)


def main() -> None:
    """The command line."""
    specification = Specification(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    params = Task(specification.task).params_type().model_validate(specification.params)

    from stages.training import distributed, loop

    ended = False

    def answer(values: dict[str, Any]) -> None:
        """Rank 0 speaks for all, and the others wait for it in the next step."""
        nonlocal ended
        if distributed.rank() == 0:
            print(json.dumps(values), flush=True)
            ended = not sys.stdin.readline()

    def on_epoch(record: Epoch) -> None:
        figures = ("seconds", "sequences_per_second", "data_wait_share", "padding_share")
        measured = {f"measured_{name}": value for name, value in record.validation.items()}
        answer({name: getattr(record, name) for name in figures} | {"loss": record.train["loss"]} | measured)

    with distributed.joined(params.train.ranks, "train"):
        distributed.configure(seed=params.train.seed, threads=params.train.threads)
        network, train, measured = network_and_data(specification, params)
        answer({"examples": len(train), "measured": len(measured), "weights": _weights(network)})
        with suppress(loop.Stopped):
            fit = loop.fit(network, train, measured, params.train, on_epoch=on_epoch, stop_requested=lambda: ended)
            if specification.saved and distributed.rank() == 0:
                _save(specification, network, params, fit)


def _weights(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


if __name__ == "__main__":
    main()
