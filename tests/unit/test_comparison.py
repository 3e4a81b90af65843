"""The test split as a registered model is asked it: the raw example of each row, and what answers are worth."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from stages.data.evenly import evenly
from stages.data.prepared import open_prepared
from stages.data.store import SPLITS, SequenceStore, SequenceWriter, schema
from stages.evaluation.bootstrap import accuracy
from stages.evaluation.comparison import example_groups
from stages.models.learned import FITTED_SPLITS, Identities, Learned
from stages.models.weights import save_network
from stages.tasks.forecast.evaluate import comparison as forecast
from stages.tasks.forecast.evaluate.scores import groups
from stages.tasks.forecast.model.network import build as build_forecaster
from stages.tasks.forecast.model.windows import Windows, rolling_origins
from stages.tasks.forecast.serve.predictor import Predictor as ForecastPredictor
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.canonical import canonicalize
from stages.tasks.sketch.data.parse import parse
from stages.tasks.sketch.evaluate import comparison as sketch
from stages.tasks.translation.evaluate import comparison as translation
from stages.tasks.video.data.decode import Decoding, read_clip
from stages.tasks.video.evaluate import comparison as video
from tests.unit import sketch_files
from tests.unit import test_forecast_model as forecast_model
from tests.unit import test_forecast_prepare as forecast_prepare
from tests.unit import test_translation_prepare as translation_prepare
from tests.unit import test_video_prepare as video_prepare
from tests.unit.video_clips import write_clip


def chosen(task: Any, folders: tuple[Path, Path], limit: int = 10_000) -> np.ndarray:
    """The numbers of up to `limit` test examples, evenly over them, as the gate takes them."""
    return evenly(len(task.identities(folders[0]).ids), limit)


@pytest.mark.parametrize(
    ("count", "limit", "kept"), [(3, 5, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (7, 7, list(range(7))), (0, 3, [])]
)
def test_a_limit_takes_examples_evenly(count: int, limit: int, kept: list[int]) -> None:
    assert evenly(count, limit).tolist() == kept


def test_a_missing_answer_is_wrong_and_a_missing_row_an_error() -> None:
    assert accuracy(["a", None, float("nan"), "b"], ["a", "b", "c", "d"]).value() == 0.25
    with pytest.raises(ValueError, match="found 1 answers to 2 examples"):
        accuracy(["a"], ["a", "b"])


@pytest.mark.parametrize("name", Task.names())
def test_every_task_can_be_asked(name: str) -> None:
    module = Task(name).comparison()
    # `scores` of a task with an `evaluate.metric` takes that, too.
    functions = (module.identities, module.examples, module.scores)
    assert [[p for p in signature(f).parameters if p != "metric"] for f in functions] == [
        ["prepared"],
        ["prepared", "raw", "chosen"],
        ["answers", "prepared", "raw", "chosen"],
    ]


@pytest.fixture
def drawings(tmp_path: Path) -> tuple[Path, Path]:
    """Drawings of every kind of file: with a key, without one, and in stroke-3."""
    records = [sketch_files.record(n, drawing=[[[7, 300, 111 + n], [3, 0, 45.5]], [[9], [9 + n]]]) for n in range(30)]
    for number in range(0, 30, 3):
        del records[number]["key_id"]
    sketch_files.write(tmp_path / "raw", "cat", [*records[:4], "not json", *records[4:]], form="raw")
    splits = {name: [sketch_files.stroke_3(10 * i + n) for n in range(9)] for i, name in enumerate(("train", "valid"))}
    test = [sketch_files.stroke_3(30 + n) for n in range(5)]
    sketch_files.save_npz(tmp_path / "raw" / "sketchrnn" / "pig.npz", **splits, test=test)
    sketch_files.run(tmp_path / "raw", tmp_path / "prepared")
    return tmp_path / "prepared", tmp_path / "raw"


def test_a_drawing_is_asked_as_it_came_and_leads_to_the_steps_that_were_stored(drawings: tuple[Path, Path]) -> None:
    store, _ = open_prepared(drawings[0])
    rows = store.rows("test")
    asked = sketch.examples(*drawings, chosen(sketch, drawings))["drawing"].map(json.loads).tolist()
    assert len(asked) == len(rows) > 5
    canonical = canonicalize(parse(asked), max_points=50)
    for steps, row in zip(canonical.sequences(), rows, strict=True):
        assert steps.tolist() == store.sequence("values", row).reshape(-1, 3).tolist()
    dots = [drawing[1] for drawing in asked if len(drawing) == 2]
    assert {xs[0] for xs, _ in dots} == {9.0}  # the pixels of the file, not those of the store


def test_right_names_score_one_and_a_limit_is_kept(drawings: tuple[Path, Path]) -> None:
    store, _ = open_prepared(drawings[0])
    labels = [store.value("label", row) for row in store.rows("test")]
    perfect = sketch.scores(pd.DataFrame({"label": labels}), *drawings, chosen(sketch, drawings))
    assert perfect.value() == 1.0
    assert len(np.unique(perfect.groups)) == len(labels)
    some = [labels[place] for place in evenly(len(labels), 4)]
    assert len(sketch.examples(*drawings, chosen(sketch, drawings, 4))) == 4
    assert (
        sketch.scores(pd.DataFrame({"label": [*some[:3], "dog"]}), *drawings, chosen(sketch, drawings, 4)).value()
        == 0.75
    )


def test_drawings_of_another_download_are_missed(drawings: tuple[Path, Path]) -> None:
    prepared, raw = drawings
    (raw / "sketchrnn" / "pig.npz").unlink()
    with pytest.raises(ValueError, match="5 of .* test drawings are missing, such as sketchrnn/pig.npz: test 0"):
        sketch.examples(prepared, raw, chosen(sketch, drawings))


def test_a_clip_is_asked_by_its_path_and_drawn_with_its_group(tmp_path: Path) -> None:
    for number in range(1, 9):
        for label, level in (("Dark", 10), ("Light", 200)):
            write_clip(tmp_path / "raw/clips" / label / f"v_{label}_g{number:02d}_c01.mp4", level + number)
    video_prepare._prepare(tmp_path / "raw", tmp_path / "prepared")
    folders = tmp_path / "prepared", tmp_path / "raw"
    store, description = open_prepared(folders[0])
    rows = store.rows("test")
    paths = video.examples(*folders, chosen(video, folders))["path"].tolist()
    decoding = Decoding(**description["decoding"])
    for path, row in zip(paths, rows, strict=True):
        assert Path(path).is_absolute()
        assert read_clip(Path(path), decoding).frames.ravel().tolist() == store.sequence("frames", row).ravel().tolist()
    answers = pd.DataFrame({"label": [Path(path).parent.name for path in paths]})
    found = video.scores(answers, *folders, chosen(video, folders))
    assert (found.value(), len(found.groups), len(np.unique(found.groups))) == (1.0, 4, 2)
    assert len(video.examples(*folders, chosen(video, folders, 3))) == 3
    assert video.scores(answers[:3].assign(label="Dark"), *folders, chosen(video, folders, 3)).value() == pytest.approx(
        2 / 3
    )


def test_a_sentence_split_by_target_is_asked_once_a_pair_and_drawn_with_those_of_the_same_source(
    tmp_path: Path,
) -> None:
    lines = "".join(f"source\u00a0{n % 5}\ttarget {n}\n" for n in range(60))
    raw = translation_prepare.raw_lines(tmp_path / "raw", lines.encode())
    store, _, _ = translation_prepare.prepared(raw, tmp_path / "prepared", split_by="target")
    folders = tmp_path / "prepared", raw
    asked = translation.examples(*folders, chosen(translation, folders))
    targets = [store.value("target_text", row) for row in store.rows("test")]
    assert asked["text"].tolist() == [store.value("source_text", row) for row in store.rows("test")]
    found = translation.scores(pd.DataFrame({"translation": targets}), *folders, chosen(translation, folders))
    assert (found.value(), len(np.unique(found.groups))) == (1.0, asked["text"].nunique())
    assert asked["text"].nunique() < len(asked)
    assert len(translation.examples(*folders, chosen(translation, folders, 3))) == 3
    assert (
        translation.scores(
            pd.DataFrame({"translation": ["no", *targets[1:]]}), *folders, chosen(translation, folders)
        ).value()
        < 1.0
    )


def test_a_source_split_by_source_is_asked_once_and_any_of_its_targets_is_right(tmp_path: Path) -> None:
    lines = "".join(f"source {n % 30}\ttarget {n}\n" for n in range(60))
    raw = translation_prepare.raw_lines(tmp_path / "raw", lines.encode())
    store, _, _ = translation_prepare.prepared(raw, tmp_path / "prepared", split_by="source")
    folders = tmp_path / "prepared", raw
    asked = translation.examples(*folders, chosen(translation, folders))["text"].tolist()
    assert len(asked) == len(set(asked)) == len(store.rows("test")) / 2
    numbers = [int(text.split()[1]) for text in asked]
    later = pd.DataFrame({"translation": [f"target {n + 30 * (n % 2)}" for n in numbers]})
    assert translation.scores(later, *folders, chosen(translation, folders)).value() == 1.0
    others = pd.DataFrame({"translation": [f"target {(n + 1) % 60}" for n in numbers]})
    assert translation.scores(others, *folders, chosen(translation, folders)).value() == 0.0
    with pytest.raises(ValueError, match="found 1 answers to"):
        translation.scores(later[:1], *folders, chosen(translation, folders))
    nearly = translation.scores(others, *folders, chosen(translation, folders), metric="chrf")
    best = translation.scores(later, *folders, chosen(translation, folders), metric="chrf")
    assert 50 < nearly.value() < best.value() == pytest.approx(100)


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, Path]:
    prepared = forecast_model.prepared(tmp_path, forecast_model.wave())  # 21 test days: three weeks
    return prepared, tmp_path / "raw"


def perfect_forecasts(folders: tuple[Path, Path]) -> pd.DataFrame:
    store, _ = open_prepared(folders[0])
    values = pd.Series(
        store.sequence("values", 0), index=pd.date_range(store.value("start", 0), periods=len(forecast_model.wave()))
    )
    asked = forecast.examples(*folders, chosen(forecast, folders))
    last = asked.groupby("unique_id", sort=False)["ds"].max()
    rows = [(name, day + pd.Timedelta(days=ahead)) for name, day in last.items() for ahead in range(1, 8)]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds"])
    return frame.assign(mean=values.reindex(frame["ds"]).to_numpy())


def test_every_test_day_is_asked_for_once_and_nothing_of_it_is_told(series: tuple[Path, Path]) -> None:
    asked = forecast.examples(*series, chosen(forecast, series))
    answers = perfect_forecasts(series)
    assert answers["ds"].tolist() == pd.date_range(end="2020-04-29", periods=21).tolist()  # 120 days from 2020-01-01
    told = asked.groupby("unique_id", sort=False)["ds"].agg(["min", "max", "count"])
    assert told["min"].unique().tolist() == [pd.Timestamp("2020-01-01")]
    assert told["max"].dt.strftime("%m-%d").tolist() == ["04-08", "04-15", "04-22"]
    assert told.index.tolist()[0] == "y from 2020-04-09"
    found = forecast.scores(answers, *series, chosen(forecast, series))
    assert (found.value(), len(found.statistics)) == (0.0, 3)
    worse = answers.assign(mean=answers["mean"] + np.repeat([0.5, 0.0], [7, 14])).sample(frac=1.0, random_state=1)
    assert forecast.scores(worse, *series, chosen(forecast, series)).value() == pytest.approx(0.5 / 3)
    assert forecast.examples(*series, chosen(forecast, series, 1))["unique_id"].unique().tolist() == [
        "y from 2020-04-09"
    ]


def test_a_forecast_that_is_missing_is_named(series: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="the forecast from 2020-04-23 for series 'y from 2020-04-23' lacks some"):
        forecast.scores(perfect_forecasts(series)[:-1], *series, chosen(forecast, series))


def test_a_day_that_was_not_observed_does_not_count(tmp_path: Path) -> None:
    values = forecast_model.wave()
    values[-3] = np.nan
    folders = forecast_model.prepared(tmp_path, values), tmp_path / "raw"
    answers = perfect_forecasts(folders)
    answers.loc[answers.index[-3], "mean"] += 100.0
    assert forecast.scores(answers, *folders, chosen(forecast, folders)).value() == 0.0
    assert forecast.scores(answers, *folders, chosen(forecast, folders)).statistics[:, 1].tolist() == [7.0, 7.0, 6.0]


def test_the_predictors_answers_have_the_error_that_evaluate_finds(series: tuple[Path, Path], tmp_path: Path) -> None:
    params = forecast_model.model_params()
    torch.manual_seed(0)
    network = build_forecaster(params, {}).eval()
    description = {"max_gap_days": 28, "duplicates": "refuse"}
    save_network(tmp_path / "weights", network, params, description, prepared=series[0], training={})
    answers = ForecastPredictor(tmp_path / "weights").predict(forecast.examples(*series, chosen(forecast, series)))
    windows = Windows(series[0], params, rolling_origins(3, 7))
    with torch.inference_mode():
        means = network.forecast(windows.batch(np.arange(3)))[..., 0].numpy()
    error = np.abs(means - np.stack([windows.future(example)[0] for example in range(3)])).mean()
    assert forecast.scores(answers, *series, chosen(forecast, series)).value() == pytest.approx(error, abs=1e-5)


def test_a_series_that_a_model_would_refuse_is_not_asked_for(tmp_path: Path) -> None:
    lines = [line for name in ("flat", "lively") for line in forecast_prepare.days(100, name)]
    lines = [line.rpartition(",")[0] + ",3" if ",flat," in line and i < 90 else line for i, line in enumerate(lines)]
    raw = forecast_prepare.csv_of(tmp_path / "raw", lines)
    folders = tmp_path / "prepared", raw
    forecast_prepare.prepared(*folders[::-1], id_column="id")
    names = forecast.examples(*folders, chosen(forecast, folders))["unique_id"].unique()
    assert [name.split()[0] for name in names] == ["flat"] + ["lively"] * 3


def test_forecasts_are_alike_within_four_weeks_of_a_series_and_of_many_within_the_series() -> None:
    few = groups(np.array([0, 0, 0, 1, 1]), np.array([28, 55, 56, 28, 29]))
    assert few.tolist() == [0, 0, 1, 2, 2]
    series = np.repeat(np.arange(30), 4)
    assert np.array_equal(groups(series, np.tile(np.arange(4) * 100, 30)), series)


def test_questions_are_always_the_same(drawings: tuple[Path, Path]) -> None:
    assert sketch.examples(*drawings, chosen(sketch, drawings, 5)).equals(
        sketch.examples(*drawings, chosen(sketch, drawings, 5))
    )


def held(task: Task, folders: tuple[Path, Path]) -> list[bool]:
    """Which of its own test examples a network of this data may have learned, by what train writes."""
    return task.model().learned(folders[0], FITTED_SPLITS).may_hold(task.comparison().identities(folders[0])).tolist()


def test_what_a_network_learned_from_holds_none_of_its_own_test_examples_and_those_of_another_split(
    drawings: tuple[Path, Path], tmp_path: Path
) -> None:
    task = Task("sketch")
    assert not any(held(task, drawings))
    other = tmp_path / "other"
    sketch_files.run(drawings[1], other, seed=7)
    store, _ = open_prepared(other)
    trained = {store.value("id", row) for split in ("train", "validation") for row in store.rows(split)}
    names = list(sketch.identities(drawings[0]).ids)
    told = task.model().learned(other, FITTED_SPLITS).may_hold(sketch.identities(drawings[0])).tolist()
    assert told == [name in trained for name in names]
    assert set(told) == {True, False}


@pytest.mark.parametrize("split_by", ["source", "target"])
def test_a_pair_is_known_by_its_text_wherever_its_line_stands(tmp_path: Path, split_by: str) -> None:
    lines = [f"source {n % 30}\ttarget {n}\n" for n in range(60)]
    for name, order in (("now", lines), ("turned", lines[::-1])):
        raw = translation_prepare.raw_lines(tmp_path / name / "raw", "".join(order).encode())
        translation_prepare.prepared(raw, tmp_path / name / "prepared", split_by=split_by)
    task, folders = Task("translation"), [tmp_path / name / "prepared" for name in ("now", "turned")]
    asked = translation.identities(folders[0])
    assert len(list(asked.ids)) > 2
    assert not task.model().learned(folders[1], FITTED_SPLITS).may_hold(asked).any()
    store, _ = open_prepared(folders[0])
    rows = store.rows("train")
    texts = [store.value("source_text", row) for row in rows]
    if split_by == "target":
        texts = [f"{text}\t{store.value('target_text', row)}" for text, row in zip(texts, rows, strict=True)]
    assert task.model().learned(folders[1], FITTED_SPLITS).may_hold(Identities(texts)).all()


def test_a_test_week_that_was_held_back_for_a_shorter_time_was_learned(series: tuple[Path, Path]) -> None:
    task = Task("forecast")
    assert held(task, series) == [False] * 3
    days = forecast.identities(series[0]).days
    assert days is not None
    first, last = days.T
    learned = Learned.of(Identities(["y"], np.array([[0, first[1] + 1]])))  # up to the second day of the second week
    assert learned.may_hold(forecast.identities(series[0])).tolist() == [True, True, False]
    assert (last - first).tolist() == [6, 6, 6]
    other = Learned.of(Identities(["x"], np.array([[0, last[2]]])))
    assert not other.may_hold(forecast.identities(series[0])).any()


@pytest.mark.parametrize(("name", "made"), [("sketch", "drawings"), ("forecast", "series")])
def test_a_network_that_was_refit_has_learned_every_test_example(
    name: str, made: str, request: pytest.FixtureRequest
) -> None:
    task, (prepared, _) = Task(name), request.getfixturevalue(made)
    assert task.model().learned(prepared, SPLITS).may_hold(task.comparison().identities(prepared)).all()


def test_drawings_of_a_generator_are_no_ones_to_learn(tmp_path: Path) -> None:
    assert Task("drawing").comparison().identities(tmp_path) is None


def test_examples_of_one_group_are_drawn_together(tmp_path: Path) -> None:
    path = tmp_path / "sequences.arrow"
    rows = [("ada", "a"), (None, "b"), ("ada", "b"), (None, "b"), ("bob", "c")]
    with SequenceWriter(path, schema({"group": pa.string()})) as writer:
        for number, (group, _) in enumerate(rows):
            writer.append({"id": str(number), "split": "test", "length": 1, "group": group})
    store, names = SequenceStore(path), [name for _, name in rows]
    alone = example_groups(store, store.rows("test"))
    assert alone[0] == alone[2]
    assert len(set(alone.tolist())) == 4
    by_name = example_groups(store, store.rows("test"), names)
    assert by_name[1] == by_name[3] != by_name[2] == by_name[0]
