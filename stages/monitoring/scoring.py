"""Forecasts beside what came: their errors, and whether these have changed.

`compare` works on tables in memory and knows neither store nor registry, so that a replay of past days can ask it for
every one of them. A day that has not come yet, or was not observed, is not scored. For the charts a day counts once for
each series: by the newest forecast of it. All else counts each forecast of a day, however many days ahead it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..evaluation.bootstrap import Scores, interval, ratio
from .control_chart import CHARTS, ControlChart, Reference, standardized

if TYPE_CHECKING:
    from ..params import AlarmParams

RECENT_DAYS = 90  # that metrics are of, up to the last day that came
METRICS = ("mae", "mase", "coverage_90")
_MANY_SERIES = 30  # from so many on they are what is drawn again; of fewer, four weeks of each
_BLOCK_DAYS = 28
_FALSE_ALARMS_A_DAY = 1 / 365.25  # of a series, as the limits of the charts are chosen
_WORDS = {
    "level": "too high or too low for long",
    "spread": "larger than the bands allow",
    "weekday": "the same on the same weekdays",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """A chart of a series went beyond its limit."""

    series: str
    day: str  # in ISO 8601
    chart: str  # level · spread · weekday


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """How good a task's answers are."""

    verdict: Literal["none", "alarm"]
    alarms: tuple[Alarm, ...]  # all there are, the oldest first
    summary: str  # a sentence or two for people
    metrics: dict[str, dict[str, float]]  # by metric: value, low, high, n, and those of the evaluation
    table: pd.DataFrame  # a row for each day of a series on the charts, or for each answer to a labelled file
    slices: pd.DataFrame  # slice, value, n and metrics: days ahead, day, series, version of the last 90 days, or class
    notes: tuple[str, ...] = field(default=())  # what was passed over, and why; whose forecasts these are


def references(predictions: Mapping[int, pd.DataFrame | None]) -> dict[tuple[int, str], Reference]:
    """By version and series, the errors on the version's test split: columns `actual`, `unique_id`, `ds`, quantiles."""
    found = {}
    for version, table in predictions.items():
        if table is None:
            continue
        for name, rows in (
            table.sort_values("ds", kind="stable").drop_duplicates(["unique_id", "ds"]).groupby("unique_id")
        ):
            errors = standardized(*(rows[column].to_numpy() for column in ("actual", "q05", "q50", "q95")))
            found[version, str(name)] = Reference.of(_day_numbers(rows["ds"]).tolist(), errors)
    return found


def compare(
    forecasts: pd.DataFrame,
    actuals: pd.DataFrame,
    known: Mapping[tuple[int, str], Reference],
    alarm: AlarmParams,
    evaluated: Mapping[str, Any] | None = None,
) -> Scored:
    """Score what a store holds (`forecast_store.Stored.rows`) by what came (`protocol.Forecasts.actuals`).

    `known` are references by version and series, in whose place stands an ideal model's where there is none;
    `evaluated` the metrics of the evaluation, to show beside. No value after a day changes a row or an alarm of it.
    """
    scored = _joined(forecasts, actuals)
    days = _on_charts(scored, known, alarm)
    alarms = _alarms(days)
    if not len(scored):
        what = f"{len(forecasts):,} days are forecast" if len(forecasts) else "nothing is forecast yet"
        empty = pd.DataFrame(columns=["slice", "value", "n", *METRICS])
        summary = f"nothing to compare: {what}, and none of them has an observed value"
        return Scored(verdict="none", alarms=(), summary=summary, metrics={}, table=days, slices=empty)
    last = scored["ds"].max()
    recent = scored[scored["ds"] > last - pd.Timedelta(days=RECENT_DAYS)]
    metrics = _metrics(recent, evaluated or {})
    is_alarm, reason = verdict(days, alarm)
    return Scored(
        verdict="alarm" if is_alarm else "none",
        alarms=alarms,
        summary=f"{reason}. {_in_words(metrics, recent)}",
        metrics=metrics,
        table=days,
        slices=_slices(recent),
        notes=(
            *_several_versions(recent),
            *_without_forecasts(actuals, last),
            *_not_in_verdict(forecasts, days, alarm),
        ),
    )


def _several_versions(recent: pd.DataFrame) -> tuple[str, ...]:
    """That the metrics are of more than one version, which may have been rolled back since."""
    counts = recent["version"].value_counts().sort_index()
    if len(counts) < 2:
        return ()
    shares = ", ".join(f"{count:,} of version {version}" for version, count in counts.items())
    return (f"the forecast days of the last {RECENT_DAYS} are {shares}; slices.csv has the metrics of each",)


