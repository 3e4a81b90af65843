"""What a pipeline stage does: one verb per file, each run as `python -m stages.VERB TASK`.

The folders beside the verbs are their workshops; what differs by task is below `tasks/`. A file imports only from lower
floors, never Prefect, and a stage's deps in dvc.yaml name the folders that can change its result: the tests
`test_house.py` and `test_dag.py` check every file.
"""

import sys
from importlib.util import find_spec

# This file must stay readable for any Python 3, so that a wrong interpreter gets a sentence and not a traceback.
if not (3, 11) <= sys.version_info[:2] <= (3, 13) or any(find_spec(n) is None for n in ("pydantic", "yaml", "pyarrow")):
    sys.exit(
        "unroll: {} (Python {}.{}) is not the project's environment. Activate it with\n"
        "    source .venv/bin/activate\n"
        "in the project's folder and try again; `make environment` creates it if it is missing.".format(
            sys.executable, *sys.version_info[:2]
        )
    )

from .environment import prepare
from .stopping import exit_on_signals

prepare()
if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the module of a command: `python -m stages.…`, `flows.…`
    exit_on_signals()
