"""Measure a trained network and the baselines on the test split.

python -m stages.evaluate TASK      reads  weights/TASK/measured/, data/TASK/prepared/, params.yaml: TASK.evaluate
                                    writes metrics/TASK.json, plots/TASK/evaluation/, cards/TASK/MODEL_CARD.md

The other params and the counts in metrics/preprocess/TASK.json are read only for the card.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .command import main
from .data.files import fresh_folder

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


def evaluate(task: Task, params: TaskParams) -> None:
    """Measure a task's network and write metrics, predictions, pictures and the model's card.

    Ranks share the network's predictions; each of them computes the baselines, and rank 0 writes.
    """
    from .training import launch

    launch.run("evaluate", task.name, params.evaluate.ranks, _evaluate, task, params)


def _evaluate(task: Task, params: TaskParams) -> None:
    from .data.files import write_json, write_text
    from .evaluation.card import model_card
    from .evaluation.report import JUDGED_BY, Report
    from .models.weights import load_network, read_network
    from .provenance.hashes import content_md5, metrics_signature
    from .training import distributed

    paths = task.paths
    training = read_network(paths.measured)["training"]
    distributed.configure(seed=training["seed"], threads=training["threads"])
    network, _ = load_network(paths.measured, task.model().build, type(params.model))
    network.to(distributed.device())
    if distributed.rank() != 0:
        with TemporaryDirectory() as unseen:
            task.evaluate().evaluate(network, paths.prepared, params, Report(Path(unseen)))
        return
    with fresh_folder(paths.evaluation) as folder:
        report = Report(folder)
        task.evaluate().evaluate(network, paths.prepared, params, report)
    signature = metrics_signature(
        data=content_md5(paths.prepared), split=report.split, n=report.n, seed=training["seed"]
    )
    signatures = {f"{name}_signature": value for name, value in report.signatures.items()}
    chosen = {JUDGED_BY: report.metric} if report.metric not in ("", task.description().metric) else {}
    write_json(paths.metrics, {**report.metrics, **signatures, **chosen, "signature": signature})
    write_text(paths.card, model_card(task, params, report, signature=signature))


if __name__ == "__main__":
    main("evaluate", __doc__, evaluate)
