"""The test drawings as they came, and the score of a registered model's answers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from ....evaluation.bootstrap import Scores, accuracy
from ....evaluation.comparison import example_groups, test_examples, test_ids
from ....models.learned import Identities
from ..data.npz import UnreadableFile
from ..data.quickdraw import RawFile, raw_files


def identities(prepared: Path) -> Identities:
    """The drawings' ids."""
    return Identities(test_ids(prepared))


def examples(prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
    """Drawings as they came, with as many points as their file has: `drawing`, JSON text of `[[xs, ys], …]`.

    Raises ValueError where the raw files lack one of them.
    """
    store, rows = test_examples(prepared, chosen)
    wanted = [str(store.value("id", row)) for row in rows]
    texts = _drawings(raw, set(wanted))
    missing = [name for name in wanted if name not in texts]
    if missing:
        raise ValueError(f"{raw}: {len(missing)} of {len(wanted)} test drawings are missing, such as {missing[0]}")
    return pd.DataFrame({"drawing": [texts[name] for name in wanted]})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray) -> Scores:
    """Accuracy; drawings of one group are resampled together, as they were split."""
    store, rows = test_examples(prepared, chosen)
    truth = [store.value("label", row) for row in rows]
    return accuracy(answers["label"].tolist(), truth, example_groups(store, rows))


def _drawings(raw: Path, wanted: set[str]) -> dict[str, str]:
    """Drawings by the id that preprocessing gave them: the first of each, as it took the first."""
    texts: dict[str, str] = {}
    with TemporaryDirectory() as copies:
        for file in raw_files(raw):
            with suppress(UnreadableFile):  # no test drawing comes from there
                _collect(file.as_utf8(Path(copies)), wanted, texts)
    return texts


def _collect(file: RawFile, wanted: set[str], texts: dict[str, str]) -> None:
    """Add a file's drawings that are wanted and not there. Raises UnreadableFile."""
    lines = 0  # in the chunks before
    for chunk in file.chunks():
        content = chunk.content()
        for records in chunk.records(content):
            for place, number in enumerate(records.drawings.numbers.tolist()):
                name = file.identity(records.keys[number], records.member, lines + records.places[number])
                if name in wanted and name not in texts:
                    (drawing,) = records.drawings.strokes.take(np.array([place])).nested()
                    texts[name] = json.dumps(drawing)
        if file.form != "sketchrnn":
            lines += content.count(b"\n")
