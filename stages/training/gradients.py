"""Gradients of all ranks, added up in buckets: each is on its way as soon as the backward pass has filled it.

`DistributedDataParallel` does the same, and regroups its buckets after the first step by the order in which gradients
came: a resumed training of three or more ranks would add in another order and end with other last bits. Here the order
of the network's parameters alone says what a bucket holds and when it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as process_group
from torch import Tensor, nn

BUCKET = 2**21  # numbers, 8 MB: long enough to fill a network, short enough to be sent early
LAST_BUCKET = 2**19  # nothing is left to compute while it travels, and it is in float64: 4 MB


class GradientBuckets:
    """The gradients of some weights, summed over the ranks with the sums of a step.

    In each step `start` goes before the last backward pass and `finish` after it. The last bucket holds the sums and
    the network's first weights, whose gradients come last, as far as they fit; a small network is one bucket, and a
    step one message.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._buckets = buckets_of(weights)
        self._weights = [weight for bucket in self._buckets for weight in bucket]
        self._bucket_of = {weight: number for number, bucket in enumerate(self._buckets) for weight in bucket}
        self._present = torch.ones(len(weights), dtype=torch.float64, device=weights[0].device)
        self._sums: Tensor | None = None  # while the last backward pass of a step is on its way
        self._missing: list[int] = []  # gradients of each bucket
        self._absent: set[nn.Parameter] = set()  # weights that have no gradient in this step
        self._sent: list[tuple[Tensor, process_group.Work]] = []
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self._arrived)

    def start(self, sums: Tensor) -> None:
        """The next backward pass is the step's last; `sums`, float64 `(n,)`, are added up with the gradients."""
        self._sums = sums
        self._missing = [len(bucket) for bucket in self._buckets]

    def give_up(self, sums: Tensor) -> None:
        """This rank cannot end its backward pass: the others get zeros for what is not sent yet, and these `sums`."""
        if self._sums is None:
            self.start(sums)
        self._sums = sums
        for bucket in self._buckets[len(self._sent) :]:
            for weight in bucket:
                weight.grad = None

    def finish(self) -> Tensor:
        """Send what is left; returns the sums over all ranks, and leaves those of the gradients in their places.

        A weight that is in no rank's graph has no gradient afterwards, either.
        """
        assert self._sums is not None
        while len(self._sent) < len(self._buckets):
            self._send()
        for (flat, work), bucket in zip(self._sent, self._buckets, strict=True):
            work.wait()
            sizes = [weight.numel() for weight in bucket]
            parts = flat[: sum(sizes)].to(self._weights[0].dtype).split(sizes)
            for weight, part in zip(bucket, parts, strict=True):
                weight.grad = part.view_as(weight)
        present, sums = flat[-len(self._present) - len(self._sums) :].tensor_split([len(self._present)])
        if self._absent:
            for weight, ranks in zip(self._weights, present.tolist(), strict=True):
                weight.grad = weight.grad if ranks else None
        self._sums, self._sent, self._absent = None, [], set()
        return sums

    def _arrived(self, weight: Tensor) -> None:
        """A weight's gradient is whole. In the step's last pass, send what is full, in the order of the buckets; the
        last one waits for `finish`, so that whatever ends the pass can still be told with it.
        """
        if self._sums is None:
            return
        self._missing[self._bucket_of[weight]] -= 1  # type: ignore[index]
        while len(self._sent) < len(self._buckets) - 1 and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        """Send the next bucket."""
        bucket = self._buckets[len(self._sent)]
        absent = {weight for weight in bucket if weight.grad is None}
        self._absent |= absent
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in bucket]
        if len(self._sent) == len(self._buckets) - 1:
            assert self._sums is not None
            present = self._present
            if self._absent:
                present = present.new_tensor([weight not in self._absent for weight in self._weights])
            parts = [part.double() for part in parts] + [present, self._sums]
        flat = torch.cat([part.flatten() for part in parts])
        work = process_group.all_reduce(flat, async_op=True)
        assert work is not None
        self._sent.append((flat, work))


def buckets_of(
    weights: Sequence[nn.Parameter], *, most: int | None = None, most_in_last: int | None = None
) -> list[list[nn.Parameter]]:
    """Weights in the order of their buckets, from the network's last to its first, a bucket of at most `most` numbers
    or one larger weight. The last bucket may be empty.
    """
    most, most_in_last = most or BUCKET, most_in_last or LAST_BUCKET
    last: list[nn.Parameter] = []
    for weight in weights:
        if sum(other.numel() for other in last) + weight.numel() > most_in_last:
            break
        last.append(weight)
    buckets: list[list[nn.Parameter]] = []
    for weight in reversed(weights[len(last) :]):
        if not buckets or sum(other.numel() for other in buckets[-1]) + weight.numel() > most:
            buckets.append([])
        buckets[-1].append(weight)
    return [*buckets, last[::-1]]