def _without_forecasts(actuals: pd.DataFrame, last: pd.Timestamp) -> tuple[str, ...]:
    """That days have come after the `last` one that was forecast, of which nobody knows whether answers are good."""
    days = actuals.loc[actuals["ds"] > last, "ds"]
    if not len(days):
        return ()
    count = days.nunique()
    return (
        f"{count:,} {'day has' if count == 1 else 'days have'} come since {last:%Y-%m-%d} without a forecast, up to "
        f"{days.max():%Y-%m-%d}: `python -m stages.forecast` continues from there",
    )


def _not_in_verdict(forecasts: pd.DataFrame, days: pd.DataFrame, alarm: AlarmParams) -> tuple[str, ...]:
    """That the verdict knows nothing of some series: those whose days came up to before its own days alone, whatever
    their charts show, and those whose forecast days have passed without one that came.
    """
    last, ends = days["ds"].max(), days.groupby("unique_id", sort=True)["ds"].max()
    ended = ends[ends <= last - pd.Timedelta(days=alarm.recent_days)]
    promised = forecasts.groupby("unique_id", sort=True)["ds"].max()
    never = promised[(promised <= last) & ~promised.index.isin(ends.index)]
    notes = []
    if len(ended):
        behind = f"{_series(len(ended))}, {alarm.recent_days} or more days behind the others"
        notes.append(f"{behind}, such as {ended.index[0]!r}, last scored on {ended.iloc[0]:%Y-%m-%d}")
    if len(never):
        lost = f"{_series(len(never))}, for which no forecast day has an observed value"
        notes.append(f"{lost}, such as {never.index[0]!r}, forecast up to {never.iloc[0]:%Y-%m-%d}")
    return tuple(f"the verdict leaves out {note}" for note in notes)


def verdict(days: pd.DataFrame, alarm: AlarmParams) -> tuple[bool, str]:
    """Whether there are more alarms in the last days than false ones would explain, and that in words.

    `days` is as `Scored.table`. A series counts once, however many of its charts raise alarms: of so many series, each
    with a false alarm a year, the number that raise one in `recent_days` is binomial.
    """
    last = days["ds"].max()
    window = days[days["ds"] > last - pd.Timedelta(days=alarm.recent_days)]
    of, raised = window["unique_id"].nunique(), window[window["alarms"] != ""]
    count = raised["unique_id"].nunique()
    when = f"in the {alarm.recent_days} days up to {last:%Y-%m-%d}"
    if not count:
        return False, f"no alarm {when} in {_series(of)}"
    chance = _at_least(count, of, 1 - (1 - _FALSE_ALARMS_A_DAY) ** alarm.recent_days)
    found = [f"{_WORDS[chart]} ({chart})" for chart in CHARTS if raised["alarms"].str.contains(chart).any()]
    some = raised.iloc[-1]
    told = f"{count:,} of {_series(of)} with an alarm {when}, such as {some.unique_id} on {some.ds:%Y-%m-%d}: errors "
    told += " and ".join(found)
    if chance > alarm.chance:
        told += f"; the probability of as many false alarms is {chance:.0%}, so this is not an alarm"
    return chance <= alarm.chance, told


def _alarms(days: pd.DataFrame) -> tuple[Alarm, ...]:
    """The oldest first."""
    raised = days[days["alarms"] != ""].sort_values(["ds", "unique_id"], kind="stable")
    dates = raised["ds"].dt.strftime("%Y-%m-%d").tolist() if len(raised) else []
    rows = zip(raised["unique_id"].tolist(), dates, raised["alarms"].tolist(), strict=True)
    return tuple(Alarm(name, day, chart) for name, day, charts in rows for chart in charts.split())


def _joined(forecasts: pd.DataFrame, actuals: pd.DataFrame) -> pd.DataFrame:
    """Each forecast day that has come, with `y`, `scale`, `ahead` (1 for the origin itself), `error` and `inside`; of
    several versions from one origin, the newest.
    """
    if not len(forecasts) or not len(actuals):
        return pd.DataFrame(columns=[*forecasts.columns, "y", "scale", "ahead", "error", "inside"])
    order = ["unique_id", "ds", "origin", "version"]
    single = forecasts.sort_values(order, kind="stable").drop_duplicates(order[:3], keep="last")
    scored = single.merge(actuals, on=["unique_id", "ds"], how="inner", validate="many_to_one")
    return scored.assign(
        ahead=(scored["ds"] - scored["origin"]).dt.days + 1,
        error=(scored["y"] - scored["mean"]).abs(),
        inside=scored["y"].between(scored["q05"], scored["q95"]).astype(float),
    )


