"""The recurrent translator: a bidirectional encoder, attention, a decoder.

The decoder need not read what it attended to. Without input feeding its layers run over the whole known target in one
fused call and attention over all its steps at once, several times faster on a CPU than a loop over steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.attention import Attention
from ....models.batch import Batch, length_mask
from ....models.cells import Weights, gru_cell, gru_update, lstm_cell, lstm_update
from ....models.recurrent import RecurrentStack, last_step
from ....models.search import Memory, State
from ..params import ModelParams
from .translator import Translator


class RecurrentTranslator(Translator):
    """Encoder and decoder of LSTM or GRU layers, with or without attention between them.

    Without attention (Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks", 2014) all that
    the decoder knows of the source is its first state. With input feeding (Luong, Pham and Manning, "Effective
    Approaches to Attention-based Neural Machine Translation", 2015, section 3.3) each step also reads what the output
    layer read at the step before, and so knows what has been attended to.
    """

    def __init__(self, params: ModelParams, *, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__(
            params,
            embedding_size=params.embedding_size,
            source_vocabulary=source_vocabulary,
            target_vocabulary=target_vocabulary,
        )
        size = params.hidden_size
        self._layers, self._size, self._lstm = params.decoder_layers, size, params.cell == "lstm"
        self._names = ("hidden", "cell") if self._lstm else ("hidden",)  # of the decoder's states
        self._feeds = params.input_feeding
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
        self.bridge = nn.Linear(size, self._layers * size * len(self._names))
        self.decoder = (nn.LSTM if self._lstm else nn.GRU)(
            params.embedding_size * (2 if self._feeds else 1),
            size,
            num_layers=self._layers,
            batch_first=True,
            dropout=params.dropout if self._layers > 1 else 0.0,
        )
        self.attention = None if params.attention == "none" else Attention(size, size, score=params.attention)
        self.readout = nn.Linear(size if self.attention is None else 2 * size, params.embedding_size)
        self._initialise_embeddings()
        self._open_forget_gates()

    def _open_forget_gates(self) -> None:
        """The LSTM remembers at first (Jozefowicz, Zaremba and Sutskever, "An Empirical Exploration of Recurrent
        Network Architectures", 2015).
        """
        for layers in (self.encoder, self.decoder):
            for name, parameter in layers.named_parameters():
                if self._lstm and "bias_ih" in name:
                    quarter = len(parameter) // 4
                    nn.init.ones_(parameter.data[quarter : 2 * quarter])

    def encode(self, sources: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """The memory is `mask` `(batch, time)` and, with attention, `values` and `keys` `(batch, time, size)`; the
        state `hidden`, for an LSTM `cell`, `(batch, 1, layers, size)`, and with input feeding `fed` `(batch, 1,
        embedding_size)`.
        """
        values = self.encoder(self.dropout(self._source_vectors(sources)), lengths)
        mask = length_mask(lengths, sources.shape[1])
        values = self.dropout(values) * mask.unsqueeze(-1)
        half = self._size // 2
        # The end of the forward direction is each sentence's last step, that of the backward one its first.
        summary = torch.cat([last_step(values[..., :half], lengths), values[:, 0, half:]], dim=-1)
        states = torch.tanh(self.bridge(summary)).view(len(values), 1, -1, self._layers, self._size).unbind(dim=2)
        state = dict(zip(self._names, states, strict=True))
        if self._feeds:
            state["fed"] = values.new_zeros(len(values), 1, self.readout.out_features)
        if self.attention is None:
            return {"mask": mask}, state
        return {"mask": mask, "values": values, "keys": self.attention.keys(values)}, state

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        sentences, hypotheses = tokens.shape
        if self._feeds:
            features, _, after = self._feed(self._from_tokens(tokens), state, memory, self._decoder_weights())
            return self._logits(features).log_softmax(dim=-1), after
        rows = sentences * hypotheses
        flat = {name: value.reshape(rows, self._layers, self._size) for name, value in state.items()}
        outputs, after = self._decode(tokens.reshape(rows, 1), flat)
        features, _ = self._attend(outputs.view(sentences, hypotheses, -1), memory)
        state = {name: value.view(sentences, hypotheses, self._layers, self._size) for name, value in after.items()}
        return self._logits(features).log_softmax(dim=-1), state

    def alignments(self, batch: Batch) -> Tensor:
        memory, state = self.encode(batch.values, batch.lengths)
        return self._read_and_align(batch.context["previous"], state, memory)[1]

    def _read(self, previous: Tensor, state: State, memory: Memory) -> Tensor:
        return self._read_and_align(previous, state, memory)[0]

    def _read_and_align(self, previous: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor]:
        """What the output layer reads, and the weights of attention `(batch, target time, time)`."""
        if not self._feeds:
            outputs, _ = self._decode(previous, {name: value[:, 0] for name, value in state.items()})
            return self._attend(outputs, memory)
        features, weights = [], []
        layers = self._decoder_weights()
        for from_token in self._from_tokens(previous).split(1, dim=1):
            feature, weight, state = self._feed(from_token, state, memory, layers)
            features.append(feature)
            weights.append(weight)
        return torch.cat(features, dim=1), torch.cat(weights, dim=1)

    def _decode(self, tokens: Tensor, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """`(rows, time)` tokens and `(rows, layers, size)` states to `(rows, time, size)` outputs and new states."""
        inputs = self.dropout(self.target_embedding(tokens))
        before = tuple(state[name].transpose(0, 1).contiguous() for name in self._names)
        outputs, after = self.decoder(inputs, before if self._lstm else before[0])
        after = after if self._lstm else (after,)
        return outputs, {name: part.transpose(0, 1) for name, part in zip(self._names, after, strict=True)}

    def _decoder_weights(self) -> list[Weights]:
        """Of the decoder's layers, for steps with input feeding; of the first one's input, what reads the fed part."""
        first, *others = (Weights.of(self.decoder, index) for index in range(self._layers))
        return [first._replace(input=first.input[:, first.input.shape[1] // 2 :]), *others]

    def _from_tokens(self, tokens: Tensor) -> Tensor:
        """With input feeding, what tokens `(…)` add to the gates of the first layer, `(…, gates · size)`: known before
        the loop over steps, so computed for all of them at once.
        """
        vectors = self.dropout(self.target_embedding(tokens))
        weights = Weights.of(self.decoder)
        return functional.linear(vectors, weights.input[:, : vectors.shape[-1]], weights.input_bias)

    def _feed(
        self, from_token: Tensor, state: State, memory: Memory, layers: Sequence[Weights]
    ) -> tuple[Tensor, Tensor, State]:
        """One step with input feeding, `(batch, hypotheses, gates · size)` from the tokens: what the output layer reads
        `(batch, hypotheses, embedding_size)`, the weights of attention and the new state.
        """
        before = [tuple(state[name][:, :, index] for name in self._names) for index in range(self._layers)]
        from_fed = functional.linear(self.dropout(state["fed"]), layers[0].input)
        from_hidden = functional.linear(before[0][0], layers[0].hidden, layers[0].hidden_bias)
        update, cell = (lstm_update, lstm_cell) if self._lstm else (gru_update, gru_cell)
        after = [update(from_token + from_fed, from_hidden, before[0])]
        for index in range(1, self._layers):
            below = functional.dropout(after[-1][0], self.decoder.dropout, self.training)
            after.append(cell(below, before[index], layers[index]))
        features, weights = self._attend(after[-1][0], memory)
        states = (torch.stack(parts, dim=2) for parts in zip(*after, strict=True))
        return features, weights, {**dict(zip(self._names, states, strict=True)), "fed": features}

    def _attend(self, outputs: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The decoder's outputs `(batch, steps, size)` to what the output layer reads, `(batch, steps,
        embedding_size)`, and the weights of attention, `(batch, steps, time)`.
        """
        if self.attention is None:
            weights = outputs.new_zeros(*outputs.shape[:2], memory["mask"].shape[1])
        else:
            context, weights = self.attention(outputs, memory["keys"], memory["values"], memory["mask"])
            outputs = torch.cat([outputs, context], dim=-1)
        return torch.tanh(self.readout(outputs)), weights
