"""A Predictor as MLflow calls it. Travels inside a registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from .predictor import Predictor


class ServedModel(PythonModel):
    """Loads a predictor from the model's artifacts and turns its errors into MLflow's."""

    def __init__(self, predictor: type[Predictor]) -> None:
        self._predictor = predictor

    def load_context(self, context: PythonModelContext) -> None:
        self._loaded = self._predictor(Path(context.artifacts["weights"]))

    # MLflow warns at every load where the input has no type hint, and infers nothing from this one: the signature
    # stands in the model.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        options = dict(params or {})
        try:
            return _with_nulls(self._loaded.predict(frame, **options))
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None


def _with_nulls(answer: pd.DataFrame) -> pd.DataFrame:
    """None where there is nothing, in columns that have such places: MLflow's server would answer NaN, which no JSON
    has.
    """
    missing = [name for name in answer.columns if answer[name].isna().any()]
    return answer.assign(**{name: answer[name].astype(object).where(answer[name].notna(), None) for name in missing})
