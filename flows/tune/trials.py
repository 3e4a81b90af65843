"""The trials of a study as people see them: a table in Markdown, a CSV file, a picture."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from .space import Dimension
from .study import Tried

_COLUMNS = 2  # panels beside each other
_PANEL = (5.0, 3.4)  # inches
_MARGIN = 1.1  # left and right of a logarithmic axis, as a factor
_DECADES = 1000  # up to this ratio of its ends, 2 and 5 are labelled, too
_LONGEST_MESSAGE = 160  # letters in the table


def markdown(tried: Sequence[Tried], best: Tried | None, *, monitor: str, name: Callable[[int], str]) -> str:
    """The table, and below it the command that applies the best trial. `name` names a trial's experiment."""
    keys = _keys(tried)
    header = [
        "trial",
        *(key.partition(".")[2] for key in keys),
        f"validation {monitor}",
        "epochs",
        "state",
        "experiment",
    ]
    rows = [header, ["---"] * len(header)]
    for one in tried:
        state = one.state if one.twin_of is None else f"{one.state} (as trial {one.twin_of})"
        if one.state == "failed" and one.twin_of is None:
            state += f": {_one_line(one.message)}"
        mark = "**" if best and one.number == best.number else ""
        rows.append(
            [
                f"{mark}{one.number}{mark}",
                *(_shown(one.values.get(key)) for key in keys),
                "" if one.objective is None else f"{mark}{one.objective:.6g}{mark}",
                str(one.epochs or ""),
                state,
                f"`{name(one.number)}`" if one.state == "complete" and one.twin_of is None else "",
            ]
        )
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    if best is None:
        return table
    return f"{table}\n\nThe best one into the checkout:\n\n```sh\n{apply_command(name(best.number))}\n```"


def apply_command(experiment: str) -> str:
    """What brings a trial's params and results into the checkout."""
    return f"dvc exp apply {experiment}"


def as_csv(tried: Sequence[Tried], *, name: Callable[[int], str]) -> str:
    """One row a trial; lists and texts as JSON."""
    keys = _keys(tried)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *keys, "objective", "epochs", "state", "twin_of", "experiment", "signature", "message"])
    for one in tried:
        experiment = name(one.number) if one.state == "complete" and one.twin_of is None else ""
        values = [one.values.get(key) for key in keys]
        cells = [value if isinstance(value, (int, float)) else json.dumps(value) for value in values]
        facts = [one.objective, one.epochs, one.state, one.twin_of, experiment, one.signature, one.message]
        writer.writerow([one.number, *cells, *("" if fact is None else fact for fact in facts)])
    return text.getvalue()


def picture(tried: Sequence[Tried], dimensions: Sequence[Dimension], *, monitor: str, minimise: bool) -> bytes:
    """A PNG: the objective by trial with the best so far, and the objective against each searched param."""
    from matplotlib.figure import Figure

    measured = [one for one in tried if one.objective is not None]
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


def embedded(png: bytes) -> str:
    """A picture in Markdown that holds it. (Prefect's own artifact for images shows such an address as a text, too.)"""
    return f"![trials](data:image/png;base64,{base64.b64encode(png).decode()})"


def _by_trial(panel: Any, measured: Sequence[Tried], *, minimise: bool) -> None:
    _scatter(panel, [(one.number, one) for one in measured])
    best: list[float] = []
    complete = [one for one in measured if one.state == "complete" and one.objective is not None]
    for one in complete:
        assert one.objective is not None
        best.append(one.objective if not best else (min if minimise else max)(best[-1], one.objective))
    panel.step([one.number for one in complete], best, where="post", color="tab:red", label="best so far")
    panel.set_xlabel("trial")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend(fontsize="small")


def _by_param(panel: Any, measured: Sequence[Tried], one: Dimension) -> None:
    if one.kind == "choice":
        texts = [_shown(choice) for choice in one.choices]
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


def _scatter(panel: Any, points: Sequence[tuple[float, Tried]]) -> None:
    for state, style in (("complete", {"color": "tab:blue"}), ("pruned", {"facecolor": "none", "edgecolor": "gray"})):
        some = [(x, one.objective) for x, one in points if one.state == state]
        if some:
            panel.scatter([x for x, _ in some], [y for _, y in some], label=state, **style)


def _keys(tried: Sequence[Tried]) -> list[str]:
    return list(dict.fromkeys(key for one in tried for key in one.values))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
