"""The control charts of a policy's forecasts, day after day, as `stages.score` draws them from the whole store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stages.monitoring.control_chart import ControlChart, Reference, standardized
from stages.monitoring.scoring import verdict
from stages.params import AlarmParams

if TYPE_CHECKING:
    import pandas as pd

References = Callable[[int], Mapping[tuple[int, str], Reference]]  # of a version, by version and series


@dataclass
class Charts:
    """The charts of every series of one policy."""

    alarm: AlarmParams
    references: References
    _charts: dict[str, ControlChart] = field(default_factory=dict)
    _recent: list[pd.DataFrame] = field(default_factory=list)

    def __call__(self, scored: pd.DataFrame) -> str:
        """Put days that have come on the charts, and say why there is an alarm; empty where there is none.

        `scored` holds the forecasts of the days: `unique_id`, `ds`, `origin`, `version`, `y`, `q05`, `q50`, `q95`. Of a
        day the newest forecast counts. Each call has later days than those before. Each day is judged at its end; of
        several alarms the last is told.
        """
        import pandas as pd

        newest = scored.sort_values(["ds", "origin"], kind="stable").drop_duplicates(["unique_id", "ds"], keep="last")
        errors = standardized(*(newest[name].to_numpy(dtype=np.float64) for name in ("y", "q05", "q50", "q95")))
        days = newest["ds"].to_numpy().astype("datetime64[D]").astype(np.int64)
        ideal = Reference.of([], np.empty(0))
        alarms = []
        for name, day, error, version in zip(newest["unique_id"], days, errors, newest["version"], strict=True):
            reference = self.references(version).get((version, name), ideal)
            chart = self._charts.setdefault(name, ControlChart(self.alarm))
            alarms.append(" ".join(chart.add(int(day), float(error), reference).alarms))
        new = newest[["unique_id", "ds"]].assign(alarms=alarms)
        table = pd.concat([*self._recent, new], ignore_index=True)
        told = ""
        for day in new.loc[new["alarms"] != "", "ds"].unique():
            raised, reason = verdict(table[table["ds"] <= day], self.alarm)
            told = reason if raised else told
        self._recent = [table[table["ds"] > table["ds"].max() - pd.Timedelta(days=self.alarm.recent_days)]]
        return told
