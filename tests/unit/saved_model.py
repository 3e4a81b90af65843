"""A model saved as `register` saves it, without a store."""

from __future__ import annotations

from pathlib import Path

import mlflow.pyfunc
import pytest

from stages.registry.packaging import requirements, signature, write_code
from stages.tasks.protocol import Task


def saved_model(task: Task, weights: Path, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The model's own folder in `folder`, whose code can be imported while `patch` lasts."""
    predictor = task.predictor()
    package, script = write_code(task, folder)
    patch.syspath_prepend(str(folder))
    mlflow.pyfunc.save_model(
        folder / "saved",
        python_model=str(script),
        code_paths=[str(package)],
        artifacts={"weights": str(weights)},
        pip_requirements=requirements(predictor),
        signature=signature(predictor, predictor.extra_inputs(weights), unavailable=predictor.unavailable(weights)),
    )
    return folder / "saved"
