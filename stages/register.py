"""Register a trained and measured network with MLflow.

python -m stages.register TASK      reads  weights/TASK/, metrics/TASK.json, params.yaml: TASK.register
                                    writes receipts/TASK.json, a model version in MLflow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import main

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


def register(task: Task, params: TaskParams) -> None:
    """Give a task's network a version in the registry and write its receipt."""
    from .data.files import write_json
    from .registry import versions
    from .registry.decision import verdict_text

    receipt = versions.receipt(task, params)
    version = versions.register(task, params, receipt)
    write_json(task.paths.receipt, receipt)
    print(f"{version.name} version {version.version}: {verdict_text(version)}")


if __name__ == "__main__":
    main("register", __doc__, register)
