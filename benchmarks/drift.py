"""How often drift is seen where there is some, and where there is none, at the limits of params.yaml.

    python -m benchmarks.drift                         the samples, and copies of real data beside the checkout
    python -m benchmarks.drift --draws 1000 --json drift.json
    python -m benchmarks.drift --only sketch video     a part of it: sketch, video, translation

Each draw cuts a pool of examples, group by group, into what is learned and 500 others, makes a profile of the one and
compares the other with it as they are, and after a planted change. Columns: the share of draws with the verdict drift,
and with a warning or drift. The seeds of the draws begin at `--first-seed`; the limits are those of params.yaml, which
were chosen on none of them. `benchmarks.drift_series` does the same of series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.monitoring.drift import changes_of, judged
from stages.params import TaskParams, load
from stages.preprocessing.profile import Categories, Known, Numbers, Observed, profile_of
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.strokes import strokes_of
from stages.tasks.sketch.prepare.profile import shape_features
from stages.tasks.sketch.serve.profile import read as read_drawings
from stages.tasks.translation.serve.profile import read as read_sentences
from stages.tasks.video.prepare.profile import picture_features

from . import command, data
from .data import REPOSITORY

NOW = 500  # examples that are compared
COUNTS = {"accepted": 1, "rejected": 0}
LEARNED_SHARE = 0.7
TASKS = ("sketch", "video", "translation")


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
    first_halves = (store.sequence("values", row)[: -(-store.lengths("values")[row] // 2)] for row in rows)
    asked = ({"drawing": [stroke.T.tolist() for stroke in strokes_of(steps)]} for steps in first_halves)
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


def rows_of(task: str, work: Path, shared: Path, seeds: range) -> Iterator[list[dict[str, Any]]]:
    """The rows of every pool of a task that can be had."""
    params = load(REPOSITORY / "params.yaml")[task]
    if task == "sketch":
        yield drawings("doodles (sample)", data.prepared(Task(task), params, work), params, seeds)
    elif task == "video":
        more = data.overlaid(params, {"source": {"clips_per_class": 250}})
        yield clips("digits in motion (sample)", data.prepared(Task(task), more, work), more, seeds)
    elif task == "translation":
        english = list(sentences_of(shared / "tatoeba")) if (shared / "tatoeba").is_dir() else []
        if english:
            dates, domains = data.prepared(Task(task), params, work), {"English sentences": english}
            yield sentences("dates (sample)", dates, params, domains, seeds)
        if english and (shared / "multi30k").is_dir():
            own_task, own = data.recipe_params("multi30k", shared / "multi30k", work)
            domains = {"everyday sentences of Tatoeba": english}
            yield sentences("captions of Multi30k", data.prepared(own_task, own, work), own, domains, seeds)


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
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS, metavar="TASK")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "data" / "benchmarks", help="folder for what is made")
    parser.add_argument(
        "--shared", type=Path, default=REPOSITORY.parent / "shared" / "data", help="copies of real data"
    )
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.draws)
    rows: list[dict[str, Any]] = []
    for task in args.only:
        for found in rows_of(task, args.work, args.shared, seeds):
            print(command.table(found), flush=True)
            rows += found
    command.write(args.json, {"machine": command.machine(), "rows": rows})


if __name__ == "__main__":
    main()
