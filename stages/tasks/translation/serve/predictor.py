"""The registered translator: a text in, its translation and score out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from ....models.weights import load_network, read_network
from ....serving import predictor
from ....serving.predictor import Item, Row, as_flag, as_number, shown
from ..data.text import normalise
from ..data.tokenizer import load_tokenizers
from ..model.network import Translator, build, make_batch
from ..model.transformer import TransformerTranslator
from ..model.translate import Translation, translate
from ..params import LARGEST_BEAM, LARGEST_LENGTH_PENALTY, LONGEST_TRANSLATION, ModelParams

_CHARACTERS_A_TOKEN = 100  # a text with more characters for each allowed token is refused before it is tokenised
# Sentences searched at a time, and tokens that all their hypotheses may come to: a Transformer keeps vectors of each. A
# recurrent network's step is so little work that two threads gain nothing below 256 sentences.
_TRANSFORMER_BATCH, _RECURRENT_BATCH = (64, 32_000), (256, 128_000)
_BATCH_PAIRS = 100_000  # of a source's and a translation's token, of which attention holds a vector each
_ATTENTION = ("tokens", "attention")
_N_BEST = ("n_best_translations", "n_best_scores")


class Predictor(predictor.Predictor):
    """Answers one translation a row; `score` is the mean log-probability of its tokens, in nats: 0 is certainty.

    With a `length_penalty` other than 1, it is their sum over their number to that power. `n_best` above 1 also gives
    so many different translations with their scores, best first; fewer where the network knows no more. `attention`
    also gives `tokens`, the text's and the translation's as they are read and written, and how much each of the
    translation's looked at each of the text's: a list of weights, which sum to 1, for each that was written.
    """

    inputs: ClassVar[Mapping[str, str]] = {"text": "string"}
    outputs: ClassVar[Mapping[str, str]] = {"translation": "string", "score": "double"}
    optional_outputs: ClassVar[Mapping[str, str]] = {
        "n_best_translations": "strings",
        "n_best_scores": "doubles",
        "tokens": "lists of strings",
        "attention": "lists of doubles",
    }
    options: ClassVar[Mapping[str, bool | int | float | str]] = {
        "beam_size": 5,
        "max_length": 100,
        "length_penalty": 1.0,
        "n_best": 1,
        "attention": False,
    }
    requirements: ClassVar[Sequence[str]] = ("tokenizers",)

    def __init__(self, folder: Path) -> None:
        network, data = load_network(folder, build, ModelParams)
        assert isinstance(network, Translator)
        self._network = network
        self._batch = _TRANSFORMER_BATCH if isinstance(network, TransformerTranslator) else _RECURRENT_BATCH
        self._source, self._target = load_tokenizers(folder, data)
        self._max_tokens: int = data["max_source_tokens"]
        self._attends = not self.unavailable(folder)

    @classmethod
    def unavailable(cls, folder: Path) -> frozenset[str]:
        model = ModelParams.model_validate(read_network(folder)["model"])
        return frozenset(_ATTENTION) if model.kind == "rnn" and model.attention == "none" else frozenset()

    def read(self, item: Item) -> np.ndarray:
        """The source's tokens `(time,)`, after the same normalisation as in training."""
        text = item.content["text"]
        if not isinstance(text, str):
            missing = text is None or text is pd.NA or (isinstance(text, float) and math.isnan(text))
            found = "no value" if missing else type(text).__name__
            raise ValueError(f"text: found {found}; allowed: a string")
        most = self._max_tokens * _CHARACTERS_A_TOKEN
        if len(text) > most:
            allowed = f"{most}, of which this model reads {self._max_tokens} tokens"
            raise ValueError(f"text: found {len(text)} characters; allowed: {allowed}")
        normalised, _ = normalise(text)
        if not normalised:
            raise ValueError(f"text: found {len(text)} characters, none of them to translate; allowed: a sentence")
        tokens = self._source.encode(normalised)
        if not 0 < len(tokens) <= self._max_tokens:
            found = f"{len(tokens)} tokens in {len(text)} characters"
            raise ValueError(f"text: found {found}; allowed: 1 to {self._max_tokens} tokens")
        return np.array(tokens, dtype=np.int64)

    def predict_batch(self, examples: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[list[Row]]:
        beam_size = _whole("beam_size", options["beam_size"], LARGEST_BEAM)
        max_length = _whole("max_length", options["max_length"], LONGEST_TRANSLATION)
        attends = as_flag("attention", options["attention"])
        if attends and not self._attends:
            raise ValueError("attention: found true; allowed: false, as this model has none (model.attention: none)")
        sentences, tokens = self._batch
        lists = translate(
            self._network,
            examples,
            beam_size=beam_size,
            max_length=max_length,
            batch_size=max(1, min(sentences, tokens // (beam_size * max_length))),
            length_penalty=_length_penalty(options["length_penalty"]),
            n_best=_whole("n_best", options["n_best"], beam_size, ", which is beam_size"),
        )
        rows = [self._row(translations) for translations in lists]
        if attends:
            best = [translations[0].tokens for translations in lists]
            for row, source, written, weights in zip(rows, examples, best, self._weights(examples, best), strict=True):
                read = self._source.pieces(source.tolist())
                row |= {"tokens": [read, self._target.pieces(written)], "attention": weights}
        return [[row] for row in rows]

    def requested_outputs(self, options: Mapping[str, Any]) -> Sequence[str]:
        n_best = _N_BEST if options["n_best"] != 1 else ()
        return [*n_best, *(_ATTENTION if as_flag("attention", options["attention"]) else ())]

    def _weights(self, sources: Sequence[np.ndarray], written: Sequence[list[int]]) -> list[list[list[float]]]:
        """Of each source `(time,)` and its translation, the weights of attention `(target time, time)`."""
        pairs = max(map(len, sources)) * (max(map(len, written)) + 1)  # with the end token
        size = max(1, min(self._batch[0], _BATCH_PAIRS // pairs))
        weights: list[list[list[float]]] = []
        for start in range(0, len(sources), size):
            read, said = list(sources[start : start + size]), written[start : start + size]
            with torch.inference_mode():
                batch = self._network.alignments(
                    make_batch(read, [np.array(tokens, dtype=np.int64) for tokens in said])
                )
            weights += [
                found[: len(tokens), : len(source)].tolist()
                for found, tokens, source in zip(batch, said, read, strict=True)
            ]
        return weights

    def _row(self, translations: Sequence[Translation]) -> Row:
        texts = [self._target.decode(translation.tokens) for translation in translations]
        scores = [translation.score for translation in translations]
        best = {"translation": texts[0], "score": scores[0]}
        return best | {"n_best_translations": texts, "n_best_scores": scores}


def _whole(name: str, value: object, largest: int, why: str = "") -> int:
    found = as_number(value)
    if not isinstance(found, int | np.integer) or not 1 <= found <= largest:
        raise ValueError(f"{name}: found {shown(value)}; allowed: a whole number from 1 to {largest}{why}")
    return int(found)


def _length_penalty(value: Any) -> float:
    found = as_number(value)
    if found is None or not 0 <= found <= LARGEST_LENGTH_PENALTY:
        allowed = f"a number from 0 to {LARGEST_LENGTH_PENALTY:g}"
        raise ValueError(f"length_penalty: found {shown(value)}; allowed: {allowed}")
    return float(found)
