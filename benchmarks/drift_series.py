"""How often drift is seen in series that change, and in some that do not, at the limits of params.yaml.

    python -m benchmarks.drift_series                         made series, and real ones beside the checkout
    python -m benchmarks.drift_series --draws 1000 --daily 50 --json drift_series.json
    python -m benchmarks.drift_series --held-back 547           as if profiles were of the training days alone

Series are made (autocorrelation 0, 0.5 and 0.8 from day to day, a week and a year, 4 to 7 years) and real: a stretch is
learned, and four weeks that follow it, up to a year later, are compared as they are and with a change planted into
them, in standard deviations of what neither week nor weekday explains. Real series do change; what is said of them as
they are is no false alarm for sure. `--daily` asks of each unchanged made series on every day of a year and counts the
alarms, a run of days with drift being one. The seeds begin at `--first-seed`; the limits were chosen on none of them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from stages.params import TaskParams, load
from stages.preprocessing.profile import Observed, profile_of
from stages.preprocessing.weekly import DAYS, DailySeries
from stages.tasks.forecast.data.series import regularize

from . import command
from .data import REPOSITORY
from .drift import COUNTS, rates, verdict

CORRELATIONS = (0.0, 0.5, 0.8)


def made_series(generator: np.random.Generator, correlation: float) -> np.ndarray:
    """A stationary daily series whose residual has a standard deviation of 1; 4 to 7 years."""
    days = int(generator.integers(4 * 365, 7 * 365))
    noise = generator.normal(size=days + 200) * np.sqrt(1 - correlation**2)
    for day in range(1, len(noise)):
        noise[day] += correlation * noise[day - 1]
    week = generator.normal(size=7) * 2
    time = np.arange(days)
    return noise[200:] + week[time % 7] + generator.uniform(0, 3) * np.sin(2 * np.pi * time / 365.25)


def real_series(folder: Path) -> Iterator[np.ndarray]:
    """Stretches of five years of the real series that are there, two years apart."""
    files: dict[str, tuple[Callable[[dict[str, str]], str], tuple[str, ...]]] = {
        "CTA_-_Ridership_-_Daily_Boarding_Totals.csv": (_american, ("bus", "rail_boardings")),
        "US_births_2000-2014_SSA.csv": (_in_columns, ("births",)),
        "daily-min-temperatures.csv": (lambda row: row["Date"], ("Temp",)),
    }
    for file, (day, names) in files.items():
        if not (folder / file).is_file():
            continue
        with (folder / file).open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
        days = np.array([np.datetime64(day(row), "D") for row in rows]).astype(np.int64)
        for name in names:
            values = np.array([float(row[name].replace(",", "")) for row in rows])
            whole = regularize(days, values, duplicates="first", max_gap_days=30, min_days=5 * 365).values
            for start in range(0, len(whole) - 5 * 365, 2 * 365):
                yield whole[start : start + 5 * 365]


def _american(row: dict[str, str]) -> str:
    month, day, year = row["service_date"].split("/")
    return f"{year}-{month}-{day}"


def _in_columns(row: dict[str, str]) -> str:
    return f"{row['year']}-{int(row['month']):02d}-{int(row['date_of_month']):02d}"


def planted(values: np.ndarray, change: str, size: float, residual: float, days: int = DAYS) -> np.ndarray:
    """A series whose last days are changed, by so many deviations of its residual."""
    changed = values.copy()
    newest = changed[-days:]
    if change == "level":
        newest += size * residual
    elif change == "spread":
        week = newest.reshape(-1, 7).mean(axis=0)
        newest[:] = np.tile(week, days // 7) + size * (newest - np.tile(week, days // 7))
    elif change == "pattern":
        newest += np.tile(size * residual * np.array([1, -1, 1, -1, 1, -1, 0]), days // 7)
    return changed


SERIES_CHANGES = {
    "none": ("none", 0.0),
    "level by 2 σ": ("level", 2.0),
    "level by 1 σ": ("level", 1.0),
    "level by 5 σ": ("level", 5.0),
    "spread times 2": ("spread", 2.0),
    "pattern by 2 σ": ("pattern", 2.0),
}


def series_rows(
    name: str, params: TaskParams, stretches: Iterator[tuple[np.ndarray, np.random.Generator]], held_back: int
) -> list[dict[str, Any]]:
    """A row for each change of the last four weeks of stretches, each with what draws how much of it was learned, but
    for so many days more that were held back.
    """
    found: dict[str, list[str]] = {change: [] for change in SERIES_CHANGES}
    for values, generator in stretches:
        ahead = int(generator.integers(DAYS, 365))
        end = len(values) - int(generator.integers(0, 365 - ahead + 1))
        learned = as_series(values[: end - ahead - held_back])
        profile = profile_of(Observed(examples=1, series=[learned]), COUNTS)
        residual = profile["series"]["lines"]["series"]["variance"] ** 0.5
        for change, (kind, size) in SERIES_CHANGES.items():
            now = as_series(planted(values[:end], kind, size, residual))
            found[change].append(verdict(params, profile, Observed(examples=1, series=[now])))
    return [{"data": name, "change": change, **rates(verdicts)} for change, verdicts in found.items() if verdicts]


def alarms(params: TaskParams, seeds: range, correlation: float) -> dict[str, Any]:
    """Alarms a series and year of daily checks, on made series that do not change."""
    counts = []
    for seed in seeds:
        values = made_series(np.random.default_rng(seed), correlation)
        profile = profile_of(Observed(examples=1, series=[as_series(values[:-365])]), COUNTS)
        days = [
            verdict(params, profile, Observed(examples=1, series=[as_series(values[: len(values) - 364 + day])]))
            == "drift"
            for day in range(365)
        ]
        counts.append(int(np.diff(np.array([False, *days]).astype(int)).clip(0).sum()))
    return {
        "autocorrelation": correlation,
        "series": len(counts),
        "alarms a series and year": float(np.mean(counts)),
        "series with any": float(np.mean(np.array(counts) > 0)),
    }


def as_series(values: np.ndarray) -> DailySeries:
    """A series from 2001 on without missing days."""
    start = date(2001, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
    return DailySeries(name="series", start=start, values=values, observed=np.ones(len(values), dtype=bool))


def main() -> None:
    """The command line."""
    parser = command.parser("drift_series", __doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument("--held-back", type=int, default=0, metavar="DAYS", help="that the profile does not know")
    parser.add_argument(
        "--daily", type=int, default=0, metavar="SERIES", help="made series that are asked of every day"
    )
    parser.add_argument("--series", type=Path, default=REPOSITORY.parent / "shared" / "data" / "series")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.draws)
    params = load(REPOSITORY / "params.yaml")["forecast"]
    rows: list[dict[str, Any]] = []
    for correlation in CORRELATIONS:
        generators = map(np.random.default_rng, seeds)
        stretches = ((made_series(generator, correlation), generator) for generator in generators)
        rows += series_rows(f"made, autocorrelation {correlation}", params, stretches, args.held_back)
    real = ((values, np.random.default_rng(seed)) for seed in seeds[:5] for values in real_series(args.series))
    rows += series_rows("real", params, real, args.held_back)
    print(command.table(rows), flush=True)
    daily = [alarms(params, seeds[: args.daily], one) for one in CORRELATIONS] if args.daily else []
    print(command.table(daily) if daily else "", end="")
    command.write(args.json, {"machine": command.machine(), "rows": rows, "daily": daily})


if __name__ == "__main__":
    main()
