"""`make repro`: `dvc repro`, then the check that the registry has what came out, then a table.

    python -m stages.repro [TARGET …]   any arguments of `dvc repro`

`dvc repro` alone does the same work; this adds what DVC cannot see: a store that was wiped, or that never saw a result
restored from a cache.
"""

from __future__ import annotations

import subprocess
import sys

from .command import one_line_errors
from .params import load


def main(arguments: list[str]) -> None:
    """Run it all; ends the process with DVC's status where that is not 0."""
    with one_line_errors("unroll: registry"):
        load()
    pipeline = subprocess.Popen([sys.executable, "-m", "dvc", "repro", *arguments])
    # MLflow takes seconds to import: as long as DVC needs to find that nothing has changed.
    from .registry import table, versions

    if status := pipeline.wait():
        sys.exit(status)
    with one_line_errors("unroll: registry"):
        versions.sync()
        table.show_tasks()


if __name__ == "__main__":
    main(sys.argv[1:])
