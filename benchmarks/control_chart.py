"""How often the control chart of `score` raises a false alarm, and how soon it finds a change.

    python -m benchmarks.control_chart            the tables of docs/alarms-measured.md, on stretches that chose nothing
    python -m benchmarks.control_chart power      the last of these tables alone; --picture FILE draws it
    python -m benchmarks.control_chart choose     false alarms and power by limit, on the stretches that choose it

A stretch is a year of a champion's errors in which nothing changes, after the year that is its test split. Made ones
are drawn, 40 of each of five kinds; real ones are those of a ridge regression on 28 lags, weekday, year and holidays
that learned from the years before: Chicago's bus and rail, births, Melbourne, M4's daily series. Real stretches count
as stationary where the KPSS test (statsmodels, 28 lags) finds neither level nor size of the errors of both years
changing at 5 %; the others have a line of their own. Every other real stretch, and made ones of another seed, choose.

A change is planted in the errors at three days of each stretch, in standard deviations of the errors of its test
split, and counts as found where any chart raises an alarm in time, one that chance raises included (last column).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stages.monitoring.control_chart import CHARTS, ControlChart, Reference
from stages.params import AlarmParams, load

from . import command
from .command import Rows
from .stretches import SERIES, YEAR, Stretch, made, real, typical_deviation

CHOOSING, REPORTING = 1, 2  # seeds
SHIFTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of the power curve, in standard deviations

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of errors in standard deviations, by their days


CHANGES: dict[str, tuple[Change, int]] = {
    "level, 2 σ, in 14 days": (lambda errors, days: errors + 2, 14),
    "level, 1 σ, in 28 days": (lambda errors, days: errors + 1, 28),
    "level, 1 σ, in 14 days": (lambda errors, days: errors + 1, 14),
    "spread, × 2, in 28 days": (lambda errors, days: errors * 2, 28),
    "weekend 2 σ lower, other days 0.8 σ higher, in 28 days": (
        lambda errors, days: errors + np.where(days % 7 < 2, -2.0, 0.8),
        28,
    ),
    "one weekday alone 2 σ higher, in 28 days": (lambda errors, days: errors + np.where(days % 7 < 1, 2.0, 0.0), 28),
}


def is_stationary(stretch: Stretch) -> bool:
    """Whether KPSS finds neither the level nor the size of the errors changing, at 5 %."""
    from statsmodels.tsa.stattools import kpss

    reference = _reference(stretch)
    scores = np.array([reference.score(error) for error in stretch.errors.tolist()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table of its p-values ends at 10 %
        return all(kpss(part, nlags=28)[1] >= 0.05 for part in (scores, np.abs(scores)))


def _reference(stretch: Stretch) -> Reference:
    return Reference.of(stretch.days[: stretch.split].tolist(), stretch.errors[: stretch.split])


def alarms(stretch: Stretch, limits: AlarmParams) -> dict[str, int]:
    """By chart, those of the year in which nothing changed; `days` says how many days it had."""
    reference, chart = _reference(stretch), ControlChart(limits)
    counts = dict.fromkeys(CHARTS, 0)
    for day, error in zip(
        stretch.days[stretch.split :].tolist(), stretch.errors[stretch.split :].tolist(), strict=True
    ):
        for name in chart.add(day, error, reference).alarms:
            counts[name] += 1
    return {**counts, "days": len(stretch.days) - stretch.split}


ADAPTED = {"level of the series, 2 σ, in 14 days": (2.0, 14), "level of the series, 1 σ, in 28 days": (1.0, 28)}


def found(stretch: Stretch, limits: AlarmParams, seed: int) -> dict[str, list[bool]]:
    """By change, whether each of three is found in time; `chance` for 28 days without a change. ADAPTED are planted in
    the series, which the champion goes on reading: of real stretches alone.
    """
    generator = np.random.default_rng(seed)
    reference, chart = _reference(stretch), ControlChart(limits)
    sigma = typical_deviation(stretch.errors[: stretch.split])
    days, errors = stretch.days[stretch.split :], stretch.errors[stretch.split :]
    starts = sorted(generator.choice(np.arange(60, len(days) - 28), 3, replace=False).tolist())
    results: dict[str, list[bool]] = {name: [] for name in (*CHANGES, *ADAPTED, "chance")}
    for day in range(len(days)):
        if day in starts:
            for name, (by, within) in ADAPTED.items():
                if stretch.raised is None:
                    continue
                trial, window = copy.deepcopy(chart), slice(day, day + within)
                changed = stretch.raised(stretch.split + day, by)[stretch.split :][window]
                pairs = zip(days[window].tolist(), changed.tolist(), strict=True)
                results[name].append(any(trial.add(*pair, reference).alarms for pair in pairs))
            for name, (change, within) in {**CHANGES, "chance": (lambda errors, days: errors, 28)}.items():
                trial, window = copy.deepcopy(chart), slice(day, day + within)
                changed = sigma * change(errors[window] / sigma, days[window])
                pairs = zip(days[window].tolist(), changed.tolist(), strict=True)
                results[name].append(any(trial.add(*pair, reference).alarms for pair in pairs))
        chart.add(int(days[day]), float(errors[day]), reference)
    return results


def optimal(days: int, shift: float, sides: int, *, runs: int = 20_000, seed: int = 0) -> float:
    """How often a CUSUM for just this shift, of independent normal errors that it knows all about, finds it: the
    best there can be with one false alarm in 365 days (Moustakides, 1986), looking up, or to both `sides`.
    """
    generator = np.random.default_rng(seed)
    signs = np.array([1.0, -1.0])[:sides, None]

    def advance(total: np.ndarray, errors: np.ndarray, limit: float) -> np.ndarray:
        """Add a day to `(sides, runs)` in place, set those beyond the limit back; returns which they are."""
        total[:] = np.maximum(0.0, total + signs * errors - shift / 2)
        beyond: np.ndarray = np.any(total > limit, axis=0)
        total[:, beyond] = 0.0
        return np.asarray(beyond)

    low, high = 1.0, 20.0
    for _ in range(14):
        middle, total = (low + high) / 2, np.zeros((sides, 400))
        count = sum(int(advance(total, errors, middle).sum()) for errors in generator.standard_normal((1500, 400)))
        low, high = (middle, high) if count / (1500 * 400) > 1 / YEAR else (low, middle)
    total, hit = np.zeros((sides, runs)), np.zeros(runs, dtype=bool)
    for errors in generator.standard_normal((60, runs)):
        advance(total, errors, high)
    for errors in generator.standard_normal((days, runs)):
        hit |= advance(total, errors + shift, high)
    return float(hit.mean())


def stretches(seed: int) -> list[Stretch]:
    """Those that choose or those that report."""
    real_ones = list(real()) if SERIES.is_dir() else []
    return [*made(seed), *real_ones[seed % 2 :: 2]]


def _group(stretch: Stretch, stationary: bool) -> str:
    if not stretch.real:
        return f"made: {stretch.kind}"
    name = next(
        name for name in ("Chicago's bus", "Chicago's rail", "births", "Melbourne", "M4") if name in stretch.kind
    )
    return f"real: {name}" if stationary else "real, but not stationary"


def report(limits: AlarmParams, seed: int) -> dict[str, Rows]:
    """False alarms a year, and the share of changes that are found, by group of stretches: two tables, printed too."""
    rows: dict[str, list[tuple[dict[str, int], dict[str, list[bool]]]]] = {}
    for number, stretch in enumerate(stretches(seed)):
        group = _group(stretch, not stretch.real or is_stationary(stretch))
        rows.setdefault(group, []).append((alarms(stretch, limits), found(stretch, limits, number)))
    counted = [group for group in rows if group != "real, but not stationary"]
    rows = {
        **rows,
        "all made": [row for group in counted if group.startswith("made") for row in rows[group]],
        "all real": [row for group in counted if group.startswith("real") for row in rows[group]],
        "all": [row for group in counted for row in rows[group]],
    }
    false_alarms, shares = [], []
    for group, results in rows.items():
        if not results:
            continue
        years = sum(counts["days"] for counts, _ in results) / YEAR
        rates = {chart: sum(counts[chart] for counts, _ in results) / years for chart in CHARTS}
        in_all = {"false alarms a year": sum(rates.values()), **rates}
        false_alarms.append(
            {"stretches": group, "n": len(results)} | {name: f"{rate:.2f}" for name, rate in in_all.items()}
        )
        hits = {name: [hit for _, of in results for hit in of[name]] for name in (*CHANGES, *ADAPTED, "chance")}
        shares.append(
            {"stretches": group} | {name: f"{np.mean(some):.1%}" if some else "" for name, some in hits.items()}
        )
    print(command.table(false_alarms), command.table(shares), sep="\n", flush=True)
    return {"false alarms": false_alarms, "found": shares}


def power(limits: AlarmParams, picture: Path | None) -> Rows:
    """How often a level is found, by days, in independent errors, beside the optimal CUSUM of each shift: a table,
    printed too.
    """
    within = (7, 14, 21, 28)
    columns = [
        *(f"{days} days" for days in within),
        *(f"optimal, {sides}, {days} days" for sides in ("both sides", "one side") for days in (14, 28)),
    ]
    rows, curves = [], []
    for shift in SHIFTS:
        delays = np.array(list(_delays(limits, shift)))
        ours = [float(np.mean(delays <= days)) for days in within]
        known = [optimal(days, shift, sides) for sides in (2, 1) for days in (14, 28)]
        rows.append(
            {"level": f"{shift} σ"} | dict(zip(columns, (f"{share:.1%}" for share in (*ours, *known)), strict=True))
        )
        curves.append([ours[1], ours[3], known[0], known[1]])
    if picture:
        _curves(np.array(curves)).savefig(picture, dpi=110, metadata={"Software": None})
    print(command.table(rows), flush=True)
    return rows


def _delays(limits: AlarmParams, shift: float) -> Iterator[int]:
    """Days to the first alarm after a level has come, 29 where there is none in 28; 400 times."""
    generator = np.random.default_rng(REPORTING)
    for _ in range(400):
        errors = generator.standard_normal(YEAR + 60 + 28)
        reference, chart = Reference.of(range(YEAR), errors[:YEAR]), ControlChart(limits)
        errors[-28:] += shift
        raised = [
            bool(chart.add(day, error, reference).alarms) for day, error in enumerate(errors.tolist()) if day >= YEAR
        ]
        yield next((day for day, hit in enumerate(raised[60:], start=1) if hit), 29)


def _curves(shares: np.ndarray) -> Figure:
    """Ours in 14 and 28 days, then the optimal CUSUM's, `(shifts, 4)`."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, (label, color, line) in enumerate(
        [
            ("in 14 days", "#2b6cb0", "-"),
            ("in 28 days", "#c05621", "-"),
            ("optimal CUSUM in 14 days", "#2b6cb0", ":"),
            ("optimal CUSUM in 28 days", "#c05621", ":"),
        ]
    ):
        axes.plot(SHIFTS, shares[:, place], line, color=color, label=label)
    axes.axhline(0.95, color="0.8", lw=0.8, zorder=0)
    axes.set_xlabel("change of level, in standard deviations of the error")
    axes.set_ylabel("found")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def choose(limits: AlarmParams) -> None:
    """Print the report of the choosing stretches for a few limits of each chart about those of params.yaml."""
    for factor in (0.9, 1.0, 1.1):
        tried = replace_limits(limits, factor)
        print(f"level {tried.level:.2f}, spread {tried.spread:.2f}, weekday {tried.weekday:.2f}")
        report(tried, CHOOSING)


def replace_limits(limits: AlarmParams, factor: float) -> AlarmParams:
    """All three by a factor."""
    return limits.model_copy(update={chart: getattr(limits, chart) * factor for chart in CHARTS})


def main() -> None:
    """The command line."""
    parser = command.parser("control_chart", __doc__)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the power curve as well")
    parser.add_argument("what", nargs="?", choices=["report", "power", "choose"], default="report")
    args = parser.parse_args()
    monitor: Any = load(Path("params.yaml"))["forecast"].monitor
    if args.what == "choose":
        choose(monitor.alarm)
        return
    tables = report(monitor.alarm, REPORTING) if args.what == "report" else {}
    command.write(args.json, {**tables, "power": power(monitor.alarm, args.picture)})


if __name__ == "__main__":
    main()
