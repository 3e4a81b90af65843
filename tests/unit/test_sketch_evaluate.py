"""The evaluate stage measures on the test split, beside its baselines, and draws what a person should see."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.evaluation.report import Report
from stages.models.batch import Batch
from stages.models.network import Losses, Network
from stages.preprocessing.preparation import Preparation
from stages.tasks.sketch.evaluate.early import Unfinished, accuracy_by_share, early_metrics
from stages.tasks.sketch.evaluate.evaluate import evaluate
from stages.tasks.sketch.model.network import SketchDataset
from stages.tasks.sketch.params import EvaluateParams, Params
from stages.tasks.sketch.prepare.prepare import COLUMNS
from tests.unit.test_sketch_model import LIVELY, model_params

CLASSES = ["flat", "steep", "tall"]


def drawing(label: str, number: int) -> np.ndarray:
    """Flat and tall ones differ by their box; steep ones have the box of a tall one and another line."""
    width, height = {"flat": (255, 20 + number % 9), "steep": (30, 255), "tall": (30, 255)}[label]
    middle = (width, 0) if label == "steep" else (0, height)
    return np.array([[0, 0, 0], [*middle, 0], [width, height, 1]], dtype=np.uint8)


class Knowing(Network):
    """Answers by the second step, and takes every ninth drawing for a flat one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> Tensor:
        x, y = batch.values[:, 1, 2], batch.values[:, 1, 3]
        wide = batch.values[:, -1, 2] > 0.5
        label = torch.where(wide, 0, torch.where(y < x, 1, 2))
        label[::9] = 0
        return torch.nn.functional.one_hot(label, 3) * 3.0 + self.weight

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    with Preparation(tmp_path / "prepared", max_rejected_share=0.0) as output:
        with output.store(COLUMNS) as store:
            for number in range(120):
                label = CLASSES[0 if number % 4 == 0 else 1 + number % 2]
                values = drawing(label, number)
                split = "test" if number % 3 == 0 else "train"
                row: dict[str, Any] = {"id": str(number), "split": split, "length": 3, "label": label}
                store.append({**row, "word": label, "values": values})
        output.describe({"classes": CLASSES})
    return tmp_path / "prepared"


def test_metrics_baselines_predictions_and_pictures(prepared: Path, tmp_path: Path) -> None:
    report = Report(tmp_path / "plots")
    params = Params.model_construct(
        model=model_params(augmentation=LIVELY),
        train=cast(Any, type("Train", (), {"seed": 1})),
        evaluate=EvaluateParams(ranks=1, batch_size=16, pictures=6),
    )
    evaluate(Knowing(), prepared, params, report)
    # 40 test drawings: 10 flat, 10 steep, 20 tall. Batches of 16, 16 and 8: the 1st and the 10th of each, so five, are
    # taken for flat ones.
    assert report.n == 40
    assert report.metrics["accuracy"] >= 35 / 40
    assert report.metrics["baseline_majority_accuracy"] in (0.5, 0.25)
    assert 0.4 < report.metrics["baseline_linear_accuracy"] < 0.9  # the flat ones, and a guess at the others
    with (tmp_path / "plots" / "predictions.csv").open() as file:
        answers = list(csv.DictReader(file))
    assert [row["id"] for row in answers] == [str(number) for number in range(0, 120, 3)]  # the test drawings' own
    right = [row["actual"] == row["predicted"] for row in answers]
    assert np.mean(right) == pytest.approx(report.metrics["accuracy"], abs=1e-6)
    assert all(1 / 3 < float(row["probability"]) <= 1 for row in answers)
    pictures = {path.name: path.stat().st_size for path in (tmp_path / "plots" / "pictures").iterdir()}
    assert pictures.keys() == {
        "calibration.png",
        "confusion.png",
        "early.png",
        "mistakes.png",
        "right.png",
        "slices.png",
    }
    assert min(pictures.values()) > 5000
    assert [(part.slice, part.value, part.n) for part in report.slices] == [
        ("class", "flat", 10),
        ("class", "steep", 10),
        ("class", "tall", 20),
        ("number of points", "3", 40),
    ]


def test_an_unfinished_drawing_has_its_first_points_at_full_size(prepared: Path) -> None:
    test = SketchDataset(prepared, "test", ["position", "pen"])
    some = np.array([0, 1, 2])
    half = Unfinished(test, some, 0.6, test.features)  # two of three points
    assert half.lengths.tolist() == [2, 2, 2]
    values = half.batch(some).values
    # The two points lie at the ends of the box's longer side, whose half is 1; the pen leaves the paper at the second.
    assert values[:, :, :2].abs().amax(dim=(1, 2)).tolist() == [1, 1, 1]
    assert values[:, :, 3].tolist() == [[0, 1]] * 3
    whole = Unfinished(test, some, 1.0, test.features)
    assert torch.allclose(whole.batch(some).values, test.batch(some).values, atol=0.02)


def test_accuracy_grows_with_what_is_seen(prepared: Path) -> None:
    test = SketchDataset(prepared, "test", ["offset", "position", "pen"])

    class Box(Knowing):
        """Tells flat drawings from tall ones, once the third point is there."""

        def forward(self, batch: Batch) -> Tensor:
            flat = batch.values[:, :, 2].amax(dim=1) > batch.values[:, :, 3].amax(dim=1)
            return torch.nn.functional.one_hot(torch.where(flat, 0, 2), 3) * 3.0

    found = accuracy_by_share(Box(), test, 16)
    metrics = {name: scores.value() for name, scores in early_metrics(found).items()}
    assert metrics.keys() == {"accuracy_seen_20", "accuracy_seen_50", "accuracy_seen_80"}
    assert found[1.0].value() == 30 / 40  # all but the steep ones
    assert metrics["accuracy_seen_20"] < found[1.0].value()