def _on_charts(scored: pd.DataFrame, known: Mapping[tuple[int, str], Reference], alarm: AlarmParams) -> pd.DataFrame:
    """The charts of every series, a row a day: what was forecast, what came, where the charts stand, `alarms`."""
    ideal = Reference.of([], np.empty(0))
    newest = scored.sort_values(["unique_id", "ds", "origin"], kind="stable").drop_duplicates(
        ["unique_id", "ds"], keep="last"
    )
    errors = standardized(*(newest[name].to_numpy(dtype=np.float64) for name in ("y", "q05", "q50", "q95")))
    charts: dict[str, ControlChart] = {}
    points = []
    numbers = _day_numbers(newest["ds"])
    for name, day, error, version in zip(newest["unique_id"], numbers, errors.tolist(), newest["version"], strict=True):
        chart = charts.setdefault(name, ControlChart(alarm))
        point = chart.add(int(day), error, known.get((int(version), name), ideal))
        points.append(
            (error, point.score, point.above, point.below, point.spread, point.weekday, " ".join(point.alarms))
        )
    names = ["standardized", "score", "above", "below", "spread", "weekday", "alarms"]
    shown = ["unique_id", "ds", "ahead", "version", "y", "mean", "q05", "q50", "q95", "error", "inside"]
    table = pd.DataFrame(points, columns=names, index=newest.index)
    return pd.concat([newest[shown], table], axis=1).reset_index(drop=True)


def _metrics(recent: pd.DataFrame, evaluated: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found = {}
    for name, scores in _scores(recent).items():
        if not len(scores.statistics):
            continue
        low, high = interval(scores)
        found[name] = {"value": scores.value(), "low": low, "high": high, "n": len(scores.statistics)}
        keys = {"evaluation": name, "evaluation_low": f"{name}_low", "evaluation_high": f"{name}_high"}
        found[name] |= {key: float(evaluated[metric]) for key, metric in keys.items() if metric in evaluated}
    return found


def _scores(rows: pd.DataFrame) -> dict[str, Scores]:
    """What each forecast day adds to each of METRICS; days of one series and four weeks are alike."""
    series = np.unique(rows["unique_id"].to_numpy(dtype=str), return_inverse=True)[1]
    groups = series
    if len(rows) and series.max() + 1 < _MANY_SERIES:
        blocks = np.stack([series, _day_numbers(rows["ds"]) // _BLOCK_DAYS], axis=1)
        groups = np.unique(blocks, axis=0, return_inverse=True)[1]
    error, scale = (rows[name].to_numpy(dtype=np.float64) for name in ("error", "scale"))
    values = {"mae": error, "mase": error / scale, "coverage_90": rows["inside"].to_numpy(dtype=np.float64)}
    return {
        name: Scores(statistics=np.stack([value[seen], np.ones(seen.sum())], axis=1), groups=groups[seen], metric=ratio)
        for name, value in values.items()
        for seen in [~np.isnan(value)]
    }


def _slices(recent: pd.DataFrame) -> pd.DataFrame:
    """`slice`, `value`, `n` and METRICS: by days ahead, by day, by series, by version."""
    rows = recent.assign(mae=recent["error"], mase=recent["error"] / recent["scale"], coverage_90=recent["inside"])
    tables = []
    kinds = (("days ahead", "ahead"), ("day", "ds"), ("series", "unique_id"), ("version", "version"))
    for kind, column in kinds:
        grouped = rows.groupby(column, sort=True)[list(METRICS)]
        table = grouped.mean().assign(n=grouped.size()).reset_index(names="value")
        text = table["value"].dt.strftime("%Y-%m-%d") if column == "ds" else table["value"].astype(str)
        tables.append(table.assign(value=text, slice=kind))
    return pd.concat(tables, ignore_index=True)[["slice", "value", "n", *METRICS]]


def _in_words(metrics: Mapping[str, Mapping[str, float]], recent: pd.DataFrame) -> str:
    found = metrics["mae"]
    told = f"MAE {_interval(found)} on {found['n']:,.0f} forecast days of the last {RECENT_DAYS}"
    if "evaluation" in found:
        before = {key: found.get(f"evaluation{end}", found["evaluation"]) for key, end in _ENDS.items()}
        told += f", {_interval(before)} in the evaluation"
    return f"{told}; the 90 % band held {metrics['coverage_90']['value']:.1%}"


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.4g} [{found['low']:.4g}, {found['high']:.4g}]"


def _at_least(count: int, of: int, share: float) -> float:
    """The probability of `count` or more of so many, each with a probability of `share`."""
    return 1.0 - sum(comb(of, some) * share**some * (1 - share) ** (of - some) for some in range(count))


def _series(count: int) -> str:
    return f"{count:,} series"


def _day_numbers(days: pd.Series) -> np.ndarray:
    """Days since 1970-01-01, int64."""
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)
