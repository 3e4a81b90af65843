"""Exact match, BLEU and chrF of translations, with what each segment adds to them.

BLEU (Papineni et al., 2002, https://aclanthology.org/P02-1040) and chrF (Popović, 2015, https://aclanthology.org/W15-3049)
of many sentences are no means of sentences' scores: they come from sums of sacreBLEU's own counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from ....evaluation.bootstrap import Scores, mean

References = Sequence[Sequence[str]]  # of each segment, one or more
METRICS = ("exact_match", "bleu", "chrf")

# Languages that are written without spaces, or (ko) with spaces that part no words: two-letter codes of ISO 639-1 and
# three-letter ones of ISO 639-3 and 639-2/B. Where 13a finds no word, BLEU is 0 however good a translation is.
_CHINESE = frozenset({"zh", "zho", "chi", "cmn", "yue", "wuu", "lzh"})
_BY_CHARACTER = frozenset(
    {"ja", "jpn", "ko", "kor", "th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"},
)

_UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def bleu_tokenizer(language: str) -> str:
    """sacreBLEU's tokenizer for texts of a target language, such as `zh`, `cmn` or `zh_TW`."""
    code = language.partition("_")[0].lower()
    return "zh" if code in _CHINESE else "char" if code in _BY_CHARACTER else "13a"


def written_without_spaces(texts: Sequence[str]) -> bool:
    """Whether most letters of the texts are of scripts in which `13a` finds no words (Chinese, Thai, …)."""
    letters = [character for text in texts for character in text if character.isalpha()]
    found = sum(unicodedata.name(letter, "").startswith(_UNSPACED_SCRIPTS) for letter in letters)
    return 2 * found > len(letters)


def scores(hypotheses: Sequence[str], references: References, *, language: str) -> dict[str, float]:
    """`exact_match` (0 to 1), with any of a segment's references; sacreBLEU's `bleu` and `chrf` (0 to 100): cased,
    detokenised texts, tokenised for BLEU as the target `language` asks for; all references of a segment count.
    """
    groups = np.arange(len(hypotheses))
    return {name: sentence_scores(name, hypotheses, references, groups, language=language).value() for name in METRICS}


def sentence_scores(
    name: str, hypotheses: Sequence[str | None], references: References, groups: np.ndarray, *, language: str
) -> Scores:
    """What each segment adds to one of the METRICS; `groups`, `(segments,)`, says which are alike.

    A missing hypothesis (None, NaN) counts as an empty one. Raises ValueError where there are more or fewer hypotheses
    than segments.
    """
    right = exact(hypotheses, references)
    if name == "exact_match":
        return mean(np.array(right), groups)
    metric = _sacrebleu(language)[name]
    texts = [text if isinstance(text, str) else "" for text in hypotheses]
    # What sacreBLEU's own bootstrap takes; it has no public name.
    counts = metric._extract_corpus_statistics(texts, _streams(references))

    def of_corpora(sums: np.ndarray) -> np.ndarray:
        return np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()])

    return Scores(statistics=np.array(counts, dtype=np.float64), groups=groups, metric=of_corpora)


def _sacrebleu(language: str) -> dict[str, BLEU | CHRF]:
    return {"bleu": BLEU(tokenize=bleu_tokenizer(language)), "chrf": CHRF()}


def signatures(hypotheses: Sequence[str], references: References, *, language: str) -> dict[str, str]:
    """How sacreBLEU computes `bleu` and `chrf` of these, in its own words."""
    metrics = _sacrebleu(language)
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
            f"found {len(answers)} answers to {len(references)} segments; allowed: one answer per segment, in order"
        )
    return [answer in texts for answer, texts in zip(answers, references, strict=True)]
