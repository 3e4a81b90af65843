"""Where forecasts wait for what comes: one file for each task, origin and version, in a folder or at any address.

    ADDRESS/TASK/origin=DATE/version=N.parquet      unique_id, ds, mean, q05, q50, q95

The origin is the first day that is forecast; pandas, polars and DuckDB read the tree as a partitioned table. What was
forecast stays as it was: a series that stands in a file is not written again. A file is put there as a whole: by a
rename in a folder, by one request elsewhere, so that a killed writer leaves nothing that could be taken for a file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..fetch.remote import from_environment, redacted

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = ("q05", "q50", "q95")
COLUMNS = ("unique_id", "ds", "mean", *QUANTILES)
_FILE = re.compile(r"origin=(\d{4}-\d{2}-\d{2})/version=([1-9][0-9]*)\.parquet")
_PARTIAL = ".partial"
_READERS = 8  # files at a time: of a bucket, each costs a request
_LONGEST = 366  # days ahead; the forecaster gives seven


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds: `COLUMNS`, and `origin` (a timestamp) and `version` (a number), a row a forecast day."""

    rows: pd.DataFrame
    skipped: tuple[str, ...]  # files that are no forecasts, each with the reason


class ForecastStore:
    """The forecasts of a task below an address. Raises ValueError for an address that nothing reads."""

    def __init__(self, address: str, task: str) -> None:
        import fsspec

        self.shown = f"{redacted(address).rstrip('/')}/{task}"
        with self._errors():
            url = from_environment(address)
            # Another process may have written a moment ago.
            options = {} if "://" not in url else {"use_listings_cache": False}
            self._system, root = fsspec.url_to_fs(url, **options)
        self._root = f"{root.rstrip('/')}/{task}"
        self._local = "file" in (self._system.protocol if isinstance(self._system.protocol, tuple) else ("",))

    def forecasts(self, origin: date, version: int) -> pd.DataFrame | None:
        """What a version has forecast from an origin, or None. Raises ValueError for a file that is no forecast."""
        path = self._path(origin, version)
        with self._errors():
            exists = self._system.exists(path)
        return self._read(path) if exists else None

    def series(self, origin: date, version: int) -> frozenset[str]:
        """The series that a version has forecast from an origin. Raises ValueError for a file that is none."""
        table = self.forecasts(origin, version)
        return frozenset() if table is None else frozenset(table["unique_id"])

    def write(self, origin: date, version: int, rows: pd.DataFrame) -> int:
        """Add forecasts, of series that are not there from this origin and version; returns how many rows were added.

        Raises ValueError for what is no forecast from this origin: nothing is written then.
        """
        import pandas as pd

        if rows.empty:
            return 0
        fault = _fault(rows, origin)
        if fault:
            raise ValueError(f"{self.shown}: the forecast from {origin} was not stored: {fault}")
        before = self.forecasts(origin, version)
        known = rows["unique_id"].isin([] if before is None else before["unique_id"])
        new = rows.loc[~known, list(COLUMNS)]
        if len(new):
            whole = new if before is None else pd.concat([before, new], ignore_index=True)
            self._put(self._path(origin, version), _parquet(whole.sort_values(["unique_id", "ds"])))
        return len(new)

    def read(self) -> Stored:
        """All forecasts. What is no forecast is passed over, and named."""
        import pandas as pd

        with self._errors():
            found = self._system.find(self._root) if self._system.exists(self._root) else []
        names = {path: path[len(self._root) + 1 :] for path in sorted(found) if not path.endswith(_PARTIAL)}
        skipped = [
            f"{name}: the name is not origin=DATE/version=N.parquet" for name in names.values() if not _named(name)
        ]
        paths = [path for path, name in names.items() if _named(name)]
        with ThreadPoolExecutor(_READERS) as readers:
            read = list(readers.map(self._read_or_reason, paths))
        tables = []
        for path, table in zip(paths, read, strict=True):
            if isinstance(table, str):
                skipped.append(f"{names[path]}: {table}")
                continue
            origin, version = _FILE.fullmatch(names[path]).groups()  # type: ignore[union-attr]
            tables.append(table.assign(origin=pd.Timestamp(origin), version=int(version)))
        columns = [*COLUMNS, "origin", "version"]
        return Stored(pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns), tuple(skipped))

    def _path(self, origin: date, version: int) -> str:
        return f"{self._root}/origin={origin.isoformat()}/version={version}.parquet"

    def _read(self, path: str) -> pd.DataFrame:
        table = self._read_or_reason(path)
        if isinstance(table, str):
            raise ValueError(f"{self.shown}: {path[len(self._root) + 1 :]}: {table}; remove or repair the file")
        return table

    def _read_or_reason(self, path: str) -> pd.DataFrame | str:
        """The table of a file, or why it is none."""
        import pandas as pd

        with self._errors():
            content = self._system.cat_file(path)
        try:
            # A single file: the folder's name is no column of it.
            table = pd.read_parquet(io.BytesIO(content))
        except Exception as error:  # whatever pyarrow says of bytes that are no Parquet
            return f"not a Parquet file: {next(iter(str(error).splitlines()), type(error).__name__)}"
        match = _FILE.search(path)
        assert match
        return _fault(table, date.fromisoformat(match[1])) or table[list(COLUMNS)]

    def _put(self, path: str, content: bytes) -> None:
        with self._errors():
            if not self._local:
                self._system.pipe_file(path, content)
                return
            final = Path(path)
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary = final.with_name(f".{final.name}{_PARTIAL}")
            temporary.write_bytes(content)
            temporary.replace(final)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise
        except Exception as error:  # the library behind each protocol has errors of its own
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise OSError(f"{self.shown}: the forecast store cannot be used: {reason}") from None


