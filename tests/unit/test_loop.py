import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from stages.models.batch import Batch, pad
from stages.models.network import Network
from stages.models.recurrent import RecurrentStack
from stages.params import TrainParams
from stages.training import debug_modes, distributed, inference, loop
from stages.training.optimizer import clip_gradients
from stages.training.prefetch import Prefetcher
from stages.training.progress import MAX_STEP_RECORDS, Progress, StepRecord, TrainingHistory

PARAMS = TrainParams(
    mode="full",
    start_from="",
    seed=1,
    ranks=1,
    threads=1,
    precision="float32",
    compile=False,
    epochs=4,
    batch_size=8,
    batch_tokens=0,
    accumulation_steps=1,
    learning_rate=0.05,
    weight_decay=0.0,
    warmup_fraction=0.1,
    schedule="cosine",
    plateau_factor=0.5,
    plateau_patience=2,
    max_grad_norm=1.0,
    clip_value=0.0,
    ema_decay=0.0,
    patience=4,
    choose="best",
    refit="none",
    monitor="loss",
)


class Sums:
    """Sequences of numbers; the target is their sum."""

    def __init__(self, count: int = 40, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.sequences = [
            generator.normal(size=(n, 1)).astype(np.float32) for n in generator.integers(1, 9, size=count)
        ]
        self.lengths = np.array([len(s) for s in self.sequences])

    def __len__(self) -> int:
        return len(self.sequences)

    def name(self, example: int) -> str:
        return f"sum {example}"

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        chosen = [self.sequences[i] for i in examples]
        values, lengths = pad(chosen)
        return Batch(values=values, lengths=lengths, targets=torch.tensor([float(s.sum()) for s in chosen]))


class Linear(Network):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.head(batch.values.sum(dim=1)).squeeze(1)

    def losses(self, batch: Batch):
        assert batch.targets is not None
        difference = self(batch) - batch.targets
        return {"loss": (difference.square().sum(), float(len(difference))), "accuracy": (torch.tensor(1.0), 1.0)}


def trained(params: TrainParams = PARAMS) -> tuple[Linear, TrainingHistory]:
    distributed.configure(seed=params.seed, threads=params.threads)
    network = Linear()
    return network, loop.fit(network, Sums(), Sums(seed=1), params)


def test_two_trainings_give_the_same_bits():
    one, two = trained()[0].state_dict(), trained()[0].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_batch_with_nothing_to_learn_from_moves_nothing():
    class Weightless(Linear):
        def losses(self, batch: Batch):
            weights = torch.zeros(len(batch.lengths))
            return {"loss": ((self(batch) * weights).sum(), weights.sum()), "accuracy": (torch.tensor(1.0), 1.0)}

    network = Weightless()
    before = network.head.bias.item()
    fit = loop.fit(network, Sums(), Sums(), PARAMS.model_copy(update={"monitor": "accuracy"}))
    assert network.head.bias.item() == before
    assert math.isnan(fit.epochs[0].train["loss"])


def test_training_learns():
    fit = trained(PARAMS.model_copy(update={"epochs": 20, "patience": 20}))[1]
    assert fit.epochs[-1].validation["loss"] < 0.05 * fit.epochs[0].validation["loss"]


def test_the_best_epochs_weights_come_back():
    network, fit = trained(PARAMS.model_copy(update={"learning_rate": 5.0, "epochs": 6, "patience": 6}))
    losses = [record.validation["loss"] for record in fit.epochs]
    assert fit.best_epoch == int(np.argmin(losses))
    assert inference.measure(network, Sums(seed=1), 8)["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_of_level_epochs_the_last_is_the_best():
    # `accuracy` is 1 in every epoch, as it is where validation has few examples that are easily told apart.
    network, fit = trained(PARAMS.model_copy(update={"monitor": "accuracy", "epochs": 6, "patience": 2}))
    assert (len(fit.epochs), fit.best_epoch) == (6, 5)
    last = fit.epochs[-1].validation["loss"]
    assert inference.measure(network, Sums(seed=1), 8)["loss"] == pytest.approx(last, rel=1e-6)


def test_patience_counts_the_epochs_after_the_last_that_was_as_good_as_the_best():
    progress = Progress()
    record = trained()[1].epochs[0]
    for epoch, value in enumerate((math.inf, math.nan, 3.0, 4.0, 3.0, 4.0, 5.0)):
        assert not progress.out_of_patience(3)
        progress.add_epoch(replace(record, epoch=epoch), value)
    assert progress.best_epoch == 4
    assert progress.out_of_patience(2)


def test_training_stops_when_patience_is_over():
    growing = PARAMS.model_copy(update={"learning_rate": 5.0, "schedule": "constant", "epochs": 50, "patience": 3})
    fit = trained(growing)[1]
    assert len(fit.epochs) == fit.best_epoch + 4 < 50


def test_the_last_epoch_is_kept_after_all_of_them_where_it_is_chosen():
    params = PARAMS.model_copy(update={"learning_rate": 5.0, "schedule": "constant", "epochs": 6, "patience": 1})
    assert len(trained(params)[1].epochs) < 6
    network, fit = trained(params.model_copy(update={"choose": "last"}))
    losses = [record.validation["loss"] for record in fit.epochs]
    assert (len(losses), fit.best_epoch) == (6, 5)
    assert min(losses) < losses[-1]  # so that the best one would have been another
    assert inference.measure(network, Sums(seed=1), 8)["loss"] == pytest.approx(losses[-1], rel=1e-6)


def test_a_last_epoch_without_a_finite_value_is_refused():
    class Lost(Linear):
        def losses(self, batch: Batch):
            found = super().losses(batch)
            return found if self.training else {**found, "loss": (found["loss"][0] * math.nan, found["loss"][1])}

    with pytest.raises(loop.TrainingError, match="not a finite number on the validation split after the last epoch"):
        loop.fit(Lost(), Sums(), Sums(seed=1), PARAMS.model_copy(update={"choose": "last"}))


def test_a_mean_is_taken_once_over_all_and_not_over_batches():
    network = Linear()
    whole = inference.measure(network, Sums(10), 10)["loss"]
    # Batches of 7 and 3: the mean of their means would differ.
    assert inference.measure(network, Sums(10), 7)["loss"] == pytest.approx(whole, rel=1e-6)


def test_predictions_come_in_the_datasets_order():
    network, data = Linear(), Sums(11)
    predicted = inference.predict(network, data, 4)
    with torch.inference_mode():
        expected = [network(data.batch(np.array([i]))).item() for i in range(11)]
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("bleu", r"train\.monitor: found 'bleu'; this network measures: accuracy, loss$"),
        ("gain", r"train\.monitor: 'gain': stages/metrics\.py does not say .*; this network measures: accuracy, loss$"),
    ],
)
def test_a_monitor_that_is_not_measured_or_has_no_direction_ends_the_first_step(monitor, message):
    def never(_: StepRecord) -> None:
        raise AssertionError("a step was taken for nothing")

    params = PARAMS.model_copy(update={"monitor": monitor})
    with pytest.raises(loop.TrainingError, match=message):
        loop.fit(Linear(), Sums(), Sums(seed=1), params, on_step_record=never)


