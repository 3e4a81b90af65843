"""Sentences with a translation of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...data.files import read_json
from ...data.prepared import DESCRIPTION_NAME
from ...evaluation.bootstrap import Scores
from ..protocol import Task
from .data.text import normalise
from .evaluate.scoring import sentence_scores
from .params import Params

LABELS = "a .csv with the columns text and target"


def scores(targets: Sequence[str], answers: Sequence[Mapping[str, Any]], params: Params, metric: str) -> Scores:
    """The metric with one reference a sentence, in the form that normalisation gives it; sentences of one text are
    drawn together.

    The target language is that of the prepared data.
    """
    references = [[normalise(target)[0]] for target in targets]
    groups = np.unique([answer["text"] for answer in answers], return_inverse=True)[1]
    language = read_json(Task("translation").paths.prepared / DESCRIPTION_NAME)["target_language"]
    translations = [answer["translation"] for answer in answers]
    return sentence_scores(metric, translations, references, groups, language=language)
