"""Turn a task's raw files into the sequence store.

python -m stages.preprocess TASK    reads  data/TASK/raw/, params.yaml: TASK.prepare
                                    writes data/TASK/prepared/, metrics/preprocess/TASK.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import fresh_folder, main
from .paths import Paths

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks import Task


def preprocess(task: Task, params: TaskParams) -> None:
    """Write the sequence store of a task and count what was accepted, repaired and rejected."""
    from .json_files import write_json
    from .preparation import Preparation

    paths, prepare = Paths(task.name), task.prepare()
    with fresh_folder(paths.prepared) as folder:
        with Preparation(folder, max_rejected_share=params.prepare.max_rejected_share) as output:
            prepare.prepare(paths.raw, params.prepare, output)
        write_json(paths.preparation_metrics, output.metrics())


if __name__ == "__main__":
    main("preprocess", __doc__, preprocess)
