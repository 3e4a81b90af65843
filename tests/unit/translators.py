"""Small translators and sentences for the tests of translation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stages.tasks.translation.model.network import Translator, build
from stages.tasks.translation.params import ModelParams

DATA = {"source_vocabulary_size": 12, "target_vocabulary_size": 9}


def translator(seed: int = 0, data: dict[str, Any] | None = None, **values: Any) -> Translator:
    defaults = {
        "kind": "rnn",
        "cell": "gru",
        "embedding_size": 8,
        "hidden_size": 10,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "attention": "general",
        "input_feeding": False,
        "heads": 2,
        "feedforward_size": 12,
        "tied_embeddings": "target",
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "layer_norm": False,
        "label_smoothing": 0.0,
        "scheduled_sampling": 0.0,
    }
    torch.manual_seed(seed)
    return build(ModelParams(**{**defaults, **values}), data or DATA).eval()


def sentences(count: int, vocabulary: int, seed: int) -> list[np.ndarray]:
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    return [generator.integers(4, vocabulary, size=n) for n in generator.integers(1, 8, size=count)]


SOURCES, TARGETS = sentences(6, 12, seed=1), sentences(6, 9, seed=2)
FAMILIES = [{"kind": "rnn", "cell": "lstm"}, {"kind": "rnn", "input_feeding": True}, {"kind": "transformer"}]
