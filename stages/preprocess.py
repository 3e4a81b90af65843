"""Turn a task's raw files into the sequence store.

python -m stages.preprocess TASK    reads  data/TASK/raw/, params.yaml: TASK.prepare
                                    writes data/TASK/prepared/, metrics/preprocess/TASK.json, profiles/TASK.json

The last line says how much was accepted, rejected, repaired and filled, with the first example of each rule; it starts
with `warning:` if that is more than 1 %. If too much was rejected, data/TASK/rejected.parquet lists what and why.
Results for parts of the raw data (clips, chunks of drawings) are kept in .resume/prepared/, and a line on standard
error says how many were reused; the folder may be deleted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .command import main
from .data.files import fresh_folder

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


def preprocess(task: Task, params: TaskParams) -> None:
    """Write the sequence store of a task and count what was accepted, repaired and rejected."""
    from .data.files import write_json
    from .preprocessing.preparation import REJECTED_NAME, Preparation, PreparationError
    from .preprocessing.profile import profile_of, write_profile

    paths, prepare = task.paths, task.prepare()
    kept = paths.prepared.with_name(REJECTED_NAME)  # of a preparation that failed: its folder goes
    with fresh_folder(paths.prepared) as folder:
        output = Preparation(folder, max_rejected_share=params.prepare.max_rejected_share)
        try:
            with output:
                prepare.prepare(paths.raw, params.prepare, output)
        except PreparationError as error:
            if not output.rejected:
                raise
            (folder / REJECTED_NAME).replace(kept)
            raise PreparationError(f"{error}; see {kept}") from None
        write_json(paths.preparation_metrics, output.metrics())
        write_profile(paths.profile, profile_of(task.profile().learned(folder), output.metrics()))
    kept.unlink(missing_ok=True)
    print(
        output.summary(task.name, str(paths.prepared / REJECTED_NAME if output.rejected else paths.preparation_metrics))
    )
    if output.kept:
        print(f"unroll: {task.name}: {output.kept}", file=sys.stderr)


if __name__ == "__main__":
    main("preprocess", __doc__, preprocess)
