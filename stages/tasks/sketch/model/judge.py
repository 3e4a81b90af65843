"""The judge: a classifier by which the drawings of others are measured.

It is the network of this task with a shape and a training that are fixed here, but for what `sketch.judge` says. So no
experiment with the classifier moves what a generator of drawings is measured by.
"""

from __future__ import annotations

from ....params import TrainParams
from ..params import AugmentationParams, JudgeParams, ModelParams, Params


def judging(params: Params) -> Params:
    """The params of the judge's network and training, in place of the classifier's."""
    judge = params.judge
    return params.model_copy(update={"model": _network(judge), "train": _training(judge)})


def _network(judge: JudgeParams) -> ModelParams:
    return ModelParams(
        kind="conv_lstm",
        features=["offset", "position", "pen"],
        conv_channels=[48, 96, 128],
        conv_strides=[1, 2, 2],
        kernel_size=5,
        cell="lstm",
        hidden_size=judge.hidden_size,
        layers=1,
        heads=1,
        dropout=judge.dropout,
        recurrent_dropout=0.0,
        layer_norm=False,
        label_smoothing=0.05,
        augmentation=AugmentationParams(
            rotation=15.0,
            scale=0.1,
            shear=0.05,
            jitter=1.0,
            mirror=0.5,
            never_mirrored=[],
            break_off=0.0,
            drop_points=0.0,
            drop_strokes=0.0,
            reverse_strokes=0.0,
            shuffle_strokes=0.0,
        ),
    )


def _training(judge: JudgeParams) -> TrainParams:
    return TrainParams(
        mode="full",
        start_from="",
        seed=judge.seed,
        ranks=judge.ranks,
        threads=judge.threads,
        precision="float32",
        compile=False,
        epochs=judge.epochs,
        batch_size=judge.batch_size,
        batch_tokens=0,
        accumulation_steps=1,
        learning_rate=judge.learning_rate,
        weight_decay=0.01,
        warmup_fraction=0.05,
        schedule="cosine",
        plateau_factor=0.5,
        plateau_patience=2,
        max_grad_norm=1.0,
        clip_value=0.0,
        ema_decay=0.0,
        patience=judge.epochs,
        choose="best",
        refit="none",
        monitor="loss",
    )
