"""What both families of translators share: embeddings, the output layer tied to them, teacher forcing and the loss."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.batch import Batch
from ....models.dropout import Dropout
from ....models.network import Network
from ....models.search import Memory, State
from ..data.tokenizer import PADDING
from ..params import ModelParams


class Translator(Network):
    """Token numbers of a source to token numbers of its translation.

    A family encodes a source once, and decodes in two ways with equal results: all steps of a known target at once, for
    training, and one step of many hypotheses, for search.
    """

    def __init__(
        self, params: ModelParams, *, embedding_size: int, source_vocabulary: int, target_vocabulary: int
    ) -> None:
        super().__init__()
        self._label_smoothing = params.label_smoothing
        self._tied = params.tied_embeddings
        if self._tied != "all":
            self.source_embedding = nn.Embedding(source_vocabulary, embedding_size, padding_idx=PADDING)
        self.target_embedding = nn.Embedding(target_vocabulary, embedding_size, padding_idx=PADDING)
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary))
        if self._tied == "none":
            self.output_weight = nn.Parameter(torch.empty(target_vocabulary, embedding_size))
        self.dropout = Dropout(params.dropout)

    @abstractmethod
    def encode(self, sources: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """What the decoder looks up, and its state before the first token, with one hypothesis a sentence.

        `sources` `(batch, time)`, `lengths` `(batch,)`; every tensor of the memory is `(batch, …)`, every one of the
        state `(batch, 1, …)`.
        """

    @abstractmethod
    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """One step of every hypothesis, as search asks for it (see `models/search.py`)."""

    @abstractmethod
    def alignments(self, batch: Batch) -> Tensor:
        """How much each target token looked at each source token: `(batch, target time, time)`; rows sum to 1, or to 0
        where the network has no attention.
        """

    @abstractmethod
    def _read(self, previous: Tensor, state: State, memory: Memory) -> Tensor:
        """The tokens before each step, `(batch, target time)`, to what the output layer reads of it, `(batch, target
        time, embedding_size)`.
        """

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(batch, target time, vocabulary)` of each next token, given the true ones before it, or the network's
        own where `batch.context` has `replaced` (see `scheduled_sampling.py`).
        """
        memory, state = self.encode(batch.values, batch.lengths)
        previous = batch.context["previous"]
        if "replaced" in batch.context:
            previous = torch.where(batch.context["replaced"], self._predictions(previous, state, memory), previous)
        return self._logits(self._read(previous, state, memory))

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
        right = ((_argmax(logits) == targets) & real).sum()
        return {"loss": (loss, real.sum()), "token_accuracy": (right, real.sum())}

    @torch.no_grad()
    def _predictions(self, previous: Tensor, state: State, memory: Memory) -> Tensor:
        """The network's own likeliest token in the place of each true one, `(batch, target time)`; in the first place,
        where it predicts none, that of the last step.
        """
        return _argmax(self._logits(self._read(previous, state, memory))).roll(1, dims=1)

    def _source_vectors(self, sources: Tensor) -> Tensor:
        """`(batch, time)` to `(batch, time, embedding_size)`."""
        return (self.target_embedding if self._tied == "all" else self.source_embedding)(sources)

    def _logits(self, features: Tensor) -> Tensor:
        """`(…, embedding_size)` to `(…, vocabulary)`."""
        output_weight = self.output_weight if self._tied == "none" else self.target_embedding.weight
        return functional.linear(self.dropout(features), output_weight, self.output_bias)

    def _initialise_embeddings(self) -> None:
        """Small enough to serve as output weights."""
        for embedding in [module for module in self.modules() if isinstance(module, nn.Embedding)]:
            nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
            with torch.no_grad():
                embedding.weight[PADDING].zero_()
        if self._tied == "none":
            nn.init.normal_(self.output_weight, std=self.output_weight.shape[1] ** -0.5)


def _argmax(logits: Tensor) -> Tensor:
    """The largest of the last dimension. On a CPU, `argmax` takes four times as long as `max` in bfloat16: a twentieth
    of a training with 6,000 tokens.
    """
    return logits.max(dim=-1).indices
