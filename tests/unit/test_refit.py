"""The network that is served learns again from all data: for how long, how fast, and what becomes of a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stages.params import TrainParams
from stages.paths import network_folder
from stages.registry import verify
from stages.serving.pyfunc import ServedModel
from stages.training import distributed, learning_curve, loop
from stages.training.checkpoint import Checkpoints
from stages.training.progress import TrainingHistory
from tests.unit.test_loop import PARAMS, Sums
from tests.unit.test_resume import Killed, Noisy, interruptions

MEASURED, ALL = 36, 60  # examples: 5 and 8 steps an epoch
SHORT = PARAMS.model_copy(update={"epochs": 4, "patience": 4})
Trained = tuple[dict[str, torch.Tensor], TrainingHistory, TrainingHistory]


def trained(
    folder: Path | None = None,
    params: TrainParams = SHORT,
    stop_after: int | None = None,
    kill_after: int | None = None,
) -> Trained:
    """Both trainings; the weights of the second. Stopped or killed after so many steps of this process."""

    def states(name: str) -> Checkpoints | None:
        return Checkpoints(folder / name, seconds=1e9, steps=3) if folder else None

    def fresh() -> Noisy:
        distributed.configure(seed=params.seed, threads=1)
        return Noisy()

    hooks = interruptions(stop_after, kill_after)  # over both: their steps are numbered on
    measured = loop.fit(fresh(), Sums(MEASURED), Sums(12, seed=1), params, checkpoints=states("measured"), **hooks)
    served = fresh()
    refit = loop.refit(served, Sums(ALL, seed=2), params, measured, checkpoints=states("refit"), **hooks)
    return served.state_dict(), measured, refit


def same(one: Trained, other: Trained) -> bool:
    def timeless(history: TrainingHistory) -> TrainingHistory:
        epochs = (replace(e, seconds=0.0, sequences_per_second=0.0, data_wait_share=0.0) for e in history.epochs)
        return replace(history, epochs=tuple(epochs))

    bits = all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    return bits and [*map(timeless, one[1:])] == [*map(timeless, other[1:])]


@pytest.fixture(scope="module")
def whole() -> Trained:
    """Both trainings, never stopped."""
    return trained()


def history(best_epoch: int, monitored: tuple[float, ...]) -> TrainingHistory:
    """An earlier training with these monitored values."""
    _, measured, _ = trained(params=SHORT.model_copy(update={"epochs": len(monitored)}))
    return replace(measured, monitored=monitored, best_epoch=best_epoch)


@pytest.mark.parametrize("best_epoch", [0, 1, 3])
def test_it_makes_as_many_passes_as_the_best_epoch_had(best_epoch: int) -> None:
    measured = history(best_epoch, (4.0, 3.0, 2.0, 1.0))
    refit = loop.refit(Noisy(), Sums(ALL, seed=2), SHORT, measured)
    assert (len(refit.epochs), refit.best_epoch) == (best_epoch + 1, best_epoch)
    assert len(refit.step_records) == 8 * (best_epoch + 1)
    assert refit.step_records[0].step == measured.epochs[-1].steps == 20
    assert refit.epochs[-1].steps == 20 + 8 * (best_epoch + 1)
    assert not refit.epochs[0].validation


def test_its_learning_rate_takes_the_same_course_over_more_steps() -> None:
    _, measured, refit = trained(params=SHORT.model_copy(update={"schedule": "cosine", "warmup_fraction": 0.25}))
    rates = [[record.learning_rate for record in some.step_records] for some in (measured, refit)]
    places = [np.arange(1, len(some) + 1) / steps for some, steps in zip(rates, (20, 32), strict=True)]
    assert np.abs(rates[1] - np.interp(places[1], places[0], rates[0])).max() < 0.1 * SHORT.learning_rate
    assert rates[1][7] == pytest.approx(SHORT.learning_rate)  # both have risen when the first epoch is over
    assert rates[0][4] == pytest.approx(SHORT.learning_rate)


def test_a_plateau_is_where_it_was() -> None:
    params = SHORT.model_copy(update={"schedule": "plateau", "plateau_patience": 1, "warmup_fraction": 0.0})
    refit = loop.refit(Noisy(), Sums(ALL, seed=2), params, history(3, (2.0, 3.0, 4.0, 1.0)))
    rates = [epoch.learning_rate / params.learning_rate for epoch in refit.epochs]
    factor = params.plateau_factor
    assert rates == pytest.approx([1.0, 1.0, factor, factor**2])


@pytest.mark.parametrize("share", np.linspace(0, 1, 12).tolist())
def test_asked_to_stop_in_either_training(tmp_path: Path, whole: Trained, share: float) -> None:
    steps = whole[2].epochs[-1].steps
    with pytest.raises(loop.Stopped):
        trained(tmp_path, stop_after=round(1 + share * (steps - 1)))
    assert same(trained(tmp_path), whole)


@pytest.mark.parametrize("step", [4, 19, 20, 21, 22, 28, 30])
def test_killed_in_either_training(tmp_path: Path, whole: Trained, step: int) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, kill_after=step)
    assert same(trained(tmp_path), whole)


def test_who_goes_on_with_the_refit_repeats_nothing_of_the_training_before(tmp_path: Path) -> None:
    with pytest.raises(loop.Stopped):
        trained(tmp_path, stop_after=26)
    assert Checkpoints(tmp_path / "refit", seconds=1e9).steps() == 26  # numbered on
    reported: list[int] = []
    loop.fit(
        Noisy(),
        Sums(MEASURED),
        Sums(12, seed=1),
        SHORT,
        checkpoints=Checkpoints(tmp_path / "measured", seconds=1e9),
        on_step_record=lambda record: reported.append(record.step),
    )
    assert reported == []


def test_a_training_that_ran_out_of_patience_is_not_continued(tmp_path: Path) -> None:
    params = SHORT.model_copy(update={"epochs": 9, "patience": 1, "learning_rate": 5.0, "schedule": "constant"})
    before = trained(tmp_path, params)
    assert len(before[1].epochs) < 9
    assert same(trained(tmp_path, params), before)


def test_both_trainings_stand_in_the_curves(tmp_path: Path) -> None:
    _, measured, refit = trained()
    measured = replace(measured, best_epoch=1)
    refit = replace(refit, epochs=refit.epochs[:2])
    path = tmp_path / "training.csv"
    learning_curve.write(path, learning_curve.epoch_rows(measured, refit))
    rows = learning_curve.read(path)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert ["refit_train_loss" in row for row in rows] == [True, True, False, False]
    assert all("validation_loss" in row for row in rows)
    steps = learning_curve.step_rows(measured, refit)
    assert [row["step"] for row in steps] == list(range(len(steps)))
    assert [row["refit"] for row in steps] == [0] * 20 + [1] * (len(steps) - 20)
    assert "refit" not in learning_curve.step_rows(measured, None)[0]


def test_a_folder_of_weights_names_who_is_measured_and_who_answers(tmp_path: Path) -> None:
    assert network_folder(tmp_path) == network_folder(tmp_path, "measured") == tmp_path  # of older code
    assert verify.networks(tmp_path) == ""
    (tmp_path / "measured").mkdir()
    assert network_folder(tmp_path) == network_folder(tmp_path, "measured") == tmp_path / "measured"
    (tmp_path / "served").mkdir()
    assert network_folder(tmp_path) == tmp_path / "served"
    assert network_folder(tmp_path, "measured") == tmp_path / "measured"
    assert verify.networks(tmp_path) == "measured and served"


@pytest.mark.parametrize(
    ("config", "answers"),
    [(None, "served"), ({"network": "served"}, "served"), ({"network": "measured"}, "measured")],
)
def test_a_model_answers_with_the_served_network_unless_the_measured_one_is_asked_for(
    tmp_path: Path, config: dict[str, str] | None, answers: str
) -> None:
    class Named:
        def __init__(self, folder: Path) -> None:
            self.name = folder.name

        def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"name": [self.name]})

    for name in ("measured", "served"):
        (tmp_path / name).mkdir()
    model = ServedModel(Named)  # type: ignore[arg-type]
    context: Any = SimpleNamespace(artifacts={"weights": str(tmp_path)}, model_config=config)
    model.load_context(context)
    assert model.predict(context, pd.DataFrame({"x": [1]}))["name"].tolist() == [answers]
