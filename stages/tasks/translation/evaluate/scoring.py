"""Exact match, BLEU and chrF of translations, with what each segment adds to them.

BLEU (Papineni et al., 2002, https://aclanthology.org/P02-1040) and chrF (Popović, 2015, https://aclanthology.org/W15-3049)
of many sentences are no means of sentences' scores: they come from sums of sacreBLEU's own counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from ....evaluation.bootstrap import Scores, mean

References = Sequence[Sequence[str]]  # of each segment, one or more


def scores(hypotheses: Sequence[str], references: References) -> dict[str, float]:
    """`exact_match` (0 to 1), with any of a segment's references; sacreBLEU's `bleu` and `chrf` (0 to 100) by its
    defaults: cased, detokenised texts, tokenised by 13a for BLEU; all references of a segment count.
    """
    parts = sentence_scores(hypotheses, references, np.arange(len(hypotheses)))
    return {name: score.value() for name, score in parts.items()}


def sentence_scores(hypotheses: Sequence[str], references: References, groups: np.ndarray) -> dict[str, Scores]:
    """What each segment adds to the three metrics of `scores`; `groups`, `(segments,)`, says which are alike."""
    found = {"exact_match": mean(np.array(exact(hypotheses, references)), groups)}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        # What sacreBLEU's own bootstrap takes; it has no public name.
        counts = metric._extract_corpus_statistics(hypotheses, _streams(references))

        def of_corpora(sums: np.ndarray, metric: BLEU | CHRF = metric) -> np.ndarray:
            return np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()])

        found[name] = Scores(statistics=np.array(counts, dtype=np.float64), groups=groups, metric=of_corpora)
    return found


def signatures(hypotheses: Sequence[str], references: References) -> dict[str, str]:
    """How sacreBLEU computes `bleu` and `chrf` of these, in its own words."""
    metrics = {"bleu": BLEU(), "chrf": CHRF()}
    for metric in metrics.values():
        metric.corpus_score(hypotheses, _streams(references))  # it counts the references while it scores
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def _streams(references: References) -> list[tuple[str, ...]]:
    """The references as sacreBLEU takes them: all segments' first ones, all second ones, …; None, though its types do
    not say so, where a segment has not so many.
    """
    return cast("list[tuple[str, ...]]", list(zip_longest(*references)))


def nearest_reference(hypothesis: str, references: Sequence[str]) -> tuple[str, float]:
    """The reference that is most alike by sacreBLEU's chrF, the first of equals, and the score, 0 to 100."""
    metric = CHRF()
    by_reference = [metric.sentence_score(hypothesis, [reference]).score for reference in references]
    best = int(np.argmax(by_reference))
    return references[best], by_reference[best]


def exact(answers: Sequence[object], references: References) -> list[bool]:
    """Whether each answer is one of its references, to the character; a missing one (None, NaN) is not.

    Raises ValueError where there are more or fewer answers than segments.
    """
    if len(answers) != len(references):
        raise ValueError(
            f"found {len(answers)} answers to {len(references)} segments; allowed is one to each, in order"
        )
    return [answer in texts for answer, texts in zip(answers, references, strict=True)]
