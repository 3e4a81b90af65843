"""Have the champion forecast the coming days of every series in the newest data, and store its answers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..paths import resume_folder
from ..progress_bar import ProgressBar
from ..registry.champion import load_model
from .forecast_store import ForecastStore
from .watched import open_champion

if TYPE_CHECKING:
    import pandas as pd

    from ..params import TaskParams
    from ..tasks.protocol import Task

_AT_ONCE = 256  # series that are sent together: two years of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasted:
    """What a run of `forecast` has added to the store."""

    rows: int  # forecast days that are new
    series: int  # that they are of
    known: int  # series that this version had forecast from their origin before
    refused: int  # series that the model did not answer
    origin: str  # the newest first day that was asked for
    version: int  # of the champion
    summary: str  # a sentence or two for people


def forecast_task(task: Task, params: TaskParams) -> Forecasted:
    """Have the champion forecast every series from the day after its last one, unless it has.

    One process of this checkout at a time does so for a task. Raises ValueError where there is no champion, or nothing
    that it can answer.
    """
    store = ForecastStore(params.monitor.store, task.name)  # type: ignore[attr-defined]  # of such tasks alone
    module, prepared = task.forecasts(), task.paths.prepared
    resume_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(resume_folder() / f"{task.name}.forecasts.lock"):
        origins = module.origins(prepared)
        version = int(open_champion(task)[1].version)
        by_origin: dict[date, list[str]] = defaultdict(list)
        for name, origin in origins.items():
            by_origin[origin].append(name)
        asked = {
            origin: [name for name in names if name not in known]
            for origin, names in sorted(by_origin.items())
            for known in [store.series(origin, version)]
        }
        count = sum(map(len, asked.values()))
        rows, answered, faults = 0, 0, []
        if count:
            model = load_model(task.description().model_name, str(version))
            with ProgressBar("forecast", total=count, unit="series") as bar:
                for origin, names in asked.items():
                    found, refused = _ask(model, module, prepared, names, bar)
                    faults += refused
                    if len(found):
                        rows += store.write(origin, version, found)
                        answered += found["unique_id"].nunique()
    if count == len(origins) and not answered:
        raise ValueError(f"version {version} cannot answer any of {count:,} series, such as {faults[0]}")
    oldest, newest = (day.isoformat() for day in (min(origins.values()), max(origins.values())))
    since = f" from {newest} on" if oldest == newest else f", each from the day after its last, {oldest} to {newest},"
    summary = f"version {version} has forecast {answered:,} of {len(origins):,} series{since} in {store.shown}"
    if count < len(origins):
        summary += f"; {len(origins) - count:,} were already stored"
    if faults:
        summary += f"; {len(faults):,} could not be answered, such as {faults[0]}"
    return Forecasted(
        rows=rows,
        series=answered,
        known=len(origins) - count,
        refused=len(faults),
        origin=newest,
        version=version,
        summary=summary,
    )


def _ask(model: Any, module: Any, prepared: Any, names: list[str], bar: ProgressBar) -> tuple[pd.DataFrame, list[str]]:
    """The forecasts of some series, and the names of those that were refused, each with the reason."""
    import pandas as pd

    tables: list[pd.DataFrame] = []
    refused: list[str] = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        answers = model.predict(module.history(prepared, some), params={"on_error": "report"})
        failed = answers["error"].notna() if "error" in answers else pd.Series(False, index=answers.index)
        refused += [f"{row.unique_id}: {row.error}" for row in answers[failed].itertuples()]
        tables.append(answers[~failed])
        bar.update(len(some))
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()), refused
