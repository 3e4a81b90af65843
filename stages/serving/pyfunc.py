"""A Predictor as MLflow calls it. Travels inside a registered model."""

from __future__ import annotations

import logging
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from ..paths import SERVED, network_folder
from . import threads
from .predictor import Predictor
from .served import is_served

_log = logging.getLogger(__name__)


class ServedModel(PythonModel):
    """Loads a predictor from the model's artifacts and turns its errors into MLflow's.

    A model answers with its served network. `mlflow.pyfunc.load_model(uri, model_config={"network": "measured"})` loads
    the one that its metrics and its card speak of.
    """

    def __init__(self, predictor: type[Predictor]) -> None:
        self._predictor = predictor

    def load_context(self, context: PythonModelContext) -> None:
        if is_served():
            _keep_stack_traces_out_of_answers()
        threads.chosen(few=True)  # a wrong UNROLL_THREADS is said at once
        chosen = (context.model_config or {}).get("network", SERVED)
        self._loaded = self._predictor(network_folder(Path(context.artifacts["weights"]), chosen))

    # MLflow warns at every load where the input has no type hint, and infers nothing from this one: the signature
    # stands in the model.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        try:
            frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
            return _with_nulls(self._loaded.predict(frame, **(params or {})))
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        except Exception:
            if not is_served():
                raise
            _log.exception("the model cannot answer")
            raise MlflowException("the model cannot answer; the server's log says why", INTERNAL_ERROR) from None


def _keep_stack_traces_out_of_answers() -> None:
    """MLflow's server answers with the stack trace of what fails outside a model, such as a CSV that cannot be read.
    No setting of MLflow turns that off. In a served process it goes to the log.
    """
    serialize = MlflowException.serialize_as_json
    if hasattr(serialize, "__wrapped__"):
        return  # another model of this process has done it

    @wraps(serialize)
    def without_stack_trace(error: MlflowException) -> str:
        if trace := error.json_kwargs.pop("stack_trace", None):
            _log.error("%s", trace)
        return str(serialize(error))

    MlflowException.serialize_as_json = without_stack_trace  # type: ignore[method-assign]


def _with_nulls(answer: pd.DataFrame) -> pd.DataFrame:
    """None where there is nothing, in columns that have such places: MLflow's server would answer NaN, which no JSON
    has.
    """
    missing = [name for name in answer.columns if answer[name].isna().any()]
    return answer.assign(**{name: answer[name].astype(object).where(answer[name].notna(), None) for name in missing})
