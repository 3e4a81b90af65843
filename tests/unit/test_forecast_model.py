"""Windows, scaling, splits by time, the network's quantiles: no input knows the future."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.models.batch import Batch
from stages.preprocessing.preparation import Preparation
from stages.tasks.forecast.evaluate import scores
from stages.tasks.forecast.evaluate.baselines import naive, seasonal_naive
from stages.tasks.forecast.model.covariates import Covariates
from stages.tasks.forecast.model.decoders import CausalConvolution
from stages.tasks.forecast.model.network import ascending, build
from stages.tasks.forecast.model.windows import (
    History,
    Windows,
    origins_of,
    rolling_origins,
    test_origins,
    train_origins,
    validation_origins,
)
from stages.tasks.forecast.params import ModelParams, PrepareParams
from stages.tasks.forecast.prepare.prepare import prepare

test_origins.__test__ = False  # type: ignore[attr-defined]  # its name is no test's
LENGTH, TEST, VALIDATION = 120, 21, 14


def test_the_windows_of_all_splits_are_those_of_each_and_those_across_their_borders():
    for split, origins in {"train": train_origins, "validation": validation_origins, "test": test_origins}.items():
        assert origins_of(split)(80, 100, 120) == origins(80, 100, 120)
    assert origins_of(("train", "validation", "test"))(80, 100, 120) == range(14, 114)
    assert origins_of(("train", "validation"))(80, 100, 120) == range(14, 94)


def model_params(**values: Any) -> ModelParams:
    defaults = {
        "kind": "gru",
        "decoding": "direct",
        "blend": "none",
        "members": 2,
        "hidden_size": 4,
        "layers": 1,
        "channels": 3,
        "kernel_size": 3,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "layer_norm": False,
        "truncation": 0,
        "context_days": 28,
        "scaling": "window",
        "scale_days": 56,
        "covariates": ["day_of_week", "day_of_year"],
        "holiday_days": 1,
        "last_year": False,
        "linear": "learned",
        "dates": False,
        "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95],
    }
    return ModelParams(**{**defaults, **values})


def prepared(folder: Path, values: np.ndarray) -> Path:
    raw = folder / "raw"
    raw.mkdir(parents=True)
    lines = [f"{date(2020, 1, 1) + timedelta(i)},{v}" for i, v in enumerate(values) if not np.isnan(v)]
    (raw / "series.csv").write_text("\n".join(["date,y", *lines]))
    params = PrepareParams(
        encoding="auto",
        delimiter=",",
        decimal=".",
        thousands="",
        date_columns=["date"],
        date_format="%Y-%m-%d",
        value_columns=["y"],
        id_column="",
        known_columns=[],
        past_columns=[],
        holidays="",
        duplicates="refuse",
        max_gap_days=28,
        validation_days=VALIDATION,
        test_days=TEST,
        max_rejected_share=0.0,
    )
    with Preparation(folder / "prepared", max_rejected_share=0.0) as output:
        prepare(raw, params, output)
    return folder / "prepared"


def wave(length: int = LENGTH) -> np.ndarray:
    return 50.0 + 10.0 * np.sin(np.arange(length)) + np.arange(length) * 0.1


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    context = {k: v for k, v in batch.context.items() if k != "weights"}
    return {"values": batch.values, "lengths": batch.lengths, **context}


def test_changing_any_value_after_the_origin_changes_no_input(tmp_path: Path) -> None:
    values = wave()
    before = Windows(prepared(tmp_path / "a", values), model_params(), test_origins)
    example = np.array([3])
    _, origin = before.locate(3)
    changed = values.copy()
    changed[origin:] = np.linspace(-1e6, 1e6, LENGTH - origin)
    after = Windows(prepared(tmp_path / "b", changed), model_params(), test_origins)
    one, other = tensors(before.batch(example)), tensors(after.batch(example))
    assert all(torch.equal(one[name], other[name]) for name in one)
    changed[origin - 1] += 1.0  # and the last value before it does
    last = Windows(prepared(tmp_path / "c", changed), model_params(), test_origins)
    assert not torch.equal(one["values"], last.batch(example).values)


def test_splits_are_by_time_and_share_no_target() -> None:
    borders = (85, 99, 120)  # train_end, validation_end, length
    train, validation, held_out = (f(*borders) for f in (train_origins, validation_origins, test_origins))
    assert (train[0], train[-1] + 7) == (14, 85)
    assert (validation[0], validation[-1] + 7) == (85, 99)
    assert (held_out[0], held_out[-1] + 7) == (99, 120)


def test_weekly_origins_are_counted_back_from_the_end() -> None:
    assert list(rolling_origins(51, 7)(85, 99, 120)) == [99, 106, 113]
    assert list(rolling_origins(2, 7)(85, 99, 120)) == [106, 113]
    assert len(rolling_origins(51, 7)(914, 1096, 1461)) == 51


def test_scaling_is_of_the_past_and_reversible(tmp_path: Path) -> None:
    values = wave()
    windows = Windows(prepared(tmp_path, values), model_params(scale_days=20), train_origins)
    batch = windows.batch(np.array([30]))
    origin = windows.locate(30)[1]
    assert origin == 44
    assert batch.context["location"].item() == pytest.approx(values[24:44].mean())
    assert batch.context["scale"].item() == pytest.approx(values[24:44].std())
    assert batch.targets is not None
    back = batch.targets.double() * batch.context["scale"] + batch.context["location"]
    assert np.allclose(back.numpy(), values[44:51], atol=1e-4)


def test_with_scaling_a_network_sees_no_unit_and_without_it_does(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    folders = prepared(tmp_path / "small", wave()), prepared(tmp_path / "large", 1000 * wave())

    def inputs(scaling: str) -> list[torch.Tensor]:
        windows = (Windows(folder, model_params(scaling=scaling), train_origins) for folder in folders)
        return [w.batch(np.array([30])).values[..., 0] for w in windows]

    small, large = inputs("window")
    torch.testing.assert_close(small, large)
    small, large = inputs("none")
    torch.testing.assert_close(1000 * small, large)


def test_a_window_is_cut_from_the_store_without_a_copy(tmp_path: Path) -> None:
    windows = Windows(prepared(tmp_path, wave()), model_params(), train_origins)
    assert np.shares_memory(windows.history(5).values, windows.store.sequence("values", 0))


def test_filled_days_are_no_targets(tmp_path: Path) -> None:
    values = wave()
    values[50] = np.nan
    windows = Windows(prepared(tmp_path, values), model_params(), train_origins)
    example = next(i for i in range(len(windows)) if windows.locate(i)[1] == 48)
    batch = windows.batch(np.array([example]))
    assert batch.context["weights"].tolist() == [[1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]]
    network = build(model_params(), {})
    assert batch.targets is not None
    losses = network.losses(batch)
    batch.targets[0, 2] = 1e6
    assert torch.equal(network.losses(batch)["loss"][0], losses["loss"][0])
    assert losses["loss"][1] == 6


def test_the_calendar_of_known_days() -> None:
    days = np.array([0, 365, 365 + 365 + 59])  # Thursday 1 January 1970, Friday 1 January 1971, 29 February 1972
    covariates = Covariates(model_params(), {})
    found = covariates.calendar(days)
    assert found.shape == (3, covariates.known) == (3, 11)
    assert found[:, :7].argmax(axis=1).tolist() == [3, 4, 1]
    assert found[0, 7:].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert found[2, 7] == pytest.approx(np.sin(2 * np.pi * 59 / 365.25))


@pytest.mark.parametrize("decoding", ["direct", "recursive"])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "conv_gru", "seq2seq"])
def test_padding_of_a_short_history_changes_no_forecast(kind: str, decoding: str) -> None:
    torch.manual_seed(1)
    network = build(model_params(kind=kind, decoding=decoding, layers=2, last_year=True), {}).eval()
    for member in network.members:
        torch.nn.init.normal_(member.linear.past, std=0.1)  # type: ignore[union-attr, arg-type]
    short, long = History(wave(15), 100), History(wave(60), 200)
    alone = network.forecast(network.features.encode([short]))
    beside = network.forecast(network.features.encode([short, long]))
    assert torch.allclose(alone[0], beside[0], rtol=0, atol=1e-4)


def test_a_convolution_looks_back_only() -> None:
    layer = CausalConvolution(2, 3, 4)
    values = torch.randn(1, 10, 2)
    changed = values.clone()
    changed[:, 6:] = 9.0
    assert torch.equal(layer(values)[:, :6], layer(changed)[:, :6])
    assert layer(values).shape == (1, 10, 3)


def test_quantiles_ascend_whatever_the_head_says() -> None:
    found = ascending(torch.tensor([[5.0, 0.0, -3.0, 2.0, -9.0]]), middle=2)
    assert found[0, 2] == -3.0
    assert (found.diff() > 0).all()


def test_the_pinball_loss_by_hand() -> None:
    network = build(model_params(quantiles=[0.05, 0.5, 0.95]), {})
    forecast = torch.tensor([-1.0, 0.0, 2.0]).expand(1, 7, 3)
    # target 1: 0.05·2, 0.5·1, 0.05·1, twice the mean of them
    assert network._pinball(forecast, torch.ones(1, 7))[0, 0].item() == pytest.approx(2 * 0.65 / 3)


def test_the_mean_lies_under_the_quantile_function() -> None:
    network = build(model_params(quantiles=[0.05, 0.5, 0.95]), {})
    network.forward = lambda batch: torch.tensor([-1.0, 0.0, 2.0]).expand(1, 7, 3)  # type: ignore[method-assign]
    context = {"location": torch.tensor([[10.0]]).double(), "scale": torch.tensor([[2.0]]).double()}
    batch = Batch(values=torch.zeros(1, 14, 1), lengths=torch.tensor([14]), context=context)
    # 0.05·(-1) + 0.45·(-0.5) + 0.45·1 + 0.05·2 = 0.275, then 10 + 2 · 0.275
    assert network.forecast(batch)[0, 0].tolist() == pytest.approx([10.55, 8.0, 10.0, 14.0])


def test_the_baselines_repeat_the_last_day_and_the_last_week() -> None:
    past = np.arange(20.0)
    assert naive(past).tolist() == [19.0] * 7
    assert seasonal_naive(past).tolist() == [13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]


def test_scores_by_hand_without_days_that_were_not_observed() -> None:
    forecast = np.array([[1.0, 8.0, 99.0]])
    actuals = scores.Actuals(
        values=np.array([[2.0, 4.0, 0.0]]),
        observed=np.array([[True, True, False]]),
        days=np.arange(3)[None],
        series=np.zeros(1, dtype=int),
        groups=np.zeros(1, dtype=int),
        scales=np.array([2.0]),
    )
    assert actuals.errors(forecast)[0].tolist() == pytest.approx([1, 4, np.nan], nan_ok=True)
    assert scores.mean_error(actuals.errors(forecast)) == 2.5
    quantiles = np.stack([forecast - 1, forecast, forecast + 1], axis=-1)
    found = {name: s.value() for name, s in scores.all_scores(actuals, forecast, quantiles, [0.05, 0.5, 0.95]).items()}
    assert (found["mae"], found["mase"], found["rmse"]) == pytest.approx((2.5, 1.25, 8.5**0.5))
    assert found["smape"] == pytest.approx((200 / 3 + 200 * 4 / 12) / 2)
    assert found["coverage_90"] == 0.5  # 2 lies on the border of 0 to 2, 4 below 7 to 9
    # level 0.05: (0.05·2 + 0.95·3)·2 = 5.9; 0.5: (0.5·1 + 0.5·4)·2 = 5; 0.95: (0 + 0.05·5)·2 = 0.5; divided by 6
    assert found["wql"] == pytest.approx((5.9 + 5 + 0.5) / 3 / 6)


def test_mase_divides_by_the_error_of_repeating_a_week() -> None:
    values = np.concatenate([np.zeros(7), np.full(7, 3.0), np.full(7, 4.0)])
    assert scores.naive_scale(values, np.ones(21, dtype=bool)) == 2.0
    assert np.isnan(scores.naive_scale(np.tile(np.arange(7.0), 3), np.ones(21, dtype=bool)))
