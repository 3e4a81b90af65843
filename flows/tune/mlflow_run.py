"""A study in MLflow: one parent run, with the trainings of its trials as child runs.

    python -m flows.tune.mlflow_run FOLDER

creates or finds the run and prints its id. At the line `end` on standard input it logs the results and links the
trainings; if standard input closes before, the study was stopped, and the run becomes KILLED.

It is a process of its own, since MLflow takes seconds to import, and since it outlives the flow. FOLDER contains
`study.json` (the fields of `StudyFacts`) and, at the end, `trials.csv` and `trials.png`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tasks.protocol import Task

if TYPE_CHECKING:
    from mlflow import MlflowClient

STUDY_TAG = "unroll.study"  # of the study's run: its name
TRIAL_TAG = "unroll.trial"  # of a training: the name of the trial that it was first done for
PRUNED_TAG = "unroll.pruned"  # true: the training was ended, since it did worse than others
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: the run that this one stands below

END = "end"  # the line that says that the study has ended
FACTS = "study.json"
TABLE = "trials.csv"
PICTURE = "trials.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What the run of a study is made of."""

    study: str
    task: str
    params: Mapping[str, str]
    trials: Sequence[Mapping[str, Any]] = ()  # the fields of `flows.tune.study.TrialRecord`
    best: int | None = None  # the number of the best trial

    def write(self, folder: Path) -> None:
        """Leave them in the folder for the process."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> StudyFacts:
        """Those that were left in the folder."""
        return cls(**json.loads((folder / FACTS).read_text(encoding="utf-8")))


def begin(client: MlflowClient, facts: StudyFacts) -> str:
    """The id of the study's run, which goes on; it is made where there is none."""
    from stages.tracking.mlflow_runs import experiment_id

    experiment = experiment_id(client, facts.task)
    runs = client.search_runs([experiment], f"tags.`{STUDY_TAG}` = '{facts.study}'")
    if runs:
        client.update_run(runs[0].info.run_id, status="RUNNING")
        return runs[0].info.run_id
    tags = {"mlflow.runName": facts.study, STUDY_TAG: facts.study}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    for name, value in facts.params.items():
        client.log_param(run_id, name, value)
    return run_id


def end(client: MlflowClient, facts: StudyFacts, folder: Path) -> None:
    """Log the objective by trial, the best params, table and picture; link each training that has no parent yet."""
    from stages.tracking.mlflow_runs import deliver, find_run

    deliver()
    parent = begin(client, facts)
    logged = {point.step for point in client.get_metric_history(parent, "objective")}
    for trial in facts.trials:
        if trial["objective"] is not None and trial["number"] not in logged:
            client.log_metric(parent, "objective", trial["objective"], step=trial["number"])
        run = find_run(client, Task(facts.task), trial["signature"]) if trial["signature"] else None
        if run is not None and PARENT_TAG not in run.data.tags:
            client.set_tag(run.info.run_id, PARENT_TAG, parent)
        if run is not None and trial["state"] == "pruned" and run.info.status == "KILLED":
            client.set_tag(run.info.run_id, PRUNED_TAG, "true")
        if trial["number"] == facts.best:
            client.log_metric(parent, "best_objective", trial["objective"], step=trial["number"])
            client.set_tag(parent, "unroll.best_trial", str(facts.best))
            for key, value in trial["values"].items():
                client.set_tag(parent, f"unroll.best.{key}", json.dumps(value))
    for name in (TABLE, PICTURE):
        client.log_artifact(parent, str(folder / name))
    client.set_terminated(parent)


def main(folder: Path) -> None:
    """Make or find the run, say its id, and wait for the end of the study."""
    from mlflow.exceptions import MlflowException

    from stages.tracking.mlflow_runs import open_client

    try:
        with redirect_stdout(sys.stderr):  # standard output is for answers
            client = open_client()
            run_id = begin(client, StudyFacts.read(folder))
            print(run_id, file=sys.__stdout__, flush=True)
            if sys.stdin.readline().strip() == END:
                end(client, StudyFacts.read(folder), folder)
                print("ended", file=sys.__stdout__, flush=True)
            else:
                client.set_terminated(run_id, "KILLED")
    except (MlflowException, OSError) as error:
        sys.exit(f"unroll: study: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
