"""The trials as people see them."""

from __future__ import annotations

import csv

from flows.tune.space import space
from flows.tune.study import TrialRecord
from flows.tune.trials import as_csv, markdown, picture

DIMENSIONS = space(["forecast.train.learning_rate=log(1e-4, 1e-1)", "forecast.model.covariates=[[], [day_of_week]]"])


def trial(
    number: int, state: str, objective: float | None, message: str = "", duplicate_of: int | None = None
) -> TrialRecord:
    values = {"forecast.train.learning_rate": 1e-05, "forecast.model.covariates": ["day_of_week"]}
    return TrialRecord(
        number=number,
        values=values,
        state=state,
        objective=objective,
        epochs=3,
        message=message,
        signature="abc",
        duplicate_of=duplicate_of,
    )


RECORDS = [
    trial(0, "complete", 0.5),
    trial(1, "complete", 0.25),
    trial(2, "pruned", 0.75),
    trial(3, "failed", None, "train@forecast: a | b\nloss is nan"),
    trial(4, "complete", 0.25, "the params of trial 1", duplicate_of=1),
]


def name(number: int) -> str:
    return f"study-{number:03d}"


def test_the_table_marks_the_best_and_says_how_to_apply_it() -> None:
    lines = markdown(RECORDS, RECORDS[1], monitor="quantile_error", name=name).splitlines()
    assert lines[0] == (
        "| trial | train.learning_rate | model.covariates | validation quantile_error | epochs | state | experiment |"
    )
    assert lines[2] == '| 0 | 1e-05 | ["day_of_week"] | 0.5 | 3 | complete | `study-000` |'
    assert lines[3] == '| **1** | 1e-05 | ["day_of_week"] | **0.25** | 3 | complete | `study-001` |'
    assert lines[4] == '| 2 | 1e-05 | ["day_of_week"] | 0.75 | 3 | pruned |  |'
    assert lines[5] == '| 3 | 1e-05 | ["day_of_week"] |  | 3 | failed: train@forecast: a \\| b loss is nan |  |'
    assert lines[6] == '| 4 | 1e-05 | ["day_of_week"] | 0.25 | 3 | complete (as trial 1) |  |'
    assert "dvc exp apply study-001" in lines


def test_without_a_complete_trial_there_is_nothing_to_apply() -> None:
    assert "dvc exp apply" not in markdown(RECORDS[2:4], None, monitor="loss", name=name)


def test_the_file_has_all_facts() -> None:
    rows = list(csv.DictReader(as_csv(RECORDS, name=name).splitlines()))
    assert [row["objective"] for row in rows] == ["0.5", "0.25", "0.75", "", "0.25"]
    assert [row["experiment"] for row in rows] == ["study-000", "study-001", "", "", ""]
    assert rows[4]["twin_of"] == "1"
    assert rows[0]["forecast.model.covariates"] == '["day_of_week"]'


def test_a_picture_can_be_drawn_of_any_trials() -> None:
    for records in (RECORDS, RECORDS[3:4], []):
        assert picture(records, DIMENSIONS, monitor="loss", minimise=True).startswith(b"\x89PNG")
