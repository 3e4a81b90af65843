"""How likely test drawings are to the network, and how often the judge recognises what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from ....data.evenly import evenly
from ....evaluation.bootstrap import Scores, mean, ratio
from ....evaluation.calibration import calibration_figure, expected_calibration_error, reliability_bins
from ....evaluation.classification import confusion_figure
from ....evaluation.report import Report
from ....evaluation.slices import metric_by_slice, slices_figure
from ....progress_bar import busy
from ....training.distributed import device
from ....training.inference import evaluating, map_batches
from ..model.draw import BATCH_SIZE, draw, strokes
from ..model.network import DrawingDataset, DrawingDecoder, dataset
from ..params import EvaluateParams, Params
from .baseline import StepBaseline
from .pictures import EACH, MOST_CLASSES, samples_figure
from .recognise import judge_signature, recognise, taken_for

_BASELINE_DRAWINGS = 2_000  # that the baseline is fitted to
NO_DRAWING = "no drawing"  # what a sample without an extent is taken for


def evaluate(network: DrawingDecoder, folder: Path, params: Params, report: Report) -> None:
    """`recognised`, the share of drawings of each class, `samples_per_class` of them at `temperature`, that the
    judge takes for that class; `real_recognised`, the same of the test drawings, which is about the most there is
    to reach; `nll` and `pen_nll`, the negative log-likelihood of the test drawings a step.

    The baselines: a generator that does not look at the class is recognised in one of the classes' number at the most,
    were its drawings perfect; `StepBaseline` for the likelihood.
    """
    settings = params.evaluate
    test = dataset(folder, "test", params, augment=False)
    classes = test.classes
    actual = np.repeat(np.arange(len(classes)), settings.samples_per_class)
    seeds = settings.seed + np.arange(len(actual))
    drawings = sampled(network, actual, seeds, settings.temperature, settings)
    probabilities = recognise([strokes(drawing) for drawing in drawings], classes)
    predicted = taken_for(probabilities)
    recognised = mean(predicted == actual)
    real = [test.steps(np.array([example]))[0].astype(np.int64) for example in range(len(test))]
    real_predicted = taken_for(recognise([strokes(steps) for steps in real], classes))
    report.split = "drawn"
    report.add_metrics({"baseline_unconditional_recognised": 1 / len(classes)}, n=len(actual))
    report.add_scores({"recognised": recognised, "real_recognised": mean(real_predicted == test.targets)})
    report.add_signatures({"recognised": judge_signature()})
    _report_likelihood(network, test, folder, params, report)

    names = [*classes, NO_DRAWING]  # the last one has number -1
    report.write_predictions(
        [names[number] for number in actual], [names[number] for number in predicted], seed=seeds.tolist()
    )
    shown = names if (predicted < 0).any() else classes
    counts = confusion_matrix(actual, predicted % len(names), labels=np.arange(len(shown)))
    report.save_figure("confusion", confusion_figure(counts, shown))
    parts = metric_by_slice(recognised, "class", actual, classes, higher_is_better=True)
    unended = np.array([int(len(drawing) >= settings.max_points) for drawing in drawings])
    values = ["yes", f"no, cut at {settings.max_points} points"]
    parts += metric_by_slice(recognised, "ended by itself", unended, values, higher_is_better=True)
    report.write_slices(parts)
    report.save_figure("slices", slices_figure(parts, recognised.value(), "recognised", highest=1.0))
    _report_samples(network, test, real, settings, report)


def sampled(
    network: DrawingDecoder, classes: np.ndarray, seeds: np.ndarray, temperature: float, settings: EvaluateParams
) -> list[np.ndarray]:
    """A drawing `(points, 3)` for each class number and seed, `(drawings,)`, by all ranks together."""

    def draw_batch(examples: np.ndarray) -> list[np.ndarray]:
        return draw(
            network,
            classes[examples].tolist(),
            seeds[examples].tolist(),
            [temperature] * len(examples),
            pen_temperature=settings.pen_temperature,
            max_points=settings.max_points,
        )

    with evaluating(network):
        parts = map_batches(np.ones(len(classes), dtype=np.int64), BATCH_SIZE, draw_batch, title="draw")
    by_example: dict[int, np.ndarray] = {}
    for examples, drawings in parts:
        by_example.update(zip(examples.tolist(), drawings, strict=True))
    return [by_example[example] for example in range(len(classes))]


def _report_likelihood(
    network: DrawingDecoder, test: DrawingDataset, folder: Path, params: Params, report: Report
) -> None:
    """Likelihoods of the test drawings, and whether the pen does what the network says as often as it says."""

    def measure_batch(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batch = test.batch(examples).to(device())
        offset, pen = network.surprise(batch)
        chances = network(batch).pen.exp()[batch.mask]
        right = chances.argmax(dim=-1) == batch.values[..., 2][batch.mask]
        sums = np.stack([offset.double().cpu().numpy(), pen.double().cpu().numpy()], axis=1)
        return sums, chances.amax(dim=-1).double().cpu().numpy(), right.cpu().numpy()

    with evaluating(network):
        parts = map_batches(test.lengths, params.evaluate.batch_size, measure_batch, title="likelihood")
    sums = np.empty((len(test), 2))
    for examples, (some, _, _) in parts:
        sums[examples] = some
    steps = test.lengths.astype(np.float64)
    report.add_scores({"nll": _a_step(sums.sum(axis=1), steps), "pen_nll": _a_step(sums[:, 1], steps)})
    train = dataset(folder, "train", params, augment=False)
    known, lengths = train.moves(evenly(len(train), _BASELINE_DRAWINGS))
    components, seed = params.model.mixtures, params.evaluate.seed
    with busy("baseline steps"):
        baseline = StepBaseline(known, lengths, components=components, seed=seed)
        baseline_nll = _a_step(baseline.surprise(*test.moves(np.arange(len(test)))), steps)
    report.add_metrics({"baseline_steps_nll": baseline_nll.value()})

    calibrated = reliability_bins(
        np.concatenate([chances for _, (_, chances, _) in parts]), np.concatenate([right for _, (_, _, right) in parts])
    )
    report.write_calibration(calibrated)
    report.add_metrics({"ece": expected_calibration_error(calibrated)})
    figure = calibration_figure(
        calibrated,
        expected="probability of the likeliest pen state",
        observed="steps at which it came so",
        title=f"Expected calibration error {report.metrics['ece']:.3f} on {int(steps.sum()):,} steps of test drawings",
    )
    report.save_figure("calibration", figure)


def _a_step(values: np.ndarray, steps: np.ndarray) -> Scores:
    return Scores(statistics=np.column_stack([values, steps]), groups=np.arange(len(values)), metric=ratio)


def _report_samples(
    network: DrawingDecoder,
    test: DrawingDataset,
    real: list[np.ndarray],
    settings: EvaluateParams,
    report: Report,
) -> None:
    """A picture of drawings at each of the shown temperatures, real ones beside them."""
    chosen = evenly(len(test.classes), MOST_CLASSES)
    examples = [np.flatnonzero(test.targets == number) for number in chosen]
    groups = {"of the test split": [[real[e] for e in some[evenly(len(some), EACH)]] for some in examples]}
    drawn_classes = np.repeat(chosen, EACH)
    seeds = settings.seed + np.arange(len(drawn_classes))
    for temperature in settings.shown_temperatures:
        drawn = sampled(network, drawn_classes, seeds, temperature, settings)
        groups[f"temperature {temperature:g}"] = [drawn[EACH * row : EACH * (row + 1)] for row in range(len(chosen))]
    report.save_figure("samples", samples_figure(groups, [test.classes[number] for number in chosen]))
