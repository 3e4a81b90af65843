"""Every classifier's metrics: against scikit-learn, plain loops and numbers worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, top_k_accuracy_score

from stages.evaluation import classification
from stages.evaluation.bootstrap import interval, mean
from stages.evaluation.calibration import expected_calibration_error, reliability_bins
from stages.evaluation.classification import confusion_figure, macro_f1, mistakes, report_classification
from stages.evaluation.report import Report, format_number, is_bound, with_interval
from stages.evaluation.slices import metric_by_slice, quarters

CLASSES = list("abcdefg")


def answers(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(count, 7)` that lean to the truth, and the truth."""
    generator = np.random.default_rng(seed)
    actual = generator.integers(0, 7, count)
    logits = generator.normal(size=(count, 7)) + 1.5 * np.eye(7)[actual]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), actual


def reported(folder: Path, probabilities: np.ndarray, actual: np.ndarray) -> Report:
    report = Report(folder)
    sizes = np.arange(len(actual)) % 20
    groups = np.arange(len(actual)) // 3
    slices = {"size": quarters(sizes)}
    names = [f"{number}.clip" for number in range(len(actual))]
    report_classification(report, probabilities, actual, CLASSES, names=names, groups=groups, slices=slices)
    return report


def test_metrics_are_scikit_learns(tmp_path: Path) -> None:
    probabilities, actual = answers()
    found = reported(tmp_path, probabilities, actual).metrics
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(actual, predicted),
        "top5_accuracy": top_k_accuracy_score(actual, probabilities, k=5, labels=np.arange(7)),
        "macro_f1": f1_score(actual, predicted, average="macro"),
        "log_loss": log_loss(actual, probabilities, labels=np.arange(7)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
        assert found[f"{name}_low"] < value < found[f"{name}_high"], name
    assert found.keys() == {*expected, *(f"{n}_{end}" for n in expected for end in ("low", "high")), "ece"}


def test_macro_f1_passes_over_a_class_that_neither_occurs_nor_is_predicted() -> None:
    actual, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    value = (2 / 3 + 4 / 5) / 2
    assert macro_f1(actual, predicted, 2, np.arange(4)).value() == pytest.approx(value)
    assert macro_f1(actual, predicted, 9, np.arange(4)).value() == pytest.approx(value)


def test_macro_f1_of_many_groups_stands_on_fewer_units(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, actual = answers(3000)
    predicted = probabilities.argmax(axis=1)
    whole = macro_f1(actual, predicted, 7, np.arange(3000))
    monkeypatch.setattr(classification, "_MAX_UNITS", 600)
    fewer = macro_f1(actual, predicted, 7, np.arange(3000))
    assert (len(whole.statistics), len(fewer.statistics)) == (2000, 600)
    assert fewer.value() == pytest.approx(whole.value(), abs=1e-12)
    assert interval(fewer) == pytest.approx(interval(whole), abs=0.003)


def test_the_calibration_error_is_that_of_a_plain_loop() -> None:
    probabilities, actual = answers()
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == actual
    confidence[:3] = [1 / 15, 2 / 15, 1.0]  # borders belong to the bin below them
    error = 0.0
    for number in range(15):
        inside = [i for i in range(300) if number / 15 < confidence[i] <= (number + 1) / 15]
        if inside:
            apart = abs(np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside]))
            error += len(inside) / 300 * apart
    assert expected_calibration_error(reliability_bins(confidence, right)) == pytest.approx(error, abs=1e-12)


def test_calibration_by_hand() -> None:
    bins = reliability_bins(np.array([0.9, 0.94, 0.51, 0.0]), np.array([True, False, True, False]))
    assert [(row.expected, row.observed, row.n) for row in bins] == [
        (0.0, 0.0, 1),
        (0.51, 1.0, 1),
        (pytest.approx(0.9), 1.0, 1),  # 13.5 fifteenths
        (pytest.approx(0.94), 0.0, 1),  # 14.1
    ]
    assert expected_calibration_error(bins) == pytest.approx((0.0 + 0.49 + 0.1 + 0.94) / 4)


