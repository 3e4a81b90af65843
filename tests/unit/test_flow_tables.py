"""Tables and pictures that flows show."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from flows.reports import pictures
from flows.reports.tables import (
    TaskResult,
    compare,
    compare_with_champion,
    comparison_report,
    links_table,
    metrics_table,
)
from stages.provenance.hashes import parse_signature
from stages.registry.decision import Decision
from stages.registry.status import ModelStatus, SideBySide, Version, same_data
from stages.tasks.protocol import Task

SIGNATURE = "data:abc.dir|split:test|n:51|seed:1|torch:2.13.0"


def version(number: str, mae: float, *, signature: str = SIGNATURE, run_id: str = "0123456789") -> Version:
    return Version(
        version=number,
        decision=Decision.CHALLENGER_LOST,
        reason="does not beat its baselines",
        signature=signature,
        run_id=run_id,
        experiment_id="7",
        metrics={"mae": mae, "rmse": 3.0, "baseline_naive_mae": 4.0, "baseline_naive_mase": 0.9},
    )


def result(here: Version | None, champion: Version | None, mae: float = 2.0) -> TaskResult:
    metrics = {
        "mae": mae,
        "mae_low": mae - 0.5,
        "mae_high": mae + 0.5,
        "rmse": 2.5,
        "baseline_naive_mae": 4.0,
        "signature": SIGNATURE,
    }
    model = ModelStatus(name="forecaster", has_receipt=True, here=here, champion=champion)
    return TaskResult(task=Task("forecast"), metrics=metrics, model=model)


@pytest.mark.parametrize(
    ("value", "other", "metric", "expected"),
    [
        (0.9, 0.8, "accuracy", "this run is better"),
        (0.9, 0.8, "mae", "the champion is better"),
        (0.8, 0.9, "mae", "this run is better"),
        (1, 1, "accuracy", "equal"),
    ],
)
def test_better_and_worse_follow_the_metric(value, other, metric, expected):
    assert compare(value, other, metric, other="the champion") == expected


def test_numbers_of_other_data_are_not_compared():
    other = SIGNATURE.replace("n:51", "n:3")
    champion = version("3", 2.5, signature=other)
    assert compare_with_champion(2.0, SIGNATURE, champion, version("4", 2.0), "mae") == "measured on other data"
    assert not same_data(SIGNATURE, other)
    assert not same_data("", "")


def test_another_training_seed_and_other_versions_of_libraries_are_no_other_data():
    assert same_data(SIGNATURE, SIGNATURE.replace("2.13.0", "2.14.0").replace("seed:1", "seed:7"))
    assert parse_signature(SIGNATURE)["data"] == "abc.dir"


def test_a_row_says_what_was_reached_against_champion_and_baseline():
    lines = metrics_table([result(version("4", 2.0), version("3", 2.5))]).splitlines()
    assert lines[2] == (
        "| forecast | mae ↓ | 2.0000 [1.5000, 2.5000] | 2.5000, version 3 | this run is better "
        "| 4.0000 (naive): this run is better | 51 |"
    )
    assert "- `forecaster` version 4: challenger_lost: does not beat its baselines" in lines


def test_the_champion_is_not_compared_with_itself():
    row = metrics_table([result(version("3", 2.0), version("3", 2.0))]).splitlines()[2]
    assert "| it is the champion |" in row


def test_without_an_answer_of_the_registry_the_metrics_are_shown():
    entry = TaskResult(task=Task("forecast"), metrics=result(None, None).metrics, model=None)
    lines = metrics_table([entry]).splitlines()
    assert (
        lines[2] == "| forecast | mae ↓ | 2.0000 [1.5000, 2.5000] | none |  | 4.0000 (naive): this run is better | 51 |"
    )
    assert "version" not in "".join(lines)


def test_all_metrics_but_the_baselines_stand_beside_the_champions():
    text = metrics_table([result(version("4", 2.0), version("3", 2.5))])
    assert "| rmse | 2.5000 | 3.0000 |" in text
    assert "mae_low" not in text
    assert "baseline_naive_mae" not in text


def test_links_lead_to_version_run_and_champion():
    entry = result(version("4", 2.0), version("3", 2.5))
    assert entry.model is not None
    assert links_table({"forecast": entry.model}, ["forecast", "sketch"], "http://host/").splitlines()[2:] == [
        "| forecast | [forecaster 4](http://host/#/models/forecaster/versions/4?workflowType=machine_learning) "
        "| [01234567](http://host/#/experiments/7/runs/0123456789?workflowType=machine_learning) "
        "| [forecaster 3](http://host/#/models/forecaster/versions/3?workflowType=machine_learning) |"
    ]
    assert links_table({}, ["forecast"], "http://host") == ""


def test_a_person_sees_baselines_of_the_metric_the_gates_verdict_and_the_champion():
    comparison = SideBySide(
        model="forecaster", candidate=version("4", 2.0), champion=version("3", 2.5), commit="f" * 40, dirty=True
    )
    text = comparison_report(Task("forecast"), comparison, None)
    assert text.startswith(
        "**forecaster version 4** against the champion, version 3, by mae: version 4 is better on the same test"
    )
    assert "| forecast | version 4 | champion, version 3 |" in text
    assert "| **mae** ↓ | 2.0000 | 2.5000 |" in text
    assert "| baseline_naive_mae | 4.0000 | 4.0000 |" in text
    assert "baseline_naive_mase" not in text
    assert "commit `ffffffffffff` with uncommitted changes" in text


def noise(side: int) -> bytes:
    file = io.BytesIO()
    values = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def test_pictures_are_made_small_enough_for_the_database(monkeypatch):
    drawn = {"a": noise(500)}
    large = pictures.markdown(drawn)
    assert large.startswith("**a**\n\n![a](data:image/webp;base64,")
    monkeypatch.setattr(pictures, "LIMIT", len(large) - 1)
    assert len(pictures.markdown(drawn)) < len(large)
    monkeypatch.setattr(pictures, "LIMIT", 100)
    assert pictures.markdown(drawn) == "The pictures (a) are too large to show here."


def test_a_learning_curve_has_a_panel_for_each_measure_of_both_splits_the_loss_first():
    row = {"epoch": 0.0, "train_accuracy": 0.1, "train_loss": 2.0, "validation_accuracy": 0.2, "validation_loss": 1.0}
    figure = pictures.learning_curve([{**row, "learning_rate": 0.1}])
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]


def test_a_task_without_outputs_has_no_pictures(tmp_path):
    assert pictures.of_folder(tmp_path / "training.csv", tmp_path / "pictures") == ""
