"""The trials of a study as people see them: a table in Markdown, a CSV file, a picture.

Optuna's own `trials_dataframe` and plots show the numbers as they were drawn, before they are rounded for params.yaml,
and leave out pruned trials.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from stages.data.csv_rows import row_writer

from ..reports.tables import markdown_table
from .space import Dimension
from .study import TrialRecord

_COLUMNS = 2  # panels beside each other
_PANEL = (5.0, 3.4)  # inches
_MARGIN = 1.1  # left and right of a logarithmic axis, as a factor
_DECADES = 1000  # up to this ratio of its ends, 2 and 5 are labelled, too
_LONGEST_MESSAGE = 160  # letters in the table


def markdown(
    records: Sequence[TrialRecord], best: TrialRecord | None, *, monitor: str, name: Callable[[int], str]
) -> str:
    """The table, and below it the command that applies the best trial. `name` names a trial's experiment."""
    keys = _keys(records)
    params = [key.partition(".")[2] for key in keys]
    rows = []
    for one in records:
        state = one.state if one.duplicate_of is None else f"{one.state} (as trial {one.duplicate_of})"
        if one.state == "failed" and one.duplicate_of is None:
            state += f": {_one_line(one.message)}"
        mark = "**" if best and one.number == best.number else ""
        number, values = f"{mark}{one.number}{mark}", [_shown(one.values.get(key)) for key in keys]
        objective = "" if one.objective is None else f"{mark}{one.objective:.6g}{mark}"
        experiment = f"`{name(one.number)}`" if _has_experiment(one) else ""
        rows.append([number, *values, objective, str(one.epochs or ""), state, experiment])
    table = markdown_table(["trial", *params, f"validation {monitor}", "epochs", "state", "experiment"], rows)
    if best is None:
        return table
    return f"{table}\n\nTo apply the best trial to the checkout:\n\n```sh\n{apply_command(name(best.number))}\n```"


def apply_command(experiment: str) -> str:
    """What brings a trial's params and results into the checkout."""
    return f"dvc exp apply {experiment}"


def as_csv(records: Sequence[TrialRecord], *, name: Callable[[int], str]) -> str:
    """One row a trial; lists and texts as JSON."""
    keys = _keys(records)
    text = io.StringIO(newline="")
    writer = row_writer(text)
    writer.writerow(["trial", *keys, "objective", "epochs", "state", "twin_of", "experiment", "signature", "message"])
    for one in records:
        experiment = name(one.number) if _has_experiment(one) else ""
        values = [one.values.get(key) for key in keys]
        cells = [value if isinstance(value, (int, float)) else json.dumps(value) for value in values]
        facts = [one.objective, one.epochs, one.state, one.duplicate_of, experiment, one.signature, one.message]
        writer.writerow([one.number, *cells, *facts])
    return text.getvalue()


def picture(records: Sequence[TrialRecord], dimensions: Sequence[Dimension], *, monitor: str, minimise: bool) -> bytes:
    """A PNG: the objective by trial with the best so far, and the objective against each searched param."""
    from matplotlib.figure import Figure

    measured = [one for one in records if one.objective is not None]
    panels = 1 + len(dimensions)
    columns = min(_COLUMNS, panels)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    _by_trial(axes[0], measured, minimise=minimise)
    for panel, one in zip(axes[1:], dimensions, strict=False):
        _by_param(panel, measured, one)
    for panel in axes[:panels:columns]:
        panel.set_ylabel(f"validation {monitor}")
    for panel in axes[panels:]:
        panel.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _by_trial(panel: Any, measured: Sequence[TrialRecord], *, minimise: bool) -> None:
    _scatter(panel, [(one.number, one) for one in measured])
    complete = {one.number: one.objective for one in measured if one.state == "complete"}
    best = list(accumulate(complete.values(), min if minimise else max))  # type: ignore[arg-type]
    panel.step(list(complete), best, where="post", color="tab:red", label="best so far")
    panel.set_xlabel("trial")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend(fontsize="small")


def _by_param(panel: Any, measured: Sequence[TrialRecord], one: Dimension) -> None:
    if one.kind == "choice":
        texts = [_shown(value) for value in one.choices]
        points = [(float(texts.index(_shown(trial.values[one.key]))), trial) for trial in measured]
        panel.set_xticks(range(len(texts)), texts)
        panel.set_xlim(-0.5, len(texts) - 0.5)
    else:
        points = [(float(trial.values[one.key]), trial) for trial in measured]
        if one.kind in ("log", "log_int"):
            from matplotlib.ticker import LogLocator, NullFormatter

            panel.set_xscale("log")
            panel.set_xlim(one.low / _MARGIN, one.high * _MARGIN)
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if one.high < _DECADES * one.low else (1,)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter(NullFormatter())
    _scatter(panel, points)
    panel.set_xlabel(one.key.partition(".")[2])


def _scatter(panel: Any, points: Sequence[tuple[float, TrialRecord]]) -> None:
    for state, style in (("complete", {"color": "tab:blue"}), ("pruned", {"facecolor": "none", "edgecolor": "gray"})):
        some = [(x, one.objective) for x, one in points if one.state == state]
        if some:
            panel.scatter([x for x, _ in some], [y for _, y in some], label=state, **style)


def _has_experiment(one: TrialRecord) -> bool:
    return one.state == "complete" and one.duplicate_of is None


def _keys(records: Sequence[TrialRecord]) -> list[str]:
    return list(dict.fromkeys(key for one in records for key in one.values))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
