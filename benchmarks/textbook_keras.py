"""The textbook's classifier in Keras, run by the Python of its own environment in turns, see `trainee.py`.

KERAS_ENVIRONMENT/bin/python textbook_keras.py DRAWINGS.npz EPOCHS
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
from keras import layers

BATCH = 32


def network(classes: int) -> keras.Model:
    """The book's network; TensorFlow runs it on all cores."""
    model = keras.Sequential(
        [
            layers.Conv1D(32, kernel_size=5, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(64, kernel_size=5, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(128, kernel_size=3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.LSTM(128, return_sequences=True),
            layers.LSTM(128),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    return model


def answer(values: dict[str, float]) -> None:
    """Say something and wait to be told to go on."""
    print(json.dumps(values), flush=True)
    if not sys.stdin.readline():
        sys.exit()


class Turns(keras.callbacks.Callback):
    """Times each epoch, the first with its tracing, and measures after it."""

    def __init__(self, values: np.ndarray, targets: np.ndarray, drawings: int) -> None:
        super().__init__()
        self._values = values
        self._targets = targets
        self._drawings = drawings

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stop the clock, measure, wait for the next turn."""
        seconds = time.perf_counter() - self._started
        loss, accuracy = self.model.evaluate(self._values, self._targets, batch_size=256, verbose=0)
        figures = {"seconds": seconds, "sequences_per_second": self._drawings / seconds}
        figures |= {"loss": logs["loss"] if logs else float("nan")}
        answer({**figures, "measured_loss": loss, "measured_accuracy": accuracy})


def main() -> None:
    """The command line."""
    with np.load(sys.argv[1]) as file:
        train, train_targets, test, test_targets = (
            file[name] for name in ("train_values", "train_targets", "test_values", "test_targets")
        )
    keras.utils.set_random_seed(1)
    model = network(int(train_targets.max()) + 1)
    model.build((None, *train.shape[1:]))
    answer({"examples": len(train), "measured": len(test), "weights": model.count_params()})
    turns = Turns(test, test_targets, len(train))
    model.fit(train, train_targets, batch_size=BATCH, epochs=int(sys.argv[2]), verbose=0, callbacks=[turns])


if __name__ == "__main__":
    main()
