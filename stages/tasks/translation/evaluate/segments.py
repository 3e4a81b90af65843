"""A split as translations are scored: segments, each a source with its references.

A *segment* is sacreBLEU's word for what has one translation to be scored. Where the split was drawn by source, all
targets of a source are its references, so that a source which many have translated counts once. Where a pair was drawn
without its source's other pairs (by target), or its publisher holds the test set out line by line, each pair is a
segment with one reference: the other targets are in other splits, or scores would not compare with others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....data.store import SequenceStore
from ....evaluation.comparison import example_groups


@dataclass(frozen=True, slots=True)
class Segments:
    """What translations of a split are compared with; all lists have one entry a segment."""

    examples: np.ndarray  # (segments,) number within the split of a pair that has the source
    texts: list[str]  # sources
    references: list[list[str]]  # one or more, in the corpus' order
    groups: np.ndarray  # (segments,), equal where segments are alike, and drawn together in a bootstrap

    def __len__(self) -> int:
        return len(self.texts)

    def only(self, chosen: np.ndarray) -> Segments:
        """Some segments, by their numbers."""
        texts, references = [self.texts[i] for i in chosen], [self.references[i] for i in chosen]
        return Segments(self.examples[chosen], texts, references, self.groups[chosen])


def read_segments(store: SequenceStore, data: Mapping[str, Any], split: str = "test") -> Segments:
    """The segments of a split, in the order in which their sources first come; `data` describes the store.

    Those are alike that `prepare.group` keeps together, or else that have one source.
    """
    rows = store.rows(split)
    sources, targets = (store.column(name)[rows].tolist() for name in ("source_text", "target_text"))
    if data["segment"] == "pair":
        references = [[target] for target in targets]
        return Segments(np.arange(len(rows)), sources, references, example_groups(store, rows, sources))
    first: dict[str, int] = {}
    by_source: dict[str, list[str]] = {}
    for example, (source, target) in enumerate(zip(sources, targets, strict=True)):
        first.setdefault(source, example)
        by_source.setdefault(source, []).append(target)
    examples = np.array(list(first.values()))
    groups = example_groups(store, rows[examples], list(first))
    return Segments(examples, list(first), list(by_source.values()), groups)