def test_a_loss_that_is_not_finite_names_epoch_step_and_examples():
    data = Sums()
    data.sequences[0][:] = math.nan
    where = r"epoch 0, step \d \(step \d of all\)"
    what = r"loss is nan, not finite; first in head \(Linear\); sequences .*sum 0"
    with pytest.raises(loop.TrainingError, match=f"{where}: {what}"):
        loop.fit(Linear(), data, Sums(), PARAMS)


def test_clipping_limits_the_step():
    torch.manual_seed(0)
    free, bound = Linear(), Linear()
    bound.load_state_dict(free.state_dict())
    before = free.head.weight.item()
    one_step = {"epochs": 1, "batch_size": 40, "learning_rate": 0.1, "warmup_fraction": 0.0}
    fit = loop.fit(free, Sums(), Sums(), PARAMS.model_copy(update={**one_step, "max_grad_norm": 0.0}))
    assert fit.epochs[0].gradient_norm > 1
    loop.fit(bound, Sums(), Sums(), PARAMS.model_copy(update={**one_step, "max_grad_norm": 1e-9}))
    # Adam divides by the gradient's own size, all but its epsilon of 1e-8: a gradient below that moves little.
    assert abs(bound.head.weight.item() - before) < 0.2 * abs(free.head.weight.item() - before)


WHOLE = torch.tensor(1.0, dtype=torch.float64)


