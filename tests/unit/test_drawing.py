"""The task that draws: steps, losses, drawings, what the classifier says of them, the registered model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from stages import download
from stages.data.files import write_json
from stages.data.prepared import DESCRIPTION_NAME
from stages.data.store import FILE_NAME, SequenceWriter, schema
from stages.evaluation.report import Report
from stages.judge import judge as train_judge
from stages.models.batch import Batch
from stages.models.weights import save_network
from stages.params import load
from stages.params_yaml import ParamsError
from stages.serving.predictor import InvalidRows
from stages.tasks.drawing import labelled
from stages.tasks.drawing.evaluate import comparison, recognise
from stages.tasks.drawing.evaluate.baseline import StepBaseline
from stages.tasks.drawing.evaluate.evaluate import evaluate
from stages.tasks.drawing.model.canvas import DOWN, END, PIXELS, START, UP, Canvas
from stages.tasks.drawing.model.draw import draw, strokes
from stages.tasks.drawing.model.network import DrawingDecoder, build, dataset, moves
from stages.tasks.drawing.params import Params
from stages.tasks.drawing.rows import groups
from stages.tasks.drawing.serve.predictor import Predictor
from stages.tasks.protocol import Task
from stages.tasks.sketch.model.network import build as build_classifier
from stages.tasks.sketch.params import Params as SketchParams

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS = cast(Params, load(REPOSITORY / "params.yaml")["drawing"])
SMALL = {"hidden_size": 12, "mixtures": 3, "class_embedding": 4}
CLASSES = ["line", "square"]
DATA = {"classes": CLASSES, "max_points": 1000}
STEPS = np.array([[0, 0, 0], [32, 64, 1], [32, 0, 0], [0, 0, 1], [5, 5, 0], [5, 69, 1]], dtype=np.uint8)
LENGTHS = np.array([4, 2])


def network(**changes: object) -> DrawingDecoder:
    torch.manual_seed(0)
    return build(PARAMS.model.model_copy(update={**SMALL, **changes}), DATA).eval()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Forty drawings, lines and squares, in the paths of a project that stands in `tmp_path`."""
    folder = tmp_path / "data" / "sketch" / "prepared"
    folder.mkdir(parents=True)
    write_json(folder / DESCRIPTION_NAME, DATA)
    columns = {"label": pa.string(), "word": pa.string(), "values": pa.list_(pa.list_(pa.uint8(), 3))}
    with SequenceWriter(folder / FILE_NAME, schema(columns)) as writer:
        for number in range(40):
            square = number % 2
            points = [[0, 0], [255, 0], [255, 200 + number], [0, 255], [0, 0]] if square else [[number, 0], [255, 9]]
            values = [[*point, int(place == len(points) - 1)] for place, point in enumerate(points)]
            split = ["train", "train", "validation", "test"][number // 2 % 4]
            row = {"id": str(number), "split": split, "length": len(values), "label": CLASSES[square], "word": ""}
            writer.append({**row, "values": values})
    return folder


def classifier(folder: Path, classes: list[str]) -> None:
    torch.manual_seed(0)
    params = cast(SketchParams, load(REPOSITORY / "params.yaml")["sketch"]).model
    data = {"classes": classes, "max_points": 1000}
    save_network(folder, build_classifier(params, data), params, data, prepared=folder, training={})


def test_a_step_is_the_way_from_the_point_before_and_the_pen_after_it():
    assert moves(STEPS, LENGTHS).tolist() == [
        [0, 0, DOWN],
        [1, 2, UP],
        [0, -2, DOWN],
        [-1, 0, END],
        [0, 0, DOWN],
        [0, 2, END],
    ]


def batch(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(len(lengths), max(lengths), 3, generator=generator)
    values[:, 0, :2] = 0
    values[..., 2] = 0
    for row, length in enumerate(lengths):
        values[row, length - 1, 2] = END
        values[row, length:] = 0
    return Batch(values=values, lengths=torch.tensor(lengths), targets=torch.arange(len(lengths)) % len(CLASSES))


def test_padding_changes_no_loss():
    some = batch(5, 3)
    longer = torch.cat([some.values, torch.full((2, 4, 3), 1.0)], dim=1)
    padded = Batch(values=longer, lengths=some.lengths, targets=some.targets)
    for one, other in zip(network().surprise(some), network().surprise(padded), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_losses_are_sums_over_steps_that_add_up_over_drawings():
    whole = batch(5, 3)
    parts = [
        Batch(
            values=whole.values[i : i + 1, :length],
            lengths=whole.lengths[i : i + 1],
            targets=whole.targets[i : i + 1] if whole.targets is not None else None,
        )
        for i, length in enumerate([5, 3])
    ]
    for name, (total, weight) in network().losses(whole).items():
        alone = [network().losses(part)[name] for part in parts]
        assert float(weight) == sum(float(w) for _, w in alone) == 8
        assert total.item() == pytest.approx(sum(t.item() for t, _ in alone), rel=1e-5)


def test_the_first_point_has_no_offset_in_the_loss():
    some = batch(1)
    offset, pen = network().surprise(some)
    assert offset.item() == 0.0
    assert pen.item() > 0.0


def test_a_step_does_not_see_what_it_is_asked_for_or_what_follows():
    some = batch(6)
    changed = Batch(values=some.values.clone(), lengths=some.lengths, targets=some.targets)
    changed.values[:, 3:, :2] += 1.0
    before, after = network()(some), network()(changed)
    assert torch.equal(before.mean_x[:, :4], after.mean_x[:, :4])
    assert not torch.equal(before.mean_x[:, 4], after.mean_x[:, 4])


def test_the_class_reaches_every_step():
    one = batch(6)
    other = Batch(values=one.values, lengths=one.lengths, targets=torch.tensor([1]))
    assert not torch.isclose(network()(one).mean_x, network()(other).mean_x).all(dim=-1).any()


def test_a_drawing_is_made_of_the_steps_that_training_sees():
    """At temperature 0 each step is the likeliest one of the mixture that teacher forcing has there."""
    endless = network()
    with torch.no_grad():
        endless.output.bias[END] = -50.0
    (made,) = draw(endless, [1], [3], [0.0], pen_temperature=0.0, max_points=12)
    values = torch.from_numpy(moves(made, np.array([len(made)])))[None]
    forced = endless(Batch(values=values, lengths=torch.tensor([len(made)]), targets=torch.tensor([1])))
    best = forced.log_weights.argmax(dim=-1, keepdim=True)
    means = torch.cat([forced.mean_x.gather(-1, best), forced.mean_y.gather(-1, best)], dim=-1)
    assert len(made) == 12
    assert torch.equal((means[0, 1:] * PIXELS).round(), values[0, 1:, :2] * PIXELS)
    assert forced.pen.argmax(dim=-1)[0, 1:-1].tolist() == values[0, 1:-1, 2].tolist()


def test_a_drawing_depends_on_its_seed_alone_and_not_on_the_others():
    classes, seeds, heat = [0, 1] * 50, list(range(100)), [0.7] * 100
    together = draw(network(), classes, seeds, heat, pen_temperature=0.8, max_points=40)
    for place in (0, 63, 64, 99):
        (alone,) = draw(network(), [classes[place]], [seeds[place]], [0.7], pen_temperature=0.8, max_points=40)
        assert np.array_equal(alone, together[place])
    assert not np.array_equal(together[0], together[2])


def test_a_drawing_ends_and_has_at_least_two_points():
    for drawing in draw(network(), [0] * 64, range(64), [1.0] * 64, pen_temperature=1.0, max_points=7):
        assert 2 <= len(drawing) <= 7
        assert drawing[-1, 2] == 1
        assert drawing[0, :2].tolist() == [0, 0]


def test_at_temperature_zero_the_seed_decides_the_pen_alone():
    one, other = draw(network(), [1, 1], [1, 2], [0.0, 0.0], pen_temperature=0.0, max_points=20)
    assert np.array_equal(one, other)
    steady = network()
    with torch.no_grad():
        steady.output.weight[:3] = 0.0  # down, up and end are as likely at each step as at any other
        steady.output.bias[:3] = torch.log(torch.tensor([0.8, 0.15, 0.05]))
    cold, warm = (
        draw(steady, [1] * 64, range(64), [0.0] * 64, pen_temperature=pen, max_points=200) for pen in (0.0, 1.0)
    )
    assert {len(drawing) for drawing in cold} == {200}  # the likeliest is always to go on
    assert len({len(drawing) for drawing in warm}) > 10
    assert np.mean([len(drawing) for drawing in warm]) == pytest.approx(20, abs=6)  # one in twenty is the last


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_step_by_step_is_what_training_reads_at_once(seed):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.randint(-64, 64, (2, 30, 2), generator=generator) / PIXELS
    offsets[:, 0] = 0
    pen = torch.randint(DOWN, UP + 1, (2, 30), generator=generator)
    at_once = Canvas.before_each(offsets, pen).inputs()
    canvas = Canvas.empty(2, torch.device("cpu"))
    for step in range(30):
        assert torch.equal(canvas.inputs(), at_once[:, step])
        canvas = canvas.after(offsets[:, step], pen[:, step])


def test_a_canvas_worked_out_by_hand():
    """A stroke from (0, 0) to (1, 2), then one that begins at (4, -1) and goes to (3, 0)."""
    canvas = Canvas.empty(1, torch.device("cpu"))
    assert canvas.pen.item() == START
    for x, y, pen in ((0, 0, DOWN), (1, 2, UP), (3, -3, DOWN), (-1, 1, DOWN)):
        canvas = canvas.after(torch.tensor([[float(x), float(y)]]), torch.tensor([pen]))
    assert canvas.point.tolist() == [[3, 0]]
    assert canvas.begin.tolist() == [[4, -1]]
    assert (canvas.low.tolist(), canvas.high.tolist()) == ([[0, -1]], [[4, 2]])
    assert [canvas.steps.item(), canvas.steps_of_stroke.item(), canvas.strokes.item()] == [4, 1, 1]


def test_strokes_are_learned_in_the_order_that_params_say(store, monkeypatch):
    """The first of STEPS goes down and then up; sorted, its second stroke is drawn from its other end."""
    found = {}
    for order in ("drawn", "sorted"):
        model = PARAMS.model.model_copy(update={"stroke_order": order})
        drawings = dataset(store, "test", PARAMS.model_copy(update={"model": model}), augment=False)
        monkeypatch.setattr(drawings, "steps", lambda examples, epoch=None: (STEPS[:4], LENGTHS[:1]))
        found[order] = drawings.moves(np.array([0]))[0] * [PIXELS, PIXELS, 1]
    assert np.array_equal(found["drawn"], moves(STEPS[:4], LENGTHS[:1]) * [PIXELS, PIXELS, 1])
    assert found["sorted"].tolist() == [[0, 0, DOWN], [32, 64, UP], [-32, -64, DOWN], [32, 0, END]]


def test_strokes_begin_at_zero():
    drawing = np.array([[0, 0, 0], [-5, 3, 1], [7, -2, 1]])
    assert strokes(drawing) == [[[5, 0], [2, 5]], [[12], [0]]]


def test_augmentation_is_drawn_by_epoch_and_example(store):
    drawings = dataset(store, "train", PARAMS, augment=True)
    some, alone = np.arange(6), np.array([4])
    first, again, later = (drawings.batch(some, epoch=epoch).values for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    (row,) = drawings.batch(alone, epoch=0).values
    assert torch.equal(row, first[4, : len(row)])
    assert torch.equal(drawings.batch(some).values, dataset(store, "train", PARAMS, augment=False).batch(some).values)


def test_a_task_on_the_data_of_another_shares_its_paths_and_params():
    paths = Task("drawing").paths
    assert (paths.raw, paths.prepared) == (Task("sketch").paths.raw, Task("sketch").paths.prepared)
    assert paths.weights != Task("sketch").paths.weights
    whole = load(REPOSITORY / "params.yaml")
    assert whole["drawing"].source == whole["sketch"].source
    assert whole["drawing"].prepare == whole["sketch"].prepare


def test_a_task_on_the_data_of_another_has_no_blocks_for_data(tmp_path):
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("\ndrawing:\n", "\ndrawing:\n  source: {}\n"), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"drawing\.source: unknown key; drawing learns from the data of sketch"):
        load(path)
    path.write_text(re.sub(r"per_category: \d+", "per_category: x", text, count=1), encoding="utf-8")
    with pytest.raises(ParamsError) as error:
        load(path)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["sketch.source.per_category"]


def test_downloading_what_another_task_has_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no data of its own but those of sketch: `python -m stages.download sketch`"):
        download.download(Task("drawing"), PARAMS)
    assert list(tmp_path.iterdir()) == []


def test_the_baseline_knows_the_pen_before():
    """Always down after the start, up after down, and so on: two frequencies, counted with one more of each."""
    values = np.array([[0, 0, DOWN], [1, 0, END]] * 50, dtype=np.float32)
    values[1::2, 0] += np.random.default_rng(0).normal(size=50)
    lengths = np.full(50, 2)
    found = StepBaseline(values, lengths, components=1, seed=0).surprise(values, lengths)
    x = values[1::2, 0].astype(np.float64) * PIXELS
    variances = np.array([x.var() + 0.25, 0.25])
    offset = np.log(2 * np.pi) + np.log(variances).sum() / 2 + (x - x.mean()) ** 2 / (2 * variances[0])
    np.testing.assert_allclose(found, offset - 2 * np.log(51 / 53), rtol=1e-3)


def test_what_is_no_drawing_is_taken_for_nothing(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "weights" / "judge" / "sketch", CLASSES)
    dot, square = [[[3], [3]]], [[[0, 255, 255, 0], [0, 0, 255, 255]]]
    chances = recognise.recognise([dot, square, None], CLASSES)
    assert chances.sum(axis=1) == pytest.approx([0, 1, 0])
    assert recognise.taken_for(chances)[[0, 2]].tolist() == [-1, -1]
    with pytest.raises(ValueError, match="found a judge for the classes line, square; allowed: a judge for cat, dog"):
        recognise.recognise([square], ["cat", "dog"])


def test_a_judge_depends_on_its_own_block_alone():
    sketch = cast(SketchParams, load(REPOSITORY / "params.yaml")["sketch"])
    experiment = sketch.model_copy(
        update={
            "model": sketch.model.model_copy(update={"kind": "gru", "hidden_size": 8}),
            "train": sketch.train.model_copy(update={"epochs": 99, "learning_rate": 1.0}),
        }
    )
    judge = Task("sketch").judge()
    assert judge.judging(experiment).model == judge.judging(sketch).model
    assert judge.judging(experiment).train == judge.judging(sketch).train
    smaller = sketch.model_copy(update={"judge": sketch.judge.model_copy(update={"hidden_size": 8})})
    assert judge.judging(smaller).model.hidden_size == 8
    with pytest.raises(ValueError, match="video has no video/model/judge.py"):
        Task("video").judge()


def test_a_judge_is_trained_to_the_same_bits_and_its_hash_stands_in_the_signature(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "resume"))
    sketch = cast(SketchParams, load(REPOSITORY / "params.yaml")["sketch"])
    few = sketch.judge.model_copy(update={"hidden_size": 4, "epochs": 2, "batch_size": 8})
    found = []
    for _ in range(2):
        train_judge(Task("sketch"), sketch.model_copy(update={"judge": few}))
        assert recognise.recognise([[[[0, 255], [0, 9]]]], CLASSES).sum() == pytest.approx(1)
        found.append(recognise.judge_signature())
    assert found[0] == found[1]
    assert re.fullmatch(r"judge:[0-9a-f]{32}\.dir", found[0])
    assert not list((tmp_path / "resume").rglob("*.pt"))


def test_questions_ask_the_classes_in_turn_and_the_classifier_answers(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "weights" / "judge" / "sketch", CLASSES)
    asked = comparison.examples(store, store, np.arange(5))
    assert asked["label"].tolist() == ["line", "square", "line", "square", "line"]
    assert asked["seed"].tolist() == [0, 1, 2, 3, 4]
    square = json.dumps([[[0, 255, 255, 0], [0, 0, 255, 255]]])
    (taken,) = recognise.taken_for(recognise.recognise([json.loads(square)], CLASSES))
    answers = pd.DataFrame({"drawing": [square, square, square, square, None]})
    expected = sum(number % 2 == taken for number in range(4)) / 5  # what has no answer is not recognised
    assert comparison.scores(answers, store, store, np.arange(5)).value() == pytest.approx(expected)
    with pytest.raises(ValueError, match="found 1 answers to 5 examples"):
        comparison.scores(answers[:1], store, store, np.arange(5))


def test_labels_are_right_where_the_judge_takes_the_drawing_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "weights" / "judge" / "sketch", CLASSES)
    square = json.dumps([[[0, 255, 255, 0], [0, 0, 255, 255]]])
    (taken,) = recognise.taken_for(recognise.recognise([json.loads(square)], CLASSES))
    answers: list[dict[str, object]] = [
        {"drawing": square},
        {"drawing": square},
        {"drawing": square},
        {"drawing": None},
    ]
    found = labelled.scores([CLASSES[taken], CLASSES[1 - taken], "cat", CLASSES[taken]], answers, PARAMS, "recognised")
    assert found.value() == 1 / 4


def test_everything_is_measured_and_drawn(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "weights" / "judge" / "sketch", CLASSES)
    settings = {"samples_per_class": 4, "max_points": 12, "shown_temperatures": [0.5]}
    params = PARAMS.model_copy(update={"evaluate": PARAMS.evaluate.model_copy(update=settings)})
    report = Report(tmp_path / "out")
    evaluate(network(), store, params, report)
    assert report.n == 8
    assert report.metrics["baseline_unconditional_recognised"] == 0.5
    for name in ("recognised", "real_recognised", "nll", "pen_nll"):
        assert report.metrics[f"{name}_low"] <= report.metrics[name] <= report.metrics[f"{name}_high"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "calibration.csv",
        "pictures",
        "predictions.csv",
        "slices.csv",
    }
    pictures = sorted(path.stem for path in (tmp_path / "out" / "pictures").iterdir())
    assert pictures == ["calibration", "confusion", "samples", "slices"]
    shares = [part.metric for part in report.slices if part.slice == "class"]
    assert np.mean(shares) == pytest.approx(report.metrics["recognised"], abs=1e-6)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    made = network()
    params = PARAMS.model.model_copy(update=SMALL)
    save_network(tmp_path / "weights", made, params, DATA, prepared=tmp_path, training={})
    return Predictor(tmp_path / "weights")


def test_the_model_answers_in_a_form_that_the_classifier_takes(predictor):
    frame = pd.DataFrame({"label": ["line", "square", "#1"], "seed": [4, 4, 4], "temperature": [1.0, 1.0, 1.0]})
    answers = predictor.predict(frame, max_points=20)
    assert list(answers.columns) == ["drawing", "points"]
    assert answers["drawing"][0] == answers["drawing"][2] != answers["drawing"][1]
    drawing = json.loads(answers["drawing"][0])
    assert sum(len(xs) for xs, _ in drawing) == answers["points"][0] <= 20
    assert min(min(xs) for xs, _ in drawing) == min(min(ys) for _, ys in drawing) == 0


def test_columns_that_are_not_needed_have_defaults(predictor):
    bare = predictor.predict(pd.DataFrame({"label": ["line"]}))
    empty = predictor.predict(pd.DataFrame({"label": ["line"], "seed": [np.nan], "temperature": [None]}))
    full = predictor.predict(pd.DataFrame({"label": ["line"], "seed": [0], "temperature": [0.6]}))
    assert bare["drawing"][0] == empty["drawing"][0] == full["drawing"][0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"label": "cat"}, "row 0: label: found 'cat'; allowed: line, square, or #1 to #2"),
        ({"label": None}, "row 0: label: found None; allowed: line, square"),
        ({"label": "line", "seed": -1}, "row 0: seed: found -1; allowed: a whole number from 0 to"),
        ({"label": "line", "seed": 0.5}, "row 0: seed: found 0.5; allowed: a whole number from 0 to"),
        ({"label": "line", "temperature": 3.0}, "row 0: temperature: found 3.0; allowed: a number from 0 to 2"),
        ({"label": "line", "temperature": "hot"}, "row 0: temperature: found 'hot'; allowed: a number from 0 to 2"),
    ],
)
def test_a_bad_row_is_told_what_is_allowed(predictor, row, said):
    with pytest.raises(InvalidRows) as error:
        predictor.predict(pd.DataFrame([row], dtype=object))
    assert said in str(error.value)


