"""A model's card says what a stranger must know, and its words about the model hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from stages.data.files import write_json
from stages.evaluation.card import model_card, read_sections
from stages.evaluation.report import Calibration, Report, Slice
from stages.params import load
from stages.preprocessing.preparation import Preparation
from stages.tasks.drawing.params import MOST_POINTS, TEMPERATURE
from stages.tasks.drawing.serve.predictor import MAX_TEMPERATURE
from stages.tasks.forecast.data.series import MAX_MAGNITUDE, MAX_YEAR, MIN_HISTORY, MIN_YEAR
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.parse import MAX_INPUT_POINTS
from stages.tasks.sketch.prepare.prepare import COLUMNS
from stages.tasks.translation.params import LARGEST_BEAM, LONGEST_TRANSLATION
from stages.tasks.video.serve.local_copy import MAX_BYTES, MAX_SECONDS

REPOSITORY = Path(__file__).resolve().parents[2]
SIGNATURE = "data:c5.dir|split:test|n:4|seed:1|torch:2"


def report(folder: Path, **metrics: float) -> Report:
    found = Report(folder)
    bounds = {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94}
    found.groups = 13
    found.add_metrics({**bounds, "baseline_linear_accuracy": 0.5, "ece": 0.03, **metrics}, n=1234)
    names = ["cat", "dog", "eel", "fox"]
    found.write_slices(
        [Slice(slice="class", value=n, n=10 + i, metric=0.7 + i / 10, low=0.1, high=1.0) for i, n in enumerate(names)]
        + [Slice(slice="class", value="gnu", n=2, metric=0.0, low=0.0, high=0.0)]
    )
    found.write_calibration([Calibration(expected=0.95, observed=0.9, n=1234)])
    found.add_signatures({"f1": "average:macro"})
    return found


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the evaluate stage of `sketch` starts from."""
    monkeypatch.chdir(tmp_path)
    paths = Task("sketch").paths
    with Preparation(paths.prepared, max_rejected_share=0.5) as output:
        with output.store(COLUMNS) as store:
            for number, split in enumerate(("train", "train", "test")):
                values = np.zeros((2, 3), dtype=np.uint8)
                row: dict[str, Any] = {"id": str(number), "split": split, "length": 2, "label": "cat", "word": "cat"}
                store.append({**row, "values": values})
        output.describe({"classes": ["cat", "dog"], "max_points": 99})
    write_json(
        paths.preparation_metrics, {"accepted": 3, "rejected": 1, "rejected_share": 0.25, "rejected_no_points": 1}
    )
    write_json(paths.network, {"training": {"mode": "full", "epochs": 4, "best_epoch": 2, "still_improving": False}})
    return tmp_path


def made(found: Report, **changes: Any) -> str:
    params = load(REPOSITORY / "params.yaml")["sketch"]
    source = params.source.model_copy(update={"kind": "sample", "url": "", **changes})
    return model_card(Task("sketch"), params.model_copy(update={"source": source}), found, signature=SIGNATURE)


def test_a_card_has_data_metrics_baselines_slices_limits_and_how_to_load(checkout: Path) -> None:
    text = made(report(checkout / "plots"))
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    assert titles == [
        "sketch-classifier",
        "What it answers",
        "How to load it",
        "Limits",
        "Metrics",
        "Weakest slices",
        "Calibration",
        "Data",
        "Params",
        "Signatures of the metrics",
    ]
    lines = text.splitlines()
    assert any("0.9000 [0.8500, 0.9400]" in line and "linear, reaches 0.5000" in line for line in lines)
    assert [line for line in lines if line.startswith("| `accuracy` | 0.9000 [0.8500, 0.9400] | 0.5000 |")]
    assert not [line for line in lines if "_low" in line or "_high" in line]
    assert [line.split(" | ")[1] for line in lines if line.startswith("| class |")] == ["cat", "dog", "eel"]
    for line in (
        "| sequences in train | 2 |",
        "| 2 classes | cat, dog |",
        "| rejected no points | 1 |",
        "| max points | 99 |",
    ):
        assert line in lines
    assert "| 95.0% | 90.0% | 1,234 |" in lines
    assert "`c5.dir`" in text
    assert "of the 13 groups of similar examples; with so few, the true interval is wider than this one." in text
    assert "weights of epoch 3" in text
    assert lines[-2:] == [f"    {SIGNATURE}", "    f1 average:macro"]


def test_a_simpler_model_that_is_better_is_said_first_and_the_hardest_baseline_stands_first(checkout: Path) -> None:
    better = made(report(checkout / "better", baseline_majority_accuracy=0.1, baseline_trees_accuracy=0.92))
    said = "**A simpler model is better here: trees 0.9200 against 0.9000.**"
    assert said in better
    assert better.index(said) < better.index("**accuracy 0.9000")
    assert "| metric | this model | trees | linear | majority | meaning |" in better
    equal = made(report(checkout / "equal", baseline_trees_accuracy=0.9))
    assert "simpler model" not in equal