def test_clipping_by_value_cuts_large_values_and_leaves_small_ones():
    gradients = [torch.tensor([3.0, -4.0]), torch.tensor([0.1])]
    norm = clip_gradients(gradients, WHOLE, PARAMS.model_copy(update={"max_grad_norm": 0.0, "clip_value": 0.5}))
    assert norm.item() == pytest.approx(math.sqrt(25.01))
    assert gradients[0].tolist() == [0.5, -0.5]
    assert gradients[1].item() == pytest.approx(0.1)


def test_clipping_by_norm_keeps_the_direction():
    gradients = [torch.tensor([3.0, -4.0])]
    norm = clip_gradients(gradients, WHOLE, PARAMS.model_copy(update={"max_grad_norm": 1.0}))
    assert norm.item() == pytest.approx(5.0)
    torch.testing.assert_close(gradients[0], torch.tensor([0.6, -0.8]))


def test_a_gradient_is_scaled_before_it_is_clipped():
    gradients = [torch.tensor([30.0, -40.0])]
    norm = clip_gradients(gradients, WHOLE / 100, PARAMS.model_copy(update={"max_grad_norm": 1.0}))
    assert norm.item() == pytest.approx(0.5)
    torch.testing.assert_close(gradients[0], torch.tensor([0.3, -0.4]))


def weights_after(**changes: object) -> list[float]:
    network, _ = trained(PARAMS.model_copy(update={"epochs": 3, **changes}))
    return [network.head.weight.item(), network.head.bias.item()]


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_the_parts_of_a_step_change_nothing_but_rounding(parts):
    # 40 examples by 7 leave a last batch of 5: fewer than 8 parts.
    assert weights_after(accumulation_steps=parts, batch_size=7) == pytest.approx(weights_after(batch_size=7), rel=1e-5)


