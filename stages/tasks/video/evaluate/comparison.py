"""The test clips as input of a registered model, and the scores of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ....data.files import read_json
from ....data.prepared import DESCRIPTION_NAME
from ....evaluation.bootstrap import Scores, accuracy
from ....evaluation.comparison import example_groups, test_examples, test_ids
from ....models.learned import Identities
from ..data.layout import clip_path


def identities(prepared: Path) -> Identities:
    """The clips' ids: their paths."""
    return Identities(test_ids(prepared))


def examples(prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
    """The absolute `path` of each clip: the model may run in another folder."""
    store, rows = test_examples(prepared, chosen)
    folder = raw.absolute()
    return pd.DataFrame({"path": [str(folder / clip_path(store.value("id", row))) for row in rows]})


def scores(answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray) -> Scores:
    """Accuracy; clips of one group (an actor, a scene) are resampled together, as they were split."""
    store, rows = test_examples(prepared, chosen)
    classes: list[str] = read_json(prepared / DESCRIPTION_NAME)["classes"]
    truth = [classes[store.value("label", row)] for row in rows]
    return accuracy(answers["label"].tolist(), truth, example_groups(store, rows))
