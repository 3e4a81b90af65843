"""A predictor as MLflow calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModelContext
from mlflow.pyfunc.scoring_server import _get_jsonable_obj

from stages.serving.pyfunc import ServedModel
from tests.unit.test_serving import Double, frame

NOWHERE = PythonModelContext(artifacts={"weights": str(Path())}, model_config=None)


@pytest.fixture
def model() -> ServedModel:
    served = ServedModel(Double)
    served.load_context(NOWHERE)
    return served


def test_reported_rows_are_valid_json_as_the_server_writes_it(model: ServedModel) -> None:
    answer = model.predict(NOWHERE, frame("a", 1), {"on_error": "report"})
    text = json.dumps(_get_jsonable_obj(answer, pandas_orient="records"), allow_nan=False)
    assert json.loads(text) == [
        {"double": None, "error": "number: found 'a'; allowed: a number"},
        {"double": 2.0, "error": None},
    ]


def test_answers_without_a_gap_keep_their_type(model: ServedModel) -> None:
    assert model.predict(NOWHERE, frame(1.5), {})["double"].dtype == "float64"


def test_bad_rows_are_the_callers_mistake_and_not_the_servers(model: ServedModel) -> None:
    with pytest.raises(MlflowException, match="row 0: number: found 'a'") as caught:
        model.predict(NOWHERE, pd.DataFrame({"number": ["a"]}), {})
    assert caught.value.get_http_status_code() == 400
