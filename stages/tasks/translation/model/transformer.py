"""The translator of the second family: a Transformer (Vaswani et al., "Attention Is All You Need", 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ....models.batch import Batch, length_mask
from ....models.search import Memory, State
from ....models.transformer import DecoderLayer, Kept, TransformerStack, sinusoids
from ..params import ModelParams
from .translator import Translator


class TransformerTranslator(Translator):
    """Self-attention over the source, and a decoder that attends to its own past and to the source.

    In search nothing is computed twice: keys and values of the source are made once a sentence, those of the past are
    the state, which grows by a step at each step.
    """

    def __init__(self, params: ModelParams, *, source_vocabulary: int, target_vocabulary: int) -> None:
        size = params.hidden_size
        super().__init__(
            params, embedding_size=size, source_vocabulary=source_vocabulary, target_vocabulary=target_vocabulary
        )
        self._size = size
        self.encoder = TransformerStack(
            size,
            size,
            layers=params.encoder_layers,
            heads=params.heads,
            dropout=params.dropout,
            feedforward_size=params.feedforward_size,
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(size, heads=params.heads, feedforward_size=params.feedforward_size, dropout=params.dropout)
            for _ in range(params.decoder_layers)
        )
        self.norm = nn.LayerNorm(size)
        for matrix in (weight for weight in self.parameters() if weight.dim() > 1):
            nn.init.xavier_uniform_(matrix)
        self._initialise_embeddings()

    @property
    def _layers(self) -> list[DecoderLayer]:
        return [cast(DecoderLayer, layer) for layer in self.decoder]

    def encode(self, sources: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """The memory is `mask` `(batch, time)` and, for each layer N of the decoder, `keys N` and `values N` `(batch,
        heads, time, size / heads)`; the state is `keys N` and `values N` `(batch, 1, heads, steps read, size / heads)`.
        """
        values = self.encoder(self._source_vectors(sources) * math.sqrt(self._size), lengths)
        memory = {"mask": length_mask(lengths, sources.shape[1])}
        state = {}
        for index, layer in enumerate(self._layers):
            for name, kept in zip(_names(index), layer.memory.keep(values), strict=True):
                memory[name] = kept
                state[name] = kept[:, None, :, :0]
        return memory, state

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        time = state["keys 0"].shape[3]
        values = self._vectors(tokens, sinusoids(time + 1, self._size)[time])
        after: dict[str, Tensor] = {}
        for index, layer in enumerate(self._layers):
            past, kept = _kept(state, index), _kept(memory, index)
            values, past = layer.step(values, past, kept, memory["mask"])
            after.update(zip(_names(index), past, strict=True))
        return self._logits(self.norm(values)).log_softmax(dim=-1), after

    def alignments(self, batch: Batch) -> Tensor:
        """Those of the last layer, mean over its heads."""
        memory, _ = self.encode(batch.values, batch.lengths)
        last = len(self._layers) - 1
        values = self._decode(batch.context["previous"], memory, layers=last)
        return self._layers[last].weights(values, _kept(memory, last), memory["mask"])

    def _read(self, previous: Tensor, state: State, memory: Memory) -> Tensor:
        return self.norm(self._decode(previous, memory, layers=len(self._layers)))

    def _decode(self, previous: Tensor, memory: Memory, *, layers: int) -> Tensor:
        """The tokens before each step `(batch, target time)` through the first so many layers."""
        values = self._vectors(previous, sinusoids(previous.shape[1], self._size))
        for index, layer in enumerate(self._layers[:layers]):
            values = layer(values, _kept(memory, index), memory["mask"])
        return values

    def _vectors(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """As large as the positions at first: embeddings begin with a variance of 1 / size."""
        vectors = self.target_embedding(tokens) * math.sqrt(self._size)
        return self.dropout(vectors + positions.to(vectors))


def _names(layer: int) -> tuple[str, str]:
    return f"keys {layer}", f"values {layer}"


def _kept(tensors: Mapping[str, Tensor], layer: int) -> Kept:
    keys, values = (tensors[name] for name in _names(layer))
    return keys, values
