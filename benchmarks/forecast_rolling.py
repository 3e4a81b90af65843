"""The served network beside LightGBM and ridge, over several years of six sets: each learns all days before a test.

    python -m benchmarks.forecast_rolling                              every set, three seeds of the network
    python -m benchmarks.forecast_rolling rail births --seeds 1 --members 1
    python -m benchmarks.forecast_rolling rail --validation            the years before the tests, to choose settings by
    python -m benchmarks.forecast_rolling rail --tests 2014 --search   beside a search over LightGBM's settings, too

A test is forecast from each of its days, seven days ahead. Chicago's rail and bus are tested on each of the years 2014
to 2018, births on the last three years, Melbourne's and Seattle's temperature on the last two, M4's whole series on
their 14 days. The network is the served one of `train.refit: all`: it has learned up to the day before the test, its
calibration is the measured network's, which holds the days before the test back twice (`Set.held_back`). Both baselines
choose their penalty and number of trees on the same validation days, and then learn anew up to the same day.

`saved` is by what share the network's error is smaller than the baseline's, with its 95 % interval over blocks of four
weeks, or over series; errors are means over the seeds. All on one thread; seconds are the processor's. What was
measured is kept below `--work` and is not measured again unless code or params change.

`--search` also takes LightGBM as twenty trials of mlforecast's own search choose it (`mlforecast_search.py`, in an
environment of its own): three minutes a test.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.data.prepared import open_prepared
from stages.data.store import SPLITS
from stages.evaluation.bootstrap import Scores, interval, ratio
from stages.params import load
from stages.provenance.hashes import code_md5
from stages.tasks.forecast.evaluate.boosting import lightgbm
from stages.tasks.forecast.evaluate.evaluate import fully_told
from stages.tasks.forecast.evaluate.ridge import ridge
from stages.tasks.forecast.evaluate.scores import Actuals, mean_error, read_actuals
from stages.tasks.forecast.model.windows import ORIGINS, FeatureEncoder, Windows, origins_of
from stages.tasks.protocol import Task
from stages.training import inference

from . import command, data
from .data import Overlay
from .environments import python_of
from .refit import FILE, trained

BASELINES = {"lightgbm": lightgbm, "ridge": ridge}
TASK = Task("forecast")
# Every set is written in Nixtla's long format first.
LONG: Overlay = {"date_columns": ["ds"], "date_format": "%Y-%m-%d", "value_columns": ["y"], "id_column": "unique_id"}
M4: Overlay = {"model": {"members": 1, "covariates": []}, "train": {"batch_size": 512, "epochs": 5}}


def _column(file: str, dates: Sequence[str], form: str, value: str, source: Path, work: Path) -> pd.DataFrame:
    """A series of a CSV; the rows are left as they are."""
    table = pd.read_csv(source / file)
    days = pd.to_datetime(table[list(dates)].astype(str).agg("-".join, axis=1), format=form)
    return pd.DataFrame({"unique_id": value, "ds": days, "y": table[value]})


def _seattle(source: Path, work: Path) -> pd.DataFrame:
    store, _ = open_prepared(data.sample(TASK, work)[0])
    values = store.sequence("values", 0)
    return pd.DataFrame(
        {"unique_id": "Seattle", "ds": pd.date_range(store.value("start", 0), periods=len(values)), "y": values}
    )


def _m4(source: Path, work: Path) -> pd.DataFrame:
    """The series whose 14 test days follow their training days; one cut at 999 columns may lack the days between. They
    have no dates: all end on one day.
    """
    train, test = (
        pd.read_csv(source / f"M4-Daily-{part}-sample.csv", index_col=0, header=header).T
        for part, header in (("train", 0), ("test", None))
    )
    tables = []
    for name in (name for name in train if name in test and pd.isna(train[name].iloc[-1])):
        values = np.concatenate([train[name].dropna(), test[name]]).astype(float)
        days = pd.date_range(end="2010-12-31", periods=len(values))
        tables.append(pd.DataFrame({"unique_id": name, "ds": days, "y": values}))
    return pd.concat(tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class Set:
    """Series, and the first and the last day of each test; `recipe` "" takes the settings of params.yaml."""

    read: Callable[[Path, Path], pd.DataFrame]
    recipe: str = ""
    overlay: Overlay = field(default_factory=dict)
    tests: Sequence[tuple[str, str]]
    validation: Sequence[tuple[str, str]]  # tests before those, to choose settings by
    held_back: tuple[int, int] = (365, 365)  # validation and test days before a test
    error: str = "MAE"


def _years(first: int, last: int) -> list[tuple[str, str]]:
    return [(f"{year}-01-01", f"{year}-12-31") for year in range(first, last + 1)]


_cta = partial(_column, FILE, ["service_date"], "%m/%d/%Y")
SETS: Mapping[str, Set] = {
    "rail": Set(
        read=partial(_cta, "rail_boardings"), recipe="cta", tests=_years(2014, 2018), validation=_years(2011, 2013)
    ),
    "bus": Set(read=partial(_cta, "bus"), recipe="cta", tests=_years(2014, 2018), validation=_years(2011, 2013)),
    "births": Set(
        read=partial(_column, "US_births_2000-2014_SSA.csv", ["year", "month", "date_of_month"], "%Y-%m-%d", "births"),
        recipe="births",
        tests=_years(2012, 2014),
        validation=_years(2009, 2011),
    ),
    "melbourne": Set(
        read=partial(_column, "daily-min-temperatures.csv", ["Date"], "%Y-%m-%d", "Temp"),
        recipe="melbourne",
        tests=_years(1989, 1990),
        validation=_years(1986, 1988),
    ),
    "seattle": Set(
        read=_seattle, tests=_years(2014, 2015), validation=[("2013-07-01", "2013-12-31")], held_back=(182, 182)
    ),
    "m4": Set(
        read=_m4,
        overlay=M4,
        tests=[("2010-12-18", "2010-12-31")],
        validation=[("2010-12-04", "2010-12-17")],
        held_back=(21, 14),
        error="MASE",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A test of a set: what is known when it begins, and what came."""

    source: Path
    work: Path
    name: str
    test: tuple[str, str]
    overlay: Overlay

    @cached_property
    def params(self) -> Any:
        one = SETS[self.name]
        if one.recipe:
            _, params = data.recipe_params(one.recipe, self.source, self.work)
        else:
            params = load(data.REPOSITORY / "params.yaml")["forecast"]
        params = data.overlaid(params, {"prepare": LONG, "train": {"threads": 1}})
        return data.overlaid(data.overlaid(params, one.overlay), self.overlay)

    @cached_property
    def known(self) -> Path:
        """Prepared data that end on the day before the test."""
        before = (pd.Timestamp(self.test[0]) - pd.Timedelta(days=1)).strftime("%Y-%m-%d")
        return self._prepared(before, SETS[self.name].held_back[1])

    @cached_property
    def later(self) -> Path:
        """Prepared data whose test days are the test."""
        return self._prepared(self.test[1], len(pd.date_range(*self.test)))

    def _csv(self, last: str) -> Path:
        """The series up to a day."""
        path = self.work / "rolling" / f"{self.name}-{last}.csv"
        if not path.is_file():
            table = SETS[self.name].read(self.source, self.work)
            path.parent.mkdir(parents=True, exist_ok=True)
            table[table["ds"] <= last].to_csv(path, index=False, date_format="%Y-%m-%d")
        return path

    def _prepared(self, last: str, test_days: int) -> Path:
        path = self._csv(last)
        cut = {"validation_days": SETS[self.name].held_back[0], "test_days": test_days}
        source = {"kind": "csv", "url": path.resolve().as_uri()}
        return data.prepared(TASK, data.overlaid(self.params, {"source": source, "prepare": cut}), self.work)

    @cached_property
    def actuals(self) -> Actuals:
        return read_actuals(Windows(self.later, self.params.model, ORIGINS["test"]))

    def kept(
        self, what: Mapping[str, Any], modules: Sequence[str], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """`make`'s figures and its processor seconds, measured once."""

        def timed() -> dict[str, Any]:
            started = time.process_time()
            return {**make(), "seconds": time.process_time() - started}

        code = code_md5([f"stages.{name}" for name in modules])
        facts = {"code": code, "known": self.known.name, "later": self.later.name, **what}
        return data.kept(self.work / "rolling" / "figures", facts, timed)

    def network(self, seed: int) -> dict[str, Any]:
        """The served network's mean and the ends of its 90 % band, `(windows, 7)` each."""
        params = data.overlaid(self.params, {"train": {"seed": seed}})

        def make() -> dict[str, Any]:
            _, served = trained(self.known, params)
            windows = Windows(self.later, params.model, ORIGINS["test"])
            windows.features = served.features  # what was known of holidays when it learned
            forecast = inference.predict(served, windows, 512, served.forecast)
            levels = params.model.quantiles
            ends = {name: forecast[..., 1 + levels.index(level)] for name, level in (("low", 0.05), ("high", 0.95))}
            return {name: values.tolist() for name, values in {"mean": forecast[..., 0], **ends}.items()}

        settings = {"model": params.model.model_dump(), "train": params.train.model_dump()}
        return self.kept(settings, ["training.loop", "tasks.forecast.model.network"], make)

    def baseline(self, name: str) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            _, description = open_prepared(self.known)
            told = fully_told(self.params.model, description)
            train, validation, every = (
                Windows(self.known, told, origins)
                for origins in (ORIGINS["train"], ORIGINS["validation"], origins_of(SPLITS))
            )
            windows = Windows(self.later, told, ORIGINS["test"])
            windows.features = FeatureEncoder(told, description)
            return {"mean": BASELINES[name](train, validation, windows, refit=every).tolist()}

        model = {
            key: getattr(self.params.model, key) for key in ("context_days", "scaling", "scale_days", "holiday_days")
        }
        module = "boosting" if name == "lightgbm" else "ridge"
        return self.kept({"baseline": name, **model}, [f"tasks.forecast.evaluate.{module}"], make)

    def searched(self) -> dict[str, Any]:
        """What mlforecast's search reaches; its seconds are of the process that searched."""
        program = Path(__file__).with_name("mlforecast_search.py")
        held_back = SETS[self.name].held_back[0]

        def make() -> dict[str, Any]:
            python, series = python_of("mlforecast", self.work), self._csv(self.test[1])
            command = [python, program, series, self.test[0], str(held_back)]
            said = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(said.stdout)
            mean = np.array(found["mean"])
            return {"mean": mean.reshape(-1, mean.shape[-1]).tolist(), "searched in": found["seconds"]}

        return self.kept({"baseline": program.read_text(encoding="utf-8")}, [], make)

    def row(self, seeds: Sequence[int], *, search: bool) -> dict[str, Any]:
        """A row of the table."""
        actuals, networks = self.actuals, [self.network(seed) for seed in seeds]
        unit = actuals.scales[actuals.series][:, None] if SETS[self.name].error == "MASE" else 1.0
        each = [actuals.errors(np.array(network["mean"])) / unit for network in networks]
        errors = np.mean(each, axis=0)
        inside = [
            (np.array(network["low"]) <= actuals.values) & (actuals.values <= np.array(network["high"]))
            for network in networks
        ]
        row: dict[str, Any] = {"set": self.name, "test": self.test[0][:4], "error": float(mean_error(errors))}
        row["of each seed"] = [float(mean_error(one)) for one in each]
        for name in BASELINES:
            found = self.baseline(name)
            others = actuals.errors(np.array(found["mean"])) / unit
            seen = ~np.isnan(errors)
            groups = np.broadcast_to(actuals.groups[:, None], seen.shape)[seen]
            parts = np.stack([errors[seen], others[seen]], axis=1)
            saved = Scores(statistics=parts, groups=groups, metric=lambda sums: 1 - ratio(sums))
            low, high = interval(saved)
            row |= {
                name: float(mean_error(others)),
                f"saved, {name}": {"value": saved.value(), "low": low, "high": high},
            }
            row[f"s, {name}"] = found["seconds"]
        if search:
            found = self.searched()
            row["mlforecast, 20 trials"] = float(mean_error(actuals.errors(np.array(found["mean"])) / unit))
            row["s, mlforecast"] = found["searched in"]
        row["saved, the better"] = 1 - row["error"] / min(row[name] for name in BASELINES)
        row["in the 90 % band"] = float(np.mean([one[actuals.observed].mean() for one in inside]))
        row["s, a seed"] = float(np.mean([network["seconds"] for network in networks]))
        return row


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each set's means over its tests, the mean of those, and the mean over all tests."""
    shares = ["saved, the better", "in the 90 % band"]

    def mean(name: str, test: str, of: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
        return {"set": name, "test": test, **{key: float(np.mean([row[key] for row in of])) for key in columns}}

    names = dict.fromkeys(row["set"] for row in rows)
    columns = ["error", *BASELINES, *shares]
    sets = [mean(name, "mean", [row for row in rows if row["set"] == name], columns) for name in names]
    return [*sets, mean("all", "mean of sets", sets, shares), mean("all", "mean of tests", rows, shares)]


def main() -> None:
    """The command line."""
    parser = command.parser("forecast_rolling", __doc__, host="series")
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--seeds", type=int, default=3, help="networks of each test; default: %(default)s")
    parser.add_argument("--overlay", type=json.loads, default={}, help="JSON laid over the params of every set")
    parser.add_argument("--validation", action="store_true", help="tests before the years that are told")
    parser.add_argument("--tests", nargs="+", metavar="YEAR", help="of those tests, some alone")
    parser.add_argument("--search", action="store_true", help="mlforecast's search over LightGBM's settings, too")
    args = parser.parse_args()
    command.check(parser, args.sets, list(SETS))
    command.on_cpu()
    rows: list[dict[str, Any]] = []
    for name in args.sets or SETS:
        for test in SETS[name].validation if args.validation else SETS[name].tests:
            if args.tests and test[0][:4] not in args.tests:
                continue
            trial = Trial(source=args.data, work=args.work, name=name, test=test, overlay=args.overlay)
            rows.append(trial.row(range(1, args.seeds + 1), search=args.search))
            print(command.table(rows[-1:]), flush=True)
    rows += means(rows)
    print(command.table(rows))
    command.write(args.json, {"machine": command.machine(), "overlay": args.overlay, "rows": rows})


if __name__ == "__main__":
    main()
