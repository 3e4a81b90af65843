"""How good a translator of so many pairs is: recipes by size on pairs drawn from Tatoeba's English–French zip.

    python -m benchmarks.translation_sizes                  all sizes; some two hours on one core
    python -m benchmarks.translation_sizes 5000 8000/1      all seeds of one size, and one seed of another
    python -m benchmarks.translation_sizes all              every pair of the zip, by the recipe `tatoeba`
    python -m benchmarks.translation_sizes --quick          a few pairs, to see that it runs; numbers say nothing

A row is SIZE/SEED: so many pairs of the file, drawn at random and the same ones for every seed, as a file of one's own
would be (`source.kind: tsv`); the recipe of their number splits them and trains, from first weights and in an order
that follow the seed. What is scored is the test split, as `evaluate` scores it, beside its baselines on the same
sentences; the nearest source is sought among all training sources. No setting was chosen on the test split: they were
chosen on the validation split.
"""

from __future__ import annotations

import random
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import Scores, difference
from stages.tasks.translation.evaluate.evaluate import nearest_translations
from stages.tasks.translation.evaluate.scoring import sentence_scores
from stages.tasks.translation.evaluate.segments import read_segments

from . import quality
from .data import Overlay
from .quality import Cell, Row, Trial
from .translation_quality import measured as translated

_ARCHIVE, _MEMBER = "fra-eng.zip", "fra.txt"
_DRAW = 1  # seed of which pairs are taken
_SPLIT = "test"
RECIPES = {5000: "pairs_5000", 8000: "pairs_5000", 20000: "pairs_20000", 80000: "tatoeba"}
EPOCHS = {8000: 18}  # where not the recipe's: about as many steps as for 5,000 pairs
SEEDS = {5000: (1, 2, 3), 8000: (1, 2, 3), 20000: (1, 2, 3), 80000: (1,)}


def drawn(source: Path, work: Path, pairs: int) -> Path:
    """A file of so many pairs of the zip in `source`, English, a tab, French; the same ones each time."""
    path = work / "pairs" / f"english-french-{pairs}-{_DRAW}.tsv"
    if not path.is_file():
        with zipfile.ZipFile(source / _ARCHIVE) as archive:
            [member] = (name for name in archive.namelist() if PurePosixPath(name).name == _MEMBER)
            lines = archive.read(member).decode("utf-8").split("\n")
        texts = ["\t".join(line.split("\t")[:2]) for line in lines if line]  # the third is the attribution
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(random.Random(_DRAW).sample(texts, pairs)) + "\n", encoding="utf-8")
    return path


def measured(trial: Trial, *, pairs: int) -> Mapping[str, Cell]:
    """The translator's scores and cost, the baselines' on the same sentences; `pairs` 0: of all in the zip."""
    if pairs:
        trial = trial.overlaid({"source": {"url": drawn(trial.source, trial.work, pairs).as_uri()}})
    cells = dict(translated(trial, split=_SPLIT))
    store, description = open_prepared(trial.folder)
    segments, train = read_segments(store, description, _SPLIT), store.rows("train")
    language, groups = description["target_language"], segments.groups
    sources, targets = (store.column(name)[train].tolist() for name in ("source_text", "target_text"))
    baselines = {"nearest": nearest_translations(segments.texts, sources, targets), "copy": segments.texts}
    by_name = {
        (name, metric): sentence_scores(metric, lines, segments.references, groups, language=language)
        for name, lines in baselines.items()
        for metric in ("bleu", "chrf")
    }
    if not trial.quick:  # which translates fewer sentences
        assert isinstance(cells["BLEU"], Scores)
        cells["BLEU less nearest's"] = difference(cells["BLEU"], by_name["nearest", "bleu"])
    titles = {"bleu": "BLEU", "chrf": "chrF"}
    cells |= {f"{name}'s {titles[metric]}": scores.value() for (name, metric), scores in by_name.items()}
    return cells | {"learned from": len(train)}


def _row(pairs: int, seed: int) -> Row:
    epochs = EPOCHS.get(pairs)
    overlay: Overlay = {
        "source": {"kind": "tsv", "source_language": "en", "target_language": "fr"},
        "train": {"seed": seed, **({"epochs": epochs, "patience": epochs} if epochs else {})},
    }
    measure = partial(measured, pairs=pairs)
    return Row(name=f"{pairs}/{seed}", recipe=RECIPES[pairs], overlay=overlay, measure=measure)


ROWS = (
    *(_row(pairs, seed) for pairs, seeds in SEEDS.items() for seed in seeds),
    Row(name="all/1", recipe="tatoeba", file=_ARCHIVE, measure=partial(measured, pairs=0)),
)

if __name__ == "__main__":
    quality.main("translation_sizes", __doc__, ROWS, host="tatoeba", minutes=None, means=True)