def test_batches_by_a_budget_of_tokens_learn_too():
    params = PARAMS.model_copy(update={"epochs": 20, "patience": 20, "batch_tokens": 30})
    _, fit = trained(params)
    assert fit.epochs[-1].validation["loss"] < 0.05 * fit.epochs[0].validation["loss"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_with_other_bits(precision):
    params = PARAMS.model_copy(update={"epochs": 20, "patience": 20, "precision": precision})
    _, fit = trained(params)
    assert fit.epochs[-1].validation["loss"] < 0.05 * fit.epochs[0].validation["loss"]
    assert weights_after(precision=precision) != weights_after()


class Exploding(Linear):
    """Its loss is finite, its gradient is not: the slope of the root at 0."""

    def losses(self, batch: Batch):
        return {"loss": ((self.head.weight * 0.0).sum().sqrt(), 1.0)}


def test_a_gradient_that_is_not_finite_names_the_weight():
    with pytest.raises(loop.TrainingError, match=r"the gradient's norm is nan, not finite; first in head\.weight"):
        loop.fit(Exploding(), Sums(), Sums(), PARAMS)


def test_float16_leaves_out_a_step_whose_scaled_gradient_overflows():
    class Steep(Linear):
        def losses(self, batch: Batch):
            return {"loss": ((self.head.weight * 1e4).sum().half().float() * 1e30, 1.0)}

    params = PARAMS.model_copy(update={"precision": "float16", "epochs": 1, "batch_size": 40})
    network = Steep()
    before = network.head.weight.item()
    loop.fit(network, Sums(), Sums(), params)
    assert network.head.weight.item() == before


def test_float16_changes_no_weight_by_a_step_whose_loss_alone_is_not_finite():
    class Lost(Linear):
        def losses(self, batch: Batch):
            found = super().losses(batch)
            return {"loss": (found["loss"][0] + math.inf, found["loss"][1])}

    network = Lost()
    before = network.head.weight.item()
    with pytest.raises(loop.TrainingError, match="loss is inf, not finite"):
        loop.fit(network, Sums(), Sums(), PARAMS.model_copy(update={"precision": "float16"}))
    assert network.head.weight.item() == before


def test_what_is_measured_and_kept_is_the_average_of_the_weights():
    distributed.configure(seed=1, threads=1)
    network = Linear()
    average, steps = network.head.weight.item(), []

    def on_step_record(record: StepRecord) -> None:
        nonlocal average
        stays = min(0.5, (1 + record.step) / (10 + record.step))
        average = stays * average + (1 - stays) * network.head.weight.item()
        steps.append(record.step)

    params = PARAMS.model_copy(update={"ema_decay": 0.5, "epochs": 3, "learning_rate": 0.01, "schedule": "constant"})
    fit = loop.fit(network, Sums(), Sums(seed=1), params, on_step_record=on_step_record)
    assert fit.best_epoch == 2  # so that the average of all steps is kept
    assert len(steps) == 15
    assert network.head.weight.item() == pytest.approx(average, rel=1e-5)
    assert inference.measure(network, Sums(seed=1), 8)["loss"] == pytest.approx(fit.epochs[2].validation["loss"])


def test_each_step_is_recorded_and_long_trainings_are_thinned():
    _, fit = trained()
    assert [s.step for s in fit.step_records] == list(range(20))
    assert fit.step_records[-1].learning_rate == fit.epochs[-1].learning_rate
    assert np.mean([s.gradient_norm for s in fit.step_records[:5]]) == pytest.approx(fit.epochs[0].gradient_norm)
    _, long = trained(PARAMS.model_copy(update={"epochs": 52, "patience": 52, "batch_size": 1}))
    assert len(long.step_records) <= MAX_STEP_RECORDS
    assert long.step_records[0].step == 2  # means of three steps


def test_modes_keep_to_their_steps_where_batches_have_a_budget():
    params = PARAMS.model_copy(update={"batch_tokens": 30})
    for mode, steps in (("overfit", debug_modes.OVERFIT_STEPS), ("smoke", 2)):
        train, validation, changed = debug_modes.apply_mode(
            Linear(), Sums(), Sums(), params.model_copy(update={"mode": mode})
        )
        fit = loop.fit(Linear(), train, validation, changed)
        assert fit.epochs[-1].steps == steps


def test_overfit_learns_one_batch_by_heart_and_smoke_takes_two_steps():
    network = Linear()
    train, validation, params = debug_modes.apply_mode(
        network, Sums(), Sums(seed=1), PARAMS.model_copy(update={"mode": "overfit", "weight_decay": 1.0})
    )
    fit = loop.fit(network, train, validation, params)
    assert len(train) == PARAMS.batch_size
    assert fit.epochs[fit.best_epoch].validation["loss"] < 1e-4
    train, validation, params = debug_modes.apply_mode(
        network, Sums(), Sums(), PARAMS.model_copy(update={"mode": "smoke"})
    )
    assert [s.step for s in loop.fit(network, train, validation, params).step_records] == [0, 1]
    assert len(validation) == 2 * PARAMS.batch_size


@pytest.mark.parametrize(("mode", "fitted"), [("full", [40]), ("smoke", [16]), ("overfit", [])])
def test_what_has_a_closed_form_is_fitted_to_what_is_learned_but_not_where_gradients_are_asked(
    mode, fitted, monkeypatch
):
    asked = []
    monkeypatch.setattr(Linear, "fit_without_gradients", lambda network, train: asked.append(len(train)))
    network, chosen = Linear(), PARAMS.model_copy(update={"mode": mode, "epochs": 1})
    train, validation, params = debug_modes.apply_mode(network, Sums(), Sums(seed=1), chosen)
    loop.fit(network, train, validation, params)
    assert asked == fitted


def test_overfit_switches_dropout_off():
    stack = RecurrentStack(1, 1, recurrent_dropout=0.5, dropout=0.5)
    attention = nn.MultiheadAttention(1, 1, dropout=0.3)
    network = nn.Sequential(nn.LSTM(1, 1, num_layers=2, dropout=0.3), stack, attention)
    debug_modes.apply_mode(network, Sums(), Sums(), PARAMS.model_copy(update={"mode": "overfit"}))
    assert network[0].dropout == attention.dropout == 0
    assert stack.dropout.p == 0
    assert stack.recurrent_dropout == 0


def test_prefetching_keeps_order_and_gives_errors_back():
    assert list(Prefetcher(lambda step: step * step, range(3, 9))) == [(s, s * s) for s in range(3, 9)]

    def make(step: int) -> int:
        if step == 2:
            raise ValueError("broken row")
        return step

    with pytest.raises(ValueError, match="broken row"):
        list(Prefetcher(make, range(10)))


def test_weight_decay_shrinks_matrices_and_leaves_biases():
    class Flat(Linear):
        def losses(self, batch: Batch):
            return {"loss": ((self.head.weight * 0.0).sum() + (self.head.bias * 0.0).sum(), 1.0)}

    network = Flat()
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    loop.fit(network, Sums(), Sums(), PARAMS.model_copy(update={"weight_decay": 0.5}))
    assert network.head.weight.abs().item() < 0.9 * before["head.weight"].abs().item()
    assert torch.equal(network.head.bias, before["head.bias"])
