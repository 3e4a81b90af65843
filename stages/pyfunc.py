"""A Predictor as MLflow calls it. Travels inside a registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from .serving import Predictor


class ServedModel(PythonModel):
    """Loads a predictor from the model's artifacts and turns its errors into MLflow's."""

    def __init__(self, predictor: type[Predictor]) -> None:
        self._predictor = predictor

    def load_context(self, context: PythonModelContext) -> None:
        self._loaded = self._predictor(Path(context.artifacts["weights"]))

    # Without type hints: MLflow would take them for the signature, which stands in the model explicitly.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        options: dict[str, Any] = dict(params or {})
        try:
            return self._loaded.predict(frame, **options)
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
