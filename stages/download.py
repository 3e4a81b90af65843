"""Fetch a task's raw data as `sources/TASK.json` pins them, or write its embedded sample.

python -m stages.download TASK      reads  params.yaml: TASK.source
                                           sources/TASK.json, which `python -m stages.refresh` writes
                                    writes data/TASK/raw/

If the pin belongs to another source, the files that the hosts have now are fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import main
from .data.files import fresh_folder

if TYPE_CHECKING:
    from .params import TaskParams
    from .tasks.protocol import Task


def download(task: Task, params: TaskParams) -> None:
    """Write the raw files of a task into their folder, all of them or none."""
    from .sources.pinned import host_of  # with httpx and fsspec

    source = task.source()
    with fresh_folder(task.paths.raw) as folder:
        source.download(params.source, folder, host_of(task.name, params.source))


if __name__ == "__main__":
    main("download", __doc__, download)