def _named(name: str) -> bool:
    match = _FILE.fullmatch(name)
    try:
        return match is not None and date.fromisoformat(match[1]) is not None
    except ValueError:
        return False


def _fault(table: pd.DataFrame, origin: date) -> str:
    """What is wrong with a table of forecasts; empty where nothing is."""
    import numpy as np
    import pandas as pd

    if missing := [name for name in COLUMNS if name not in table.columns]:
        return f"found columns {', '.join(map(str, table.columns))[:200]}; missing: {', '.join(missing)}"
    if table.empty:
        return "found no rows"
    numbers = table[["mean", *QUANTILES]]
    if not all(pd.api.types.is_numeric_dtype(kind) for kind in numbers.dtypes):
        return "mean or a quantile is not a number"
    if not pd.api.types.is_datetime64_dtype(table["ds"]):
        return "ds is not a column of days"
    if table["unique_id"].isna().any() or not table["unique_id"].map(lambda name: isinstance(name, str)).all():
        return "unique_id is not a column of names"
    values = numbers.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        return (
            f"series {table['unique_id'][~np.isfinite(values).all(axis=1)].iloc[0]!r} has a number that is not finite"
        )
    low, middle, high = (numbers[name] for name in QUANTILES)
    if (crossed := (low > middle) | (middle > high)).any():
        name, *found = table.loc[crossed, ["unique_id", *QUANTILES]].iloc[0]
        said = ", ".join(f"{quantile} {value:g}" for quantile, value in zip(QUANTILES, found, strict=True))
        return f"the quantiles of series {name!r} cross: {said}"
    if (timed := table["ds"] != table["ds"].dt.normalize()).any():
        return f"ds {table['ds'][timed].iloc[0]} has a time of day; allowed: days"
    ahead = (table["ds"] - pd.Timestamp(origin)).dt.days
    if not ahead.between(0, _LONGEST).all():
        return f"ds {table['ds'][~ahead.between(0, _LONGEST)].iloc[0]:%Y-%m-%d} does not follow the origin {origin}"
    if table.duplicated(["unique_id", "ds"]).any():
        return f"series {table['unique_id'][table.duplicated(['unique_id', 'ds'])].iloc[0]!r} has a day twice"
    return ""


def _parquet(table: pd.DataFrame) -> bytes:
    """Equal rows give equal bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds: dict[str, Any] = {"unique_id": pa.string(), "ds": pa.timestamp("us")}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pandas(table[list(COLUMNS)], schema=schema, preserve_index=False), file)
    return file.getvalue()