def test_a_best_epoch_that_is_the_last_is_told(checkout: Path) -> None:
    told = "still improving in its last epoch: `train.epochs` may be too few"
    assert told not in made(report(checkout / "plots"))
    write_json(
        Task("sketch").paths.network,
        {"training": {"mode": "full", "epochs": 4, "best_epoch": 3, "still_improving": True}},
    )
    assert told in made(report(checkout / "plots"))
    write_json(
        Task("sketch").paths.network,
        {"training": {"mode": "overfit", "epochs": 4, "best_epoch": 3, "still_improving": True}},
    )
    assert told not in made(report(checkout / "plots"))


def test_a_card_of_the_last_epoch_calls_it_no_best_one(checkout: Path) -> None:
    write_json(
        Task("sketch").paths.network,
        {"training": {"mode": "full", "epochs": 4, "best_epoch": 3, "still_improving": True}},
    )
    params = load(REPOSITORY / "params.yaml")["sketch"]
    last = params.model_copy(update={"train": params.train.model_copy(update={"choose": "last"})})
    text = model_card(Task("sketch"), last, report(checkout / "plots"), signature=SIGNATURE)
    assert "The weights are those of the last of 4 epochs" in text
    assert "were the best" not in text
    assert "still improving" not in text


def test_a_card_follows_the_metric_that_params_choose(checkout: Path) -> None:
    found = report(checkout / "plots", macro_f1=0.7, baseline_linear_macro_f1=0.6)
    found.metric = "macro_f1"
    text = made(found)
    assert "**macro_f1 0.7000**" in text
    assert "the best baseline, linear, reaches 0.6000." in text
    assert "| by | slice | n | macro f1 |" in text


def test_a_card_takes_the_source_that_the_data_came_from(checkout: Path) -> None:
    found = report(checkout / "plots")
    assert "seeded generator" in made(found)
    assert "Google's Quick, Draw!" not in made(found)
    real = made(found, kind="quickdraw")
    assert "Google's Quick, Draw!" in real
    assert "seeded generator" not in real


def test_a_card_holds_no_secret_and_no_path(checkout: Path) -> None:
    found = report(checkout / "plots")
    text = made(found, url="https://user:secret@host.example/folder?token=secret")
    assert "| `source.url` | (host.example) |" in text
    assert "secret" not in text
    assert "(a local file)" in made(found, url="file:///home/someone/data")
    assert str(checkout) not in text
    assert made(found) == made(found)


def test_a_perfect_score_and_a_half_trained_network_are_told_as_what_they_are(checkout: Path) -> None:
    text = made(report(checkout / "perfect", accuracy=1.0))
    assert "The model answered no test example wrongly" in text
    assert "With 1,234 independent examples, an error rate of up to 0.2%" in text
    assert "Not for use" not in text
    write_json(
        Task("sketch").paths.network,
        {"training": {"mode": "smoke", "epochs": 1, "best_epoch": 0, "still_improving": True}},
    )
    assert "**Not for use:** it was trained with `train.mode` smoke" in made(report(checkout / "plots"))


@pytest.mark.parametrize("name", Task.names())
def test_every_kind_of_source_has_its_words(name: str) -> None:
    fields = cast(Any, Task(name).params_type().model_fields["source"].annotation).model_fields
    for kind in fields["kind"].annotation.__args__ if "kind" in fields else []:
        assert f"Source: {kind}" in read_sections(Task(name), kind)


@pytest.mark.parametrize("name", Task.names())
def test_the_words_name_the_columns_and_the_code_asks_for_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.pyfunc

    sections = read_sections(Task(name), "sample")
    predictor = Task(name).predictor()
    for column in (*predictor.inputs, *predictor.outputs, *predictor.options):
        assert f"`{column}`" in sections["What it answers"]
    calls: list[tuple[str, pd.DataFrame]] = []

    class Model:
        def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> None:
            assert set(params or {}) <= predictor.options.keys()
            calls.append(("", frame))

    def load_model(address: str) -> Model:
        calls.append((address, pd.DataFrame()))
        return Model()

    monkeypatch.setattr(mlflow.pyfunc, "load_model", load_model)
    code = re.search(r"```python\n(.*?)```", sections["How to load it"], flags=re.DOTALL)
    assert code is not None
    exec(code.group(1), {})
    assert calls[0][0] == f"models:/{Task(name).description().model_name}@champion"
    assert list(calls[1][1].columns) == [*predictor.inputs, *predictor.optional_inputs]


BOUNDS = {
    "drawing": [f"(2 to {MOST_POINTS})", f"(0 to {MAX_TEMPERATURE:g}, default {TEMPERATURE:g})"],
    "sketch": [f"{MAX_INPUT_POINTS:,} points"],
    "video": [f"{MAX_BYTES >> 30} GiB", f"{MAX_SECONDS:.0f} s"],
    "translation": [f"(1 to {LARGEST_BEAM})", f"(1 to {LONGEST_TRANSLATION} tokens)"],
    "forecast": [f"{MIN_HISTORY} days", f"from {MIN_YEAR} to {MAX_YEAR}", f"{MAX_MAGNITUDE:.0e}".replace("+", "")],
}


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_in_the_words_are_those_of_the_code(name: str) -> None:
    text = "\n".join(read_sections(Task(name), "sample").values())
    assert [bound for bound in BOUNDS[name] if bound not in text] == []
