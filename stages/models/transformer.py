"""Self-attention over padded batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .batch import length_mask
from .dropout import Dropout


class TransformerStack(nn.Module):
    """Encoder layers of a Transformer (Vaswani et al., "Attention Is All You Need", 2017), normalised before each part
    and not after it (Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020), which trains
    without a warm-up. Nothing attends to the padding. Raises ValueError where `heads` do not divide `size`.

    With a `context` of more than 1, a convolution over so many steps (an odd number) is added to what the first layer
    reads, so that it knows each step's neighbours before it attends to anything: what differs in the order of steps
    that follow each other is then learned from little data, too (Gulati et al., "Conformer", 2020, section 2.2).
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        *,
        layers: int,
        heads: int,
        dropout: float,
        feedforward_size: int | None = None,  # 4 times the size, as in the paper, where nothing is said
        context: int = 1,
    ) -> None:
        super().__init__()
        _check_heads(size, heads)
        self.output_size = size
        self.project = nn.Linear(input_size, size)
        self.neighbours = nn.Conv1d(input_size, size, context, padding=context // 2) if context > 1 else None
        self.dropout = Dropout(dropout)
        self.encoder = nn.ModuleList(
            EncoderLayer(size, heads=heads, feedforward_size=feedforward_size or 4 * size, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, input_size)` to `(batch, time, size)`; what stands after a sequence's end is undefined."""
        padding = ~length_mask(lengths, values.shape[1])
        positions = sinusoids(values.shape[1], self.output_size).to(values)
        # What stands in the padding is weighted with 0, which a value that is not finite would survive.
        values = values.masked_fill(padding.unsqueeze(-1), 0.0)
        projected = self.project(values)
        if self.neighbours is not None:
            projected = projected + nn.functional.gelu(self.neighbours(values.transpose(1, 2))).transpose(1, 2)
        values = self.dropout(projected + positions)
        for layer in self.encoder:
            values = layer(values, src_key_padding_mask=padding)
        return self.norm(values)


class EncoderLayer(nn.TransformerEncoderLayer):
    """PyTorch's layer, normalised before each part, with the dropout that costs little on a CPU."""

    def __init__(self, size: int, *, heads: int, feedforward_size: int, dropout: float) -> None:
        super().__init__(size, heads, feedforward_size, dropout, activation="gelu", batch_first=True, norm_first=True)
        self.dropout, self.dropout1, self.dropout2 = (Dropout(dropout) for _ in range(3))


Kept = tuple[Tensor, Tensor]  # keys and values, each (batch, heads, time, size / heads)


class HeadedAttention(nn.Module):
    """Attention of several heads (Vaswani et al., 2017, section 3.2.2), in two parts, so that what is looked up is
    projected once and kept. Raises ValueError where `heads` do not divide `size`.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        _check_heads(size, heads)
        self._heads = heads
        self.query = nn.Linear(size, size)
        self.look_up = nn.Linear(size, 2 * size)
        self.output = nn.Linear(size, size)

    def keep(self, memory: Tensor) -> Kept:
        """Keys and values of a memory `(batch, time, size)`, each `(batch, heads, time, size / heads)`.

        They lie in memory as they are used: in search, they are used at every step.
        """
        keys, values = self.look_up(memory).unflatten(2, (2, self._heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return keys.contiguous(), values.contiguous()

    def forward(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """For each query `(batch, queries, size)` the weighted mean of the values kept, projected, in the same shape.

        `mask`, `(batch or 1, queries or 1, time)` bool, is true where a query may look.
        """
        # By hand: with sentences in bfloat16, PyTorch's fused kernel takes five times as long on a CPU (float32: 0.8).
        heads = self._weights(values, kept, mask) @ kept[1]
        return self.output(heads.transpose(1, 2).flatten(2))

    def weights(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """Attention weights, mean over the heads, `(batch, queries, time)`; rows sum to 1; see `forward`."""
        return self._weights(values, kept, mask).mean(dim=1)

    def _weights(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """Of each head, `(batch, heads, queries, time)`."""
        queries = self.query(values).unflatten(2, (self._heads, -1)).transpose(1, 2)
        scores = queries @ kept[0].transpose(2, 3) / math.sqrt(queries.shape[-1])
        return scores.masked_fill(~mask.unsqueeze(1), torch.finfo(scores.dtype).min).softmax(dim=-1)


class DecoderLayer(nn.Module):
    """One layer of a Transformer's decoder: it looks at its own past, then at a memory, then at itself; normalised
    before each part, as `TransformerStack` is.

    Dropout is on what each part adds (Vaswani et al., 2017, section 5.4).
    """

    def __init__(self, size: int, *, heads: int, feedforward_size: int, dropout: float) -> None:
        super().__init__()
        self.past, self.memory = HeadedAttention(size, heads), HeadedAttention(size, heads)
        self.feedforward = nn.Sequential(
            nn.Linear(size, feedforward_size), nn.GELU(), nn.Linear(feedforward_size, size)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.dropout = Dropout(dropout)

    def forward(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """All steps of a target at once: `values` `(batch, target time, size)`, `kept` from `memory.keep`, `mask`
        `(batch, time)`; to `(batch, target time, size)`.
        """
        return self._look_up(self._remember(values), kept, mask)

    def step(self, values: Tensor, past: Kept, kept: Kept, mask: Tensor) -> tuple[Tensor, Kept]:
        """One step of several hypotheses of each sentence: `values` `(batch, hypotheses, size)`, `past` keys and values
        of `(batch, hypotheses, heads, steps before, size / heads)`; to the values and the past with this step.
        """
        normed = self.norms[0](values)
        rows = normed.flatten(0, 1).unsqueeze(1)  # a hypothesis each, with one step
        now = (part.view(*values.shape[:2], *part.shape[1:]) for part in self.past.keep(rows))
        keys, looked_up = (torch.cat(parts, dim=3) for parts in zip(past, now, strict=True))
        everything = torch.ones(1, 1, keys.shape[3], dtype=torch.bool, device=keys.device)
        found = self.past(rows, (keys.flatten(0, 1), looked_up.flatten(0, 1)), everything)
        return self._look_up(values + self.dropout(found.view_as(values)), kept, mask), (keys, looked_up)

    def weights(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """The weights of the attention to the memory, `(batch, target time, time)`; see `forward`."""
        return self.memory.weights(self.norms[1](self._remember(values)), kept, mask.unsqueeze(1))

    def _remember(self, values: Tensor) -> Tensor:
        """The look at the past, for all steps at once."""
        normed = self.norms[0](values)
        time = values.shape[1]
        so_far = torch.ones(1, time, time, dtype=torch.bool, device=values.device).tril()
        return values + self.dropout(self.past(normed, self.past.keep(normed), so_far))

    def _look_up(self, values: Tensor, kept: Kept, mask: Tensor) -> Tensor:
        """What follows the look at the past: each step, or each hypothesis, is a query of its own."""
        values = values + self.dropout(self.memory(self.norms[1](values), kept, mask.unsqueeze(1)))
        return values + self.dropout(self.feedforward(self.norms[2](values)))


def _check_heads(size: int, heads: int) -> None:
    if size % heads:
        raise ValueError(
            f"found a transformer of size {size} with {heads} heads; allowed: a size that is a multiple of {heads}"
        )


def sinusoids(time: int, size: int) -> Tensor:
    """A vector for each place in a sequence, `(time, size)`: sines and cosines of wavelengths from 2 pi to 20,000 pi
    steps (Vaswani et al., 2017, section 3.5).
    """
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(0, size, 2) / size)
    angles = torch.arange(time).unsqueeze(1) * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :size]
