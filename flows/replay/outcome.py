"""What a replay leaves behind: two tables, the summary and the picture, in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.data.files import fresh_folder, write_json, write_text
from stages.tasks.forecast.data.series import calendar_date

from ..reports.replay import FOLDER, PICTURE, REPORT
from ..reports.tables import markdown_table
from .picture import picture
from .summary import Row, as_dicts, rows, scored, tables
from .walk import KEY, Walk

_COLUMNS = ("policy", "day", "trained", "unique_id", "ds", "mean", "q05", "q50", "q95", "y")


def write(task: str, walk: Walk, policies: Sequence[str], facts: Mapping[str, Any]) -> list[Row]:
    """Write `replay/TASK/`; returns the rows of the summary.

        forecasts.csv   a forecast day a row: the day of decision, the last day of the data that the model was trained
                        on, the forecast, and what came, where that was observed
        decisions.csv   a policy and day of decision a row: alarm, reason to train, the gate's verdict, who is champion
        replay.json     `facts`, and what each policy reached and cost
        replay.png      the error over time
        report.md       the summary as tables, for the reports of nights

    Raises ValueError where no forecast day has come.
    """
    import pandas as pd

    forecasts = pd.concat(walk.forecasts, ignore_index=True)
    came = pd.concat(walk.came, ignore_index=True) if walk.came else None
    if came is None or (table := scored(forecasts, came)).empty:
        raise ValueError("no forecast can be scored yet; allowed: days of decision before the last day of the data")
    found = rows(table, walk.decisions, policies)
    everything = forecasts.merge(came[[*KEY, "y"]], on=KEY, how="left")
    everything["trained"] = ["" if pd.isna(day) else calendar_date(int(day)) for day in everything["version"]]
    with fresh_folder(FOLDER / task) as folder:
        everything[list(_COLUMNS)].to_csv(folder / "forecasts.csv", index=False, date_format="%Y-%m-%d")
        pd.DataFrame([asdict(one) for one in walk.decisions]).to_csv(folder / "decisions.csv", index=False)
        write_json(folder / "replay.json", {**facts, "unanswered": walk.unanswered, "policies": as_dicts(found)})
        picture(table, walk.decisions, policies).savefig(folder / PICTURE)
        write_text(folder / REPORT, _report(found, facts))
    return found


def _report(found: Sequence[Row], facts: Mapping[str, Any]) -> str:
    who = "the gate decides who is champion" if facts["promotion"] == "gate" else "every training is promoted"
    parts = [f"{facts['from']} to {facts['to']}, decided every {facts['every']}; {who}."]
    parts += [markdown_table(head, body, align="l" + "r" * (len(head) - 1)) for head, *body in tables(found)]
    return "\n\n".join(parts) + "\n"