def test_of_many_classes_the_most_confused_are_drawn() -> None:
    counts = np.diag(np.full(60, 5))
    counts[3, 58] = 2
    figure = confusion_figure(counts, [f"c{number}" for number in range(60)])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 40
    assert {"c3", "c58"} <= set(names)
    assert figure.axes[0].get_title() == "The 40 of 60 classes that are confused most often"
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(shown) == ["2"] + ["5"] * 40


def test_slices_and_calibration_are_tables(tmp_path: Path) -> None:
    probabilities, actual = answers()
    report = reported(tmp_path, probabilities, actual)
    right = probabilities.argmax(axis=1) == actual
    with (tmp_path / "slices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["slice", "value", "n", "metric", "low", "high"]
    assert [row["value"] for row in rows] == [*CLASSES, "0–4", "5–9", "10–14", "15–19"]
    for number, row in enumerate(rows[:7]):
        assert int(row["n"]) == (actual == number).sum()
        assert float(row["metric"]) == pytest.approx(right[actual == number].mean(), abs=1e-6)
        assert float(row["low"]) <= float(row["metric"]) <= float(row["high"])
    with (tmp_path / "calibration.csv").open() as file:
        assert sum(int(row["n"]) for row in csv.DictReader(file)) == 300
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {"calibration", "confusion", "slices"}
    assert (report.n, report.groups) == (300, 100)


@pytest.mark.parametrize(
    ("sizes", "names", "parts"),
    [
        ([5, 5, 5], ["5"], [0, 0, 0]),
        ([1, 2, 3, 4], ["1", "2", "3", "4"], [0, 1, 2, 3]),
        ([1, 1, 1, 1, 1, 1, 1, 9], ["1", "9"], [0, 0, 0, 0, 0, 0, 0, 1]),
        ([8, 1, 3, 2, 4, 5, 7, 6], ["1–2", "3–4", "5–6", "7–8"], [3, 0, 1, 0, 1, 2, 3, 2]),
    ],
)
def test_quarters_are_named_by_what_is_in_them(sizes: list[int], names: list[str], parts: list[int]) -> None:
    which, found = quarters(np.array(sizes))
    assert found == names
    assert which.tolist() == parts


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_of_many_parts_the_worst_and_the_best_are_kept(higher_is_better: bool) -> None:
    which = np.arange(3000) % 100
    names = [f"series {number}" for number in range(100)]
    found = metric_by_slice(mean(which.astype(float)), "series", which, names, higher_is_better=higher_is_better)
    kept = [*range(20), *range(80, 100)]
    assert [part.metric for part in found] == (kept if higher_is_better else kept[::-1])
    assert found[0].n == 30


def test_a_part_without_examples_is_left_out() -> None:
    found = metric_by_slice(mean(np.ones(4)), "class", np.array([0, 2, 2, 0]), ["a", "b", "c"], higher_is_better=True)
    assert [(part.value, part.n) for part in found] == [("a", 2), ("c", 2)]


def test_the_surest_mistakes_come_first_and_without_any_the_least_sure_answers() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    chosen, title = mistakes(probabilities, np.array([1, 0, 0, 0]), 5)
    assert (chosen.tolist(), title) == ([1, 0], "The 2 most confident of 2 mistakes on 4 examples")
    chosen, title = mistakes(probabilities, np.array([0, 1, 0, 0]), 2)
    assert (chosen.tolist(), title[:25]) == ([3, 0], "No mistakes on 4 examples")


def test_a_metric_is_shown_with_its_interval() -> None:
    metrics = {"accuracy": 0.96, "accuracy_low": 0.9476, "accuracy_high": 0.97142, "ece": 0.05, "so_low": 1.0}
    assert with_interval(metrics, "accuracy") == "0.9600 [0.9476, 0.9714]"
    assert with_interval(metrics, "ece") == "0.0500"
    assert with_interval({"mae": 39874.4, "mae_low": 9871.6, "mae_high": 1e5}, "mae") == "39874 [9872, 100000]"
    assert [format_number(value) for value in (16.2194, 123.456, -2.5, 0.0)] == ["16.22", "123.5", "-2.5000", "0.0000"]
    assert [is_bound(metrics, name) for name in metrics] == [False, True, True, False, False]
