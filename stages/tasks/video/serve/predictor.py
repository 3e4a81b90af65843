"""The registered video classifier: paths or addresses of clips in, classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ....models.batch import Batch, by_length, pad
from ....models.classification import ranked
from ....models.weights import load_network
from ....serving import predictor
from ....serving.predictor import Item, Row, as_flag, shown
from ..data.columns import ENCODER_NAME
from ..data.decode import Decoding, read_clip
from ..data.efficientnet import FrameEncoder
from ..model.network import build
from ..params import ModelParams
from .local_copy import local_copy

_BATCH_SIZE = 16
_OVER_TIME = "probabilities_over_time"


class Predictor(predictor.Predictor):
    """Decodes clips as the preprocess stage did, encodes their frames if it did, and names their classes.

    With `over_time` also what is said to its first frame alone, to its first two, and so on to all of them, of those
    frames that are read of it: a list of the probabilities of `top5_labels`, in their order, for each.
    """

    inputs: ClassVar[Mapping[str, str]] = {"path": "string"}
    outputs: ClassVar[Mapping[str, str]] = {
        "label": "string",
        "probability": "double",
        "top5_labels": "strings",
        "top5_probabilities": "doubles",
    }
    optional_outputs: ClassVar[Mapping[str, str]] = {_OVER_TIME: "lists of doubles"}
    options: ClassVar[Mapping[str, bool | int | float | str]] = {"over_time": False}
    chunk_size: ClassVar[int] = 128  # a clip is half a megabyte and more
    requirements: ClassVar[Sequence[str]] = ("aiohttp", "av", "fsspec")

    def __init__(self, folder: Path) -> None:
        self._network, data = load_network(folder, build, ModelParams)
        self._classes: list[str] = data["classes"]
        self._decoding = Decoding(**data["decoding"])
        self._encoder = FrameEncoder(folder / ENCODER_NAME) if ENCODER_NAME in data.get("assets", []) else None
        if self._encoder is not None:
            self.few = 0  # the frames of one clip are work for several threads

    def read(self, item: Item) -> np.ndarray:
        """The frames of the clip at `path`, `(time, height, width, channels)` uint8, or their features `(time, 3008)`
        float16.
        """
        path = item.content["path"]
        if not isinstance(path, str) or not path.strip():
            found = shown(path)
            raise ValueError(f"path: found {found}; allowed: a local path or an address such as https://host/clip.mp4")
        try:
            with local_copy(path) as local:
                frames = read_clip(local, self._decoding).frames
        except OSError as error:  # such as a name that is too long to be looked for
            raise ValueError(f"path {shown(path)}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"path {shown(path)}: {error}") from None
        return frames if self._encoder is None else self._encoder.features(frames)

    def requested_outputs(self, options: Mapping[str, Any]) -> Sequence[str]:
        return [_OVER_TIME] if as_flag("over_time", options["over_time"]) else []

    def predict_batch(self, examples: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[list[Row]]:
        over_time = as_flag("over_time", options["over_time"])
        rows: list[Row] = [{} for _ in examples]
        for numbers in by_length(np.array([len(clip) for clip in examples]), _BATCH_SIZE):
            values, lengths = pad([examples[number] for number in numbers])
            with torch.inference_mode():
                logits = self._network(Batch(values=values, lengths=lengths))
            for number, row in zip(numbers, ranked(logits, self._classes), strict=True):
                rows[number] = dict(row)
        if over_time:
            for clip, answer in zip(examples, rows, strict=True):
                columns = [self._classes.index(name) for name in answer["top5_labels"]]
                answer[_OVER_TIME] = self._over_time(clip)[:, columns].tolist()
        return [[row] for row in rows]

    def _over_time(self, clip: np.ndarray) -> np.ndarray:
        """Probabilities of the classes for each prefix of a clip `(time, …)`: `(time, classes)`."""
        found = []
        for start in range(0, len(clip), _BATCH_SIZE):
            ends = range(start + 1, min(start + _BATCH_SIZE, len(clip)) + 1)
            values, lengths = pad([clip[:end] for end in ends])
            with torch.inference_mode():
                found.append(self._network(Batch(values=values, lengths=lengths)).double().softmax(dim=1))
        return torch.cat(found).numpy()
