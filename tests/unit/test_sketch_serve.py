"""A registered model answers any drawing as the training data was read, and says what is wrong with the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stages.data.files import write_json
from stages.models.weights import save_network
from stages.serving.predictor import InvalidRows
from stages.tasks.sketch.evaluate import evaluate as evaluating
from stages.tasks.sketch.model.features import features
from stages.tasks.sketch.model.network import build, padded
from stages.tasks.sketch.serve.predictor import Predictor
from tests.unit.test_sketch_model import model_params

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
DRAWING = [[[0, 255, 100], [0, 0, 80]], [[10, 20], [200, 240]]]


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    torch.manual_seed(0)
    data = {"classes": CLASSES, "max_points": 30}
    save_network(tmp_path, build(model_params(), data), model_params(), data, prepared=tmp_path, training={})
    return Predictor(tmp_path)


def frame(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"drawing": pd.Series(list(values), dtype=object)})


def test_every_way_to_write_a_drawing_gets_the_same_answer(predictor: Predictor) -> None:
    arrays = np.empty(2, dtype=object)
    arrays[:] = [np.array(stroke) for stroke in DRAWING]
    timed = [[xs, ys, list(range(len(xs)))] for xs, ys in DRAWING]
    ways = [
        DRAWING,
        json.dumps(DRAWING),
        arrays,
        [np.array(stroke, dtype=np.float32) for stroke in DRAWING],
        tuple(tuple(tuple(part) for part in stroke) for stroke in DRAWING),
        [[pd.Series(part).to_numpy() for part in stroke] for stroke in DRAWING],
        timed,
        json.dumps(timed),
    ]
    answers = predictor.predict(frame(*ways))
    assert list(answers.columns) == ["label", "probability", "top5_labels", "top5_probabilities"]
    assert len(set(answers["label"])) == 1
    assert answers["probability"].max() - answers["probability"].min() < 1e-6
    assert len(answers["top5_labels"][0]) == len(answers["top5_probabilities"][0]) == 5


def test_answers_come_in_the_order_of_the_rows_and_each_as_if_alone(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.tasks.sketch.serve.predictor.BATCH_SIZE", 3)
    several = [[[[0, 255, n * 9 % 200], [0, 5, n]]] + [[[n, 99], [n * 5, 255]]] * (n % 4) for n in range(10)]
    together = predictor.predict(frame(*several))
    alone = pd.concat([predictor.predict(frame(one)) for one in several], ignore_index=True)
    assert together["label"].tolist() == alone["label"].tolist()
    assert np.allclose(together["top5_probabilities"].tolist(), alone["top5_probabilities"].tolist(), atol=1e-6)


def test_the_answer_is_what_the_network_says_of_the_canonical_steps(tmp_path: Path, predictor: Predictor) -> None:
    steps = np.array([[0, 0, 0], [255, 0, 0], [100, 80, 1], [10, 200, 0], [20, 240, 1]], dtype=np.uint8)
    lengths = np.array([5])
    with torch.inference_mode():
        expected = torch.softmax(
            predictor._network(padded(features(steps, lengths, predictor._network.features), lengths)), dim=1
        )[0]
    answer = predictor.predict(frame(DRAWING)).iloc[0]
    assert answer["label"] == CLASSES[int(expected.argmax())]
    assert answer["probability"] == pytest.approx(float(expected.max()), abs=1e-6)


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        (None, "found no drawing"),
        (float("nan"), "found no drawing"),
        (7, "found int"),
        ("", "not JSON"),
        ("[[[0, 1], [0, 1]]", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("x" * (4 * 2**20 + 1), "a text of 4194305 characters; allowed: 4194304"),
        ("[]", "a drawing without points"),
        ("[[[0, NaN], [0, 1]]]", "NaN or infinite"),
        ([[[0, 1], [0]]], "a stroke with parts of 2, 1 values"),
        ([[0, 1], [0, 1]], "a stroke of plain values; allowed: [xs, ys]; a drawing with one stroke is [[xs, ys]]"),
        ([[["a", 1], [0, 1]]], "not a number"),
        ([[[3, 3], [4, 4]]], "all points are in the same place"),
        ([[[0, 255, 128] * 20, [0, 0, 255] * 20]], "60 points after simplification; allowed: 30"),
        ([[np.zeros(50_001), np.zeros(50_001)]], "a stroke of 50001 points; allowed: 50000"),
    ],
)
def test_a_bad_row_says_what_was_found_and_the_others_are_answered(
    predictor: Predictor, drawing: Any, reason: str
) -> None:
    rows = frame(DRAWING, drawing)
    with pytest.raises(InvalidRows, match="row 1: drawing: ") as error:
        predictor.predict(rows)
    assert reason in str(error.value)
    answers = predictor.predict(rows, on_error="report")
    assert reason in answers["error"][1]
    assert pd.isna(answers["label"][1])
    assert pd.isna(answers["error"][0])
    assert answers["label"][0] in CLASSES


def test_a_long_drawing_up_to_the_bound_is_answered(predictor: Predictor) -> None:
    way = np.linspace(0, 255, 50_000)
    answers = predictor.predict(frame([[way, np.sin(way / 40) * 60]]))
    assert answers["label"][0] in CLASSES


def test_a_description_is_all_that_serving_needs_beside_the_weights(tmp_path: Path, predictor: Predictor) -> None:
    described = json.loads((tmp_path / "network.json").read_text())
    write_json(tmp_path / "network.json", {"model": described["model"], "data": described["data"]})
    assert Predictor(tmp_path).predict(frame(DRAWING)).equals(predictor.predict(frame(DRAWING)))


def test_counts_and_boxes_of_a_drawing_worked_out_by_hand() -> None:
    class One:
        def steps(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.array([[0, 0, 0], [255, 0, 1], [100, 80, 0], [50, 60, 1]], dtype=np.uint8), np.array([4])

    row = evaluating.counts_and_boxes(One(), np.array([0]))  # type: ignore[arg-type]
    assert np.allclose(row, [[2, 4, 2, 255, 80, np.log(256 / 81)]])


def test_drawings_read_together_are_read_as_each_alone_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = {"classes": CLASSES, "max_points": 60}
    save_network(tmp_path, build(model_params(), data), model_params(), data, prepared=tmp_path, training={})
    predictor = Predictor(tmp_path)
    generator = np.random.default_rng(1)

    def drawing(number: int) -> Any:
        """Of many kinds: simplified or not, with points to drop, too long, of whole and other numbers."""
        side = generator.choice([200.0, 220.0, 240.0, 255.0, 300.0])
        strokes = []
        for _ in range(1 + number % 3):
            count = int(generator.integers(2, 60 if number % 7 == 0 else 12))
            way = (
                generator.uniform(0, side, (2, count))
                if number % 2
                else np.cumsum(generator.integers(0, 3, (2, count)), 1)
            )
            strokes.append((np.round(way) if number % 5 else way).tolist())
        strokes[0] = [[0.0, side, *strokes[0][0]], [0.0, 1.0, *strokes[0][1]]]
        return strokes

    drawings: list[Any] = [drawing(number) for number in range(400)]
    drawings[::40] = [[[[0, float("nan")], [0, 1]]], "[", [[[5], [5]]], None, [[[0, 1e300], [0, 1]]]] * 2
    items = predictor.to_items(frame(*drawings))
    together = predictor.read_batch(items)
    for item, found in zip(items, together, strict=True):
        if isinstance(found, ValueError):
            with pytest.raises(ValueError, match=re.escape(str(found))):
                predictor.read(item)
        else:
            assert np.array_equal(predictor.read(item), found)
    assert 20 < sum(isinstance(found, ValueError) for found in together) < 200
