"""How often drift is seen where there is some, and where there is none, at the limits of params.yaml.

    python -m benchmarks.drift                         the samples, and copies of real data beside the checkout
    python -m benchmarks.drift --draws 1000 --json drift.json

Each draw cuts a pool of examples, group by group, into what is learned and 500 others, makes a profile of the one and
compares the other with it as they are, and after a planted change. Columns: the share of draws with the verdict drift,
and with a warning or drift. The seeds of the draws begin at `--first-seed`; the limits are those of params.yaml, which
were chosen on none of them.

Series are made (autocorrelation 0, 0.5 and 0.8 from day to day, a week and a year, 3 to 6 years) and real: a stretch is
learned, and four weeks that follow it, up to a year later, are compared as they are and with the change planted in
units of the residual's standard deviation. `--daily` asks of each unchanged made series on every day of a year and
counts the alarms, a run of days with drift being one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.monitoring.drift import changes_of, judged
from stages.params import TaskParams, load
from stages.preprocessing.profile import Categories, Known, Numbers, Observed, profile_of
from stages.preprocessing.weekly import DAYS, DailySeries
from stages.tasks.forecast.data.series import regularize
from stages.tasks.protocol import Task
from stages.tasks.sketch.prepare.profile import shape_features
from stages.tasks.sketch.serve.profile import read as read_drawings
from stages.tasks.translation.serve.profile import read as read_sentences
from stages.tasks.video.prepare.profile import picture_features

from . import command, data
from .data import REPOSITORY

NOW = 500  # examples that are compared
COUNTS = {"accepted": 1, "rejected": 0}
LEARNED_SHARE = 0.7
SERIES = REPOSITORY.parent / "shared" / "data" / "series"


def subset(pool: Observed, examples: np.ndarray) -> Observed:
    """Some examples of a pool, by their numbers."""
    place = np.full(pool.examples, -1)
    place[examples] = np.arange(len(examples))

    def part(feature: Numbers | Categories) -> Numbers | Categories:
        own = np.arange(pool.examples) if feature.examples is None else feature.examples
        kept = np.flatnonzero(place[own] >= 0)
        numbers = None if feature.examples is None else place[own[kept]]
        if isinstance(feature, Numbers):
            return Numbers(feature.values[kept], numbers)
        return Categories(feature.codes[kept], feature.names, numbers)

    groups = None if pool.groups is None else pool.groups[examples]
    return Observed(examples=len(examples), features={n: part(f) for n, f in pool.features.items()}, groups=groups)


def cut(pool: Observed, generator: np.random.Generator, now: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples to learn from, and others to compare: whole groups on one side or the other."""
    groups = np.arange(pool.examples) if pool.groups is None else pool.groups
    order = generator.permutation(groups.max() + 1)
    ranks = np.argsort(order)[groups]
    by_rank = np.argsort(ranks, kind="stable")
    learned = int(min(LEARNED_SHARE * pool.examples, pool.examples - now))
    border = ranks[by_rank[learned]]
    return np.flatnonzero(ranks < border), by_rank[ranks[by_rank] >= border][:now]


def verdict(params: TaskParams, profile: Mapping[str, Any], observed: Observed) -> str:
    """The worst verdict on a feature."""
    features = judged(changes_of(profile, observed, {}, partial=True), params)
    return features[0].verdict if features else "none"


def rates(verdicts: list[str]) -> dict[str, Any]:
    """How many verdicts there are, and the shares of the bad ones."""
    return {
        "draws": len(verdicts),
        "drift": sum(v == "drift" for v in verdicts) / len(verdicts),
        "warning or drift": sum(v != "none" for v in verdicts) / len(verdicts),
    }


def measure(
    name: str,
    params: TaskParams,
    pool: Observed,
    changes: Mapping[str, Callable[[np.ndarray, np.random.Generator], Observed]],
    seeds: range,
) -> list[dict[str, Any]]:
    """A row for each change, the first without one. A change gives the examples by their numbers, changed."""
    whole = {"none": lambda numbers, _: subset(pool, numbers), **changes}
    found: dict[str, list[str]] = {change: [] for change in whole}
    for seed in seeds:
        generator = np.random.default_rng(seed)
        learned, now = cut(pool, generator, NOW)
        profile = profile_of(subset(pool, learned), COUNTS)
        for change, changed in whole.items():
            found[change].append(verdict(params, profile, changed(now, generator)))
    return [{"data": name, "change": change, **rates(verdicts)} for change, verdicts in found.items()]