@pytest.mark.parametrize("most", [1, 1001, True, 2.5, 10**9])
def test_the_length_of_a_drawing_is_bounded(predictor, most):
    with pytest.raises(ValueError, match="max_points: found .*; allowed: a whole number from 2 to 1000"):
        predictor.predict(pd.DataFrame({"label": ["line"]}), max_points=most)


def test_the_pen_has_a_temperature_of_its_own(predictor):
    frame = pd.DataFrame({"label": ["line"] * 20, "seed": range(20), "temperature": [0.0] * 20})
    default = predictor.predict(frame)
    assert default.equals(predictor.predict(frame, pen_temperature=0.7))
    assert not default.equals(predictor.predict(frame, pen_temperature=0.0))
    with pytest.raises(ValueError, match=r"pen_temperature: found 2.5; allowed: a number from 0 to 2"):
        predictor.predict(frame, pen_temperature=2.5)


def test_rows_without_a_temperature_have_the_one_of_the_params(predictor):
    frame = pd.DataFrame({"label": ["line"] * 20, "seed": range(20)})
    usual, hot = predictor.predict(frame), predictor.predict(frame, temperature=1.5)
    assert usual.equals(predictor.predict(frame, temperature=0.6))
    assert not usual.equals(hot)
    named = frame.assign(temperature=1.5)
    assert hot.equals(predictor.predict(named))
    assert hot.equals(predictor.predict(named, temperature=0.2))  # a row's own goes before
    with pytest.raises(ValueError, match=r"temperature: found 3; allowed: a number from 0 to 2"):
        predictor.predict(frame, temperature=3)


def test_rows_from_a_file(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("face\n\nalarm clock\t0.8\npig\t\t7\npig\tx\n", encoding="utf-8")
    rows = [row for (row,) in groups(str(file))]
    assert [(r["number"], r["label"], r["temperature"], r["seed"]) for r in rows] == [
        (1, "face", None, 1),
        (3, "alarm clock", 0.8, 3),
        (4, "pig", None, 7),
        (5, "pig", None, 5),
    ]
    assert "allowed: a label, a temperature and a seed" in rows[3]["error"]
    assert not any("error" in row for row in rows[:3])
