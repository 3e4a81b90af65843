"""Tell whether the input has changed since the champion was trained.

    python -m stages.drift TASK               prepared data that the champion was not trained on
    python -m stages.drift TASK FILE …        files in a format that `predict` reads
    python -m stages.drift TASK --json        the whole result as JSON on standard output

Writes drift/TASK.json and a picture of each feature into drift/TASK/; neither is an output of a stage. The limits in
params.yaml, TASK.monitor.drift, decide the verdict: none, warning or drift. The exit status is 3 for drift, 0 for none
or a warning, and 1 if nothing could be compared because there is no champion or a file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .command import let_threads_sleep, one_line_errors

if TYPE_CHECKING:
    from .monitoring.drift import Drift

FOLDER = Path("drift")
DRIFT_STATUS = 3


def write(drift: Drift, folder: Path = FOLDER) -> None:
    """Write `TASK.json` and the pictures of a comparison, in place of those before."""
    from .data.files import fresh_folder, write_json
    from .monitoring.drift_picture import save_pictures

    with fresh_folder(folder / drift.task) as pictures:
        save_pictures(drift, pictures)
    write_json(folder / f"{drift.task}.json", drift.as_json())


def table(drift: Drift) -> str:
    """The features, a line each, below a line of what was found."""
    rows = [("feature", "distance", "p", "verdict", "before", "now")]
    rows += [
        (one.name, f"{one.effect:.3f}", f"{one.adjusted:.2g}", one.verdict, one.before, one.now)
        for one in drift.features
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([drift.summary, *(lines if drift.features else [])])


def main() -> None:
    """The command line."""
    from .tasks.protocol import Task

    let_threads_sleep()
    parser = argparse.ArgumentParser(
        prog="python -m stages.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files as for stages.predict; default: the prepared data"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_intermixed_args()
    task = Task(args.task)
    hint = f"; `dvc repro preprocess@{task.paths.dataset_task}` prepares the data"
    with one_line_errors(f"unroll: drift {task.name}", missing_file=hint):
        from .monitoring.drift import drift_of
        from .params import load

        drift = drift_of(task, load()[task.name], args.files)
        write(drift)
    print(json.dumps(drift.as_json(), indent=2, ensure_ascii=False) if args.json else table(drift))
    sys.exit(DRIFT_STATUS if drift.verdict == "drift" else 0)


if __name__ == "__main__":
    main()