def all_rows(prepared: Path) -> np.ndarray:
    """The rows of all splits."""
    return np.arange(len(open_prepared(prepared)[0]))


def without_class(pool: Observed) -> Callable[[np.ndarray, np.random.Generator], Observed]:
    """As many examples as asked for, of all classes but one, which is drawn."""
    feature = pool.features["class"]
    assert isinstance(feature, Categories)

    def change(now: np.ndarray, generator: np.random.Generator) -> Observed:
        gone = generator.integers(len(feature.names))
        left = now[feature.codes[now] != gone]
        return subset(pool, np.sort(left))

    return change


def drawings(name: str, prepared: Path, params: TaskParams, seeds: range) -> list[dict[str, Any]]:
    """Drawings: a class that is gone; all, or a third, broken off after half their points."""
    store, description = open_prepared(prepared)
    rows = all_rows(prepared)
    known = Known(description, prepared)
    pool = Task("sketch").profile().current(prepared, rows, known)
    asked = (
        {"drawing": strokes(store.sequence("values", row)[: -(-store.lengths("values")[row] // 2)])} for row in rows
    )
    halves = read_drawings(([row] for row in asked), known)
    broken = replace(pool, features={**halves.features, "class": pool.features["class"]})
    assert halves.examples == pool.examples
    by_points = shape_features([store.sequence("values", row) for row in rows])

    def a_third(now: np.ndarray, generator: np.random.Generator) -> Observed:
        chosen = generator.random(len(now)) < 1 / 3
        features: dict[str, Numbers | Categories] = {}
        for key, feature in by_points.items():
            half = halves.features[key]
            assert isinstance(half, Numbers)
            features[key] = Numbers(np.where(chosen, half.values[now], feature.values[now]))
        return Observed(examples=len(now), features=features)

    changes = {
        "a class is gone": without_class(pool),
        "half finished, all": lambda now, _: subset(broken, now),
        "half finished, a third": a_third,
    }
    return measure(name, params, pool, changes, seeds)


def strokes(steps: np.ndarray) -> list[list[list[int]]]:
    """Quick, Draw!'s `[[xs, ys], …]` of canonical steps."""
    ends = np.flatnonzero(steps[:-1, 2]) + 1
    return [part[:, :2].T.tolist() for part in np.split(steps, ends) if len(part)]


def clips(name: str, prepared: Path, params: TaskParams, seeds: range) -> list[dict[str, Any]]:
    """Clips: a class that is gone; brightness times 0.7, and times 0.85."""
    store, description = open_prepared(prepared)
    known = Known(description, prepared)
    pool = Task("video").profile().current(prepared, all_rows(prepared), known)
    side, _, channels = store.metadata["shape"]

    def darker(factor: float) -> Observed:
        frames = (store.sequence("frames", row).reshape(-1, side, side, channels) for row in range(len(store)))
        dark = picture_features((np.rint(clip * factor).astype(np.uint8) for clip in frames), known)
        return replace(pool, features={**pool.features, **dark})

    changes: dict[str, Callable[[np.ndarray, np.random.Generator], Observed]] = {"a class is gone": without_class(pool)}
    for factor in (0.7, 0.85):
        dark = darker(factor)
        changes[f"brightness times {factor}"] = lambda now, _, dark=dark: subset(dark, now)  # type: ignore[misc]
    return measure(name, params, pool, changes, seeds)


def sentences(
    name: str, prepared: Path, params: TaskParams, others: Mapping[str, list[str]], seeds: range
) -> list[dict[str, Any]]:
    """Sentences: those of other domains."""
    _, description = open_prepared(prepared)
    known = Known(description, prepared)
    pool = Task("translation").profile().current(prepared, all_rows(prepared), known)
    changes: dict[str, Callable[[np.ndarray, np.random.Generator], Observed]] = {}
    for domain, texts in others.items():
        other = read_sentences(([{"text": text}] for text in texts), known)

        def changed(now: np.ndarray, generator: np.random.Generator, other: Observed = other) -> Observed:
            return subset(other, np.sort(generator.choice(other.examples, len(now), replace=False)))

        changes[domain] = changed
    return measure(name, params, pool, changes, seeds)


def made_series(generator: np.random.Generator, correlation: float) -> np.ndarray:
    """A stationary daily series whose residual has a standard deviation of 1; 4 to 7 years."""
    days = int(generator.integers(4 * 365, 7 * 365))
    noise = generator.normal(size=days + 200) * np.sqrt(1 - correlation**2)
    for day in range(1, len(noise)):
        noise[day] += correlation * noise[day - 1]
    week = generator.normal(size=7) * 2
    time = np.arange(days)
    return noise[200:] + week[time % 7] + generator.uniform(0, 3) * np.sin(2 * np.pi * time / 365.25)


def real_series() -> Iterator[np.ndarray]:
    """Stretches of five years of the real series that are there, two years apart."""
    files: dict[str, tuple[Callable[[dict[str, str]], str], tuple[str, ...]]] = {
        "CTA_-_Ridership_-_Daily_Boarding_Totals.csv": (_american, ("bus", "rail_boardings")),
        "US_births_2000-2014_SSA.csv": (_in_columns, ("births",)),
        "daily-min-temperatures.csv": (lambda row: row["Date"], ("Temp",)),
    }
    for file, (day, names) in files.items():
        if not (SERIES / file).is_file():
            continue
        with (SERIES / file).open(encoding="utf-8", newline="") as text:
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
    "spread times 2": ("spread", 2.0),
    "pattern by 2 σ": ("pattern", 2.0),
}


def series_rows(
    name: str, params: TaskParams, stretches: Iterator[tuple[np.ndarray, np.random.Generator]]
) -> list[dict[str, Any]]:
    """A row for each change of the last four weeks of stretches, each with what draws how much of it was learned."""
    found: dict[str, list[str]] = {change: [] for change in SERIES_CHANGES}
    for values, generator in stretches:
        ahead = int(generator.integers(DAYS, 365))
        end = len(values) - int(generator.integers(0, 365 - ahead + 1))
        learned = as_series(values[: end - ahead])
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


def pools(work: Path, shared: Path, seeds: range) -> Iterator[list[dict[str, Any]]]:
    """The rows of every pool of examples that can be had."""
    params = load(REPOSITORY / "params.yaml")
    yield drawings("doodles (sample)", data.prepared(Task("sketch"), params["sketch"], work), params["sketch"], seeds)
    more = data.overlaid(params["video"], {"source": {"clips_per_class": 250}})
    yield clips("digits in motion (sample)", data.prepared(Task("video"), more, work), more, seeds)
    english = list(sentences_of(shared / "tatoeba")) if (shared / "tatoeba").is_dir() else []
    dates = data.prepared(Task("translation"), params["translation"], work)
    if english:
        yield sentences("dates (sample)", dates, params["translation"], {"English sentences": english}, seeds)
    if english and (shared / "multi30k").is_dir():
        task, own = data.recipe_params("multi30k", shared / "multi30k", work)
        domains = {"everyday sentences of Tatoeba": english}
        yield sentences("captions of Multi30k", data.prepared(task, own, work), own, domains, seeds)


def sentences_of(folder: Path) -> Iterator[str]:
    """The English side of a Tatoeba zip."""
    import zipfile

    with zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        with archive.open(largest) as file:
            for line in file:
                yield line.decode().partition("\t")[0]


def main() -> None:
    """The command line."""
    parser = command.parser("drift", __doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument(
        "--daily", type=int, default=0, metavar="SERIES", help="made series that are asked of every day"
    )
    parser.add_argument("--work", type=Path, default=REPOSITORY / "data" / "benchmarks", help="folder for what is made")
    parser.add_argument(
        "--shared", type=Path, default=REPOSITORY.parent / "shared" / "data", help="copies of real data"
    )
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.draws)
    rows: list[dict[str, Any]] = []
    for found in pools(args.work, args.shared, seeds):
        print(command.table(found), flush=True)
        rows += found
    params = load(REPOSITORY / "params.yaml")["forecast"]
    for correlation in (0.0, 0.5, 0.8):
        generators = map(np.random.default_rng, seeds)
        stretches = ((made_series(generator, correlation), generator) for generator in generators)
        found = series_rows(f"series, autocorrelation {correlation}", params, stretches)
        print(command.table(found), flush=True)
        rows += found
    real = ((values, np.random.default_rng(seed)) for seed in seeds[:10] for values in real_series())
    if found := series_rows("real series", params, real):
        print(command.table(found), flush=True)
        rows += found
    daily = [alarms(params, seeds[: args.daily], one) for one in (0.0, 0.5, 0.8)] if args.daily else []
    print(command.table(daily) if daily else "", end="")
    command.write(args.json, {"machine": command.machine(), "rows": rows, "daily": daily})


if __name__ == "__main__":
    main()
