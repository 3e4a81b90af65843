"""Hand a trained and measured network to the MLflow registry.

python -m stages.register TASK      reads  weights/TASK/, metrics/TASK.json, params.yaml: TASK.register
                                    writes receipts/TASK.json, a model version in MLflow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import main
from .paths import Paths

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks import Task


def register(task: Task, params: TaskParams) -> None:
    """Give a task's network a version in the registry and write its receipt."""
    from . import versions
    from .json_files import write_json

    receipt = versions.receipt(task)
    version = versions.register(task, params, receipt)
    write_json(Paths(task.name).receipt, receipt)
    print(f"{task.description().model_name} version {version.version}: {version.verdict}")


if __name__ == "__main__":
    main("register", __doc__, register)
