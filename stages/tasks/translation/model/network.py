"""Encoder, attention, decoder.

The decoder does not read what it attended to (Luong's wiring without input feeding): its recurrent layers then run over
the whole known target in one fused call and attention over all its steps at once, which trains several times faster on
a CPU than a loop over steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....batching import Batch, length_mask, pad
from ....models.attention import Attention
from ....models.network import Network
from ....models.recurrent import RecurrentStack, last_step
from ....models.search import Memory, State
from ....sequences import FILE_NAME, SequenceStore
from ..params import ModelParams, Params
from ..prepare.tokenizer import END, PADDING, START


class Translator(Network):
    """Token numbers of a source to token numbers of its translation."""

    def __init__(self, params: ModelParams, *, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__()
        size = params.hidden_size
        self._layers, self._size, self._lstm = params.decoder_layers, size, params.cell == "lstm"
        self._label_smoothing = params.label_smoothing
        self.source_embedding = nn.Embedding(source_vocabulary, params.embedding_size, padding_idx=PADDING)
        self.target_embedding = nn.Embedding(target_vocabulary, params.embedding_size, padding_idx=PADDING)
        self.encoder = RecurrentStack(
            params.embedding_size,
            size // 2,
            layers=params.encoder_layers,
            cell=params.cell,
            bidirectional=True,
            dropout=params.dropout,
            recurrent_dropout=params.recurrent_dropout,
            layer_norm=params.layer_norm,
        )
        self.bridge = nn.Linear(size, self._layers * size * (2 if self._lstm else 1))
        self.decoder = (nn.LSTM if self._lstm else nn.GRU)(
            params.embedding_size,
            size,
            num_layers=self._layers,
            batch_first=True,
            dropout=params.dropout if self._layers > 1 else 0.0,
        )
        self.attention = Attention(size, size, score=params.attention)
        self.readout = nn.Linear(2 * size, params.embedding_size)
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary))
        if not params.tied_embeddings:
            self.output_weight = nn.Parameter(torch.empty(target_vocabulary, params.embedding_size))
        self.dropout = nn.Dropout(params.dropout)
        self._tied = params.tied_embeddings
        self._initialise()

    def _initialise(self) -> None:
        """Embeddings small enough to serve as output weights; the LSTM's forget gates open at first (Jozefowicz,
        Zaremba and Sutskever, "An Empirical Exploration of Recurrent Network Architectures", 2015).
        """
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
            with torch.no_grad():
                embedding.weight[PADDING].zero_()
        for layers in (self.encoder, self.decoder):
            for name, parameter in layers.named_parameters():
                if self._lstm and "bias_ih" in name:
                    quarter = len(parameter) // 4
                    nn.init.ones_(parameter.data[quarter : 2 * quarter])
        if not self._tied:
            nn.init.normal_(self.output_weight, std=self.output_weight.shape[1] ** -0.5)

    def encode(self, sources: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """What the decoder looks up, and its state before the first token, with one hypothesis a sentence.

        `sources` `(batch, time)`, `lengths` `(batch,)` to `values` and `keys` `(batch, time, size)` and `mask` `(batch,
        time)`; `hidden`, and for an LSTM `cell`, `(batch, 1, layers, size)`.
        """
        values = self.encoder(self.dropout(self.source_embedding(sources)), lengths)
        mask = length_mask(lengths, sources.shape[1])
        values = self.dropout(values) * mask.unsqueeze(-1)
        half = self._size // 2
        # The end of the forward direction is each sentence's last step, that of the backward one its first.
        summary = torch.cat([last_step(values[..., :half], lengths), values[:, 0, half:]], dim=-1)
        states = torch.tanh(self.bridge(summary)).view(len(values), 1, -1, self._layers, self._size).unbind(dim=2)
        memory = {"values": values, "keys": self.attention.keys(values), "mask": mask}
        return memory, dict(zip(("hidden", "cell"), states, strict=False))

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """One step of every hypothesis, as search asks for it (see `models/search.py`)."""
        sentences, hypotheses = tokens.shape
        rows = sentences * hypotheses
        flat = {name: value.reshape(rows, self._layers, self._size) for name, value in state.items()}
        outputs, after = self._decode(tokens.reshape(rows, 1), flat)
        logits, _ = self._attend(outputs.view(sentences, hypotheses, -1), memory)
        state = {name: value.view(sentences, hypotheses, self._layers, self._size) for name, value in after.items()}
        return logits.log_softmax(dim=-1), state

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(batch, target time, vocabulary)` of each next token, given the true ones before it."""
        return self._forced(batch)[0]

    def alignments(self, batch: Batch) -> Tensor:
        """How much each target token looked at each source token: `(batch, target time, time)`, rows sum to 1."""
        return self._forced(batch)[1]

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """`loss`, cross-entropy in nats, and `token_accuracy`, both a target token, the end token included."""
        assert batch.targets is not None
        logits, targets = self.forward(batch).flatten(0, 1), batch.targets.flatten()
        loss = functional.cross_entropy(
            logits,
            targets,
            ignore_index=PADDING,
            reduction="sum",
            label_smoothing=self._label_smoothing if self.training else 0.0,
        )
        real = targets != PADDING
        right = ((logits.argmax(dim=-1) == targets) & real).sum()
        return {"loss": (loss, real.sum()), "token_accuracy": (right, real.sum())}

    def _forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        memory, state = self.encode(batch.values, batch.lengths)
        outputs, _ = self._decode(batch.context["previous"], {name: value[:, 0] for name, value in state.items()})
        return self._attend(outputs, memory)

    def _decode(self, tokens: Tensor, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """`(rows, time)` tokens and `(rows, layers, size)` states to `(rows, time, size)` outputs and new states."""
        inputs = self.dropout(self.target_embedding(tokens))
        layers_first = {name: value.transpose(0, 1).contiguous() for name, value in state.items()}
        if self._lstm:
            outputs, (hidden, cell) = self.decoder(inputs, (layers_first["hidden"], layers_first["cell"]))
            return outputs, {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
        outputs, hidden = self.decoder(inputs, layers_first["hidden"])
        return outputs, {"hidden": hidden.transpose(0, 1)}

    def _attend(self, outputs: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """`(batch, steps, size)` outputs to logits `(batch, steps, vocabulary)` and weights `(batch, steps, time)`."""
        context, weights = self.attention(outputs, memory["keys"], memory["values"], memory["mask"])
        features = torch.tanh(self.readout(torch.cat([outputs, context], dim=-1)))
        output_weight = self.target_embedding.weight if self._tied else self.output_weight
        return functional.linear(self.dropout(features), output_weight, self.output_bias), weights


class Pairs:
    """The sentence pairs of one split."""

    def __init__(self, store: SequenceStore, split: str) -> None:
        self._store = store
        self.rows = store.rows(split)
        self.lengths = store.column("length")[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, example: int) -> str:
        return str(self._store.value("id", self.rows[example]))

    def source(self, example: int) -> np.ndarray:
        return self._store.sequence("source", self.rows[example])

    def target(self, example: int) -> np.ndarray:
        return self._store.sequence("target", self.rows[example])

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """`targets` end with the end token; `previous`, which the decoder reads, begin with the start token."""
        return make_batch([self.source(e) for e in examples], [self.target(e) for e in examples])


def make_batch(sources: list[np.ndarray], targets: list[np.ndarray]) -> Batch:
    """Token arrays `(time,)` as one batch."""
    values, lengths = pad(sources, dtype=np.int64)
    following, _ = pad([np.append(target, END) for target in targets], dtype=np.int64)
    previous, _ = pad([np.insert(target, 0, START) for target in targets], dtype=np.int64)
    return Batch(values=values, lengths=lengths, targets=following, context={"previous": previous})


def build(params: ModelParams, data: Mapping[str, Any]) -> Translator:
    """A translator with fresh weights for the vocabularies that `data` describes."""
    return Translator(
        params,
        source_vocabulary=data["source_vocabulary_size"],
        target_vocabulary=data["target_vocabulary_size"],
    )


def dataset(folder: Path, split: str, params: Params, *, augment: bool) -> Pairs:
    """The pairs of one split; nothing is augmented."""
    return Pairs(SequenceStore(folder / FILE_NAME), split)
