"""The data as it stood at the end of a day: cut, prepared, asked about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.files import write_json
from stages.data.prepared import open_prepared
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.tasks.forecast.data.series import HORIZON, calendar_date
from stages.tasks.forecast.evaluate.baselines import seasonal_naive
from stages.tasks.forecast.evaluate.comparison import HISTORY_DAYS
from stages.tasks.forecast.params import Params
from stages.tasks.forecast.prepare.names import Names
from stages.tasks.forecast.prepare.readers import Observation, read_csv, read_tsf
from stages.tasks.protocol import Task

from .raw_files import RawFiles

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Snapshot:
    """A folder laid out as a checkout's, whose `data/` holds what was known at the end of `day` (since 1970-01-01)."""

    task: Task
    params: Params
    day: int
    folder: Path

    @staticmethod
    def take(task: Task, params: Params, raw: RawFiles, day: int, folder: Path) -> Snapshot:
        """Cut and prepare the data in a new folder. Raises ValueError where preprocess would have failed that day."""
        snapshot = Snapshot(task, params, day, folder)
        raw.write(day, snapshot.raw)
        output = Preparation(snapshot.prepared, max_rejected_share=params.prepare.max_rejected_share)
        try:
            with output:
                task.prepare().prepare(snapshot.raw, params.prepare, output)
        except PreparationError as error:
            raise ValueError(f"the data as of {calendar_date(day)}: {error}") from None
        write_json(snapshot.preparation_metrics, output.metrics())
        return snapshot

    @property
    def raw(self) -> Path:
        return self.folder / self.task.paths.raw

    @property
    def prepared(self) -> Path:
        return self.folder / self.task.paths.prepared

    @property
    def preparation_metrics(self) -> Path:
        return self.folder / self.task.paths.preparation_metrics

    def question(self) -> tuple[pd.DataFrame, set[str]]:
        """Two years of every prepared series as the registered model is asked with them: `unique_id`, `ds`, `y` and the
        data's covariates. With `known_columns`, rows without `y` tell of the days ahead. And the names of the series
        that preprocess rejects.
        """
        import pandas as pd

        last, params = self._last_days(), self.params.prepare
        rows: list[tuple[str | float, ...]] = []
        rejected: set[str] = set()
        names = Names()
        for path in sorted(self.raw.iterdir()):
            csv = path.suffix == ".csv"
            for found in read_csv(path, params, names) if csv else read_tsf(path, names, params.encoding):
                if not isinstance(found, Observation):
                    continue
                if found.series not in last:
                    rejected.add(found.series)
                elif found.day > last[found.series] - HISTORY_DAYS:
                    rows.append((found.series, found.day, found.value, *found.covariates))
        frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y", *params.known_columns, *params.past_columns])
        return frame.assign(ds=frame["ds"].to_numpy().astype("datetime64[D]").astype("datetime64[ns]")), rejected

    def came(self, after: int) -> pd.DataFrame:
        """What was observed on the days after `after`, up to this one: `unique_id`, `ds`, `y`, and `scale`, what MASE
        divides the series' errors by.
        """
        return self.task.forecasts().actuals(self.prepared, calendar_date(after + 1))

    def last_week(self) -> pd.DataFrame:
        """The seasonal naive forecast of every series: `unique_id`, `ds`, `mean`, without quantiles."""
        import numpy as np
        import pandas as pd

        store, _ = open_prepared(self.prepared)
        tables = []
        for row, (name, last) in enumerate(self._last_days().items()):
            ds = (last + np.arange(1, HORIZON + 1)).astype("datetime64[D]").astype("datetime64[ns]")
            mean = seasonal_naive(store.sequence("values", row))
            tables.append(pd.DataFrame({"unique_id": name, "ds": ds, "mean": mean}))
        return pd.concat(tables, ignore_index=True)

    def _last_days(self) -> dict[str, int]:
        """By series, in the store's order, the last day of its data."""
        store, _ = open_prepared(self.prepared)
        starts = store.column("start").astype("datetime64[D]").astype("int64")
        return dict(zip(store.column("id").tolist(), (starts + store.column("length") - 1).tolist(), strict=True))
