"""How fast drawings become a store: an old tutorial's loop and our `prepare`, on the same file in one run.

    python -m benchmarks.preprocess                        the sample's doodles
    python -m benchmarks.preprocess --data FOLDER          ndjson files of Quick, Draw!'s simplified form
    python -m benchmarks.preprocess --scale                345 made-up categories: memory and cost by number of drawings

The loop is that of TensorFlow's "Recurrent Neural Networks for Drawing Classification" (2018, create_dataset.py), in
our words: json, one NumPy array a drawing, filled a stroke at a time, scaled, made differences of, put into an Example
of floats and appended to a file. The Example is the same protocol buffer, without TensorFlow; the records' checksums
are left out. The bare parse is orjson, the fastest parser that we know of, on each line and nothing else.

All drawings lie in one file, each COPIES times: mirrored, turned, drawn from the other end, one point of it shifted.
Rounds of all sides alternate; figures are medians, ratios medians of each round's ratio. The ratio of processor time
counts the time of all processes, and means something on a busy machine as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from stages.params import load
from stages.preprocessing.preparation import Preparation
from stages.tasks.sketch.params import Params, PrepareParams
from stages.tasks.sketch.prepare.prepare import prepare
from stages.tasks.sketch.source.doodles import DOODLES
from stages.tasks.sketch.source.sample import write_sample

from .rounds import alternating, processor_seconds, ratio

REPOSITORY = Path(__file__).resolve().parent.parent
ROUNDS = 2
COPIES = 128  # of each drawing: two processes should not spend most of their time on starting
CATEGORIES = 345
SIZES = (400, 1600, 6400)  # made-up drawings of each category
_DOODLES = 1_500  # of each of the sample's classes


def tutorial(file: Path, target: Path) -> None:
    """The tutorial's loop: one Example a drawing, appended to `target`."""
    example_type = _example_type()
    with file.open(encoding="utf-8") as lines, target.open("wb") as out:
        for line in lines:
            ink, name = _tutorial_parse(line)
            example = example_type()
            feature = example.features.feature
            feature["class_index"].int64_list.value.append(len(name))
            feature["ink"].float_list.value.extend(ink.flatten())
            feature["shape"].int64_list.value.extend(ink.shape)
            record = example.SerializeToString()
            out.write(len(record).to_bytes(8, "little"))
            out.write(record)


def tutorial_without_writing(file: Path, target: Path) -> None:
    """The part of the tutorial's loop that makes arrays, which are thrown away."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            _tutorial_parse(line)


def _tutorial_parse(line: str) -> tuple[np.ndarray, str]:
    """`(points - 1, 3)` float32, differences of points scaled to 0–1 and the end of a stroke; the word."""
    sample = json.loads(line)
    strokes = sample["drawing"]
    ink = np.zeros((sum(len(stroke[0]) for stroke in strokes), 3), dtype=np.float32)
    filled = 0
    for stroke in strokes:
        for axis in (0, 1):
            ink[filled : filled + len(stroke[0]), axis] = stroke[axis]
        filled += len(stroke[0])
        ink[filled - 1, 2] = 1
    low, high = np.min(ink[:, :2], axis=0), np.max(ink[:, :2], axis=0)
    scale = high - low
    scale[scale == 0] = 1
    ink[:, :2] = (ink[:, :2] - low) / scale
    ink[1:, :2] -= ink[:-1, :2]
    return ink[1:], sample["word"]


def _example_type() -> Callable[[], Any]:
    """The message type tf.train.Example, declared anew: `{feature: {name: Feature}}` of bytes, floats or integers."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="benchmark", syntax="proto3")

    def message(name: str, **fields: tuple[int, str, bool]) -> Any:
        made = file.message_type.add(name=name)
        for number, (field, (kind, type_name, repeated)) in enumerate(fields.items(), start=1):
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, type_name=type_name or None, label=label)
        return made

    message("FloatList", value=(kinds.TYPE_FLOAT, "", True))
    message("Int64List", value=(kinds.TYPE_INT64, "", True))
    lists = {f"{kind}_list": f".benchmark.{kind.title()}List" for kind in ("float", "int64")}
    message("Feature", **{name: (kinds.TYPE_MESSAGE, type_name, False) for name, type_name in lists.items()})
    features = message("Features", feature=(kinds.TYPE_MESSAGE, ".benchmark.Features.FeatureEntry", True))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=kinds.TYPE_MESSAGE,
        type_name=".benchmark.Feature",
        label=kinds.LABEL_OPTIONAL,
    )
    message("Example", features=(kinds.TYPE_MESSAGE, ".benchmark.Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmark.Example"))


def bare_parse(file: Path, target: Path) -> None:
    """Each line as JSON, thrown away."""
    with file.open("rb") as lines:
        for line in lines:
            orjson.loads(line)


def ours(file: Path, target: Path) -> None:
    """The preprocess stage's work on the folder that the file lies in, on as many cores as this process may use."""
    with tempfile.TemporaryDirectory() as resume, Preparation(target, max_rejected_share=1.0) as output:
        os.environ["UNROLL_RESUME"] = resume
        prepare(file.parent.parent, _params(), output)


def _params() -> PrepareParams:
    params = load(REPOSITORY / "params.yaml")["sketch"]
    assert isinstance(params, Params)
    return params.prepare


def compare(folder: Path, work: Path) -> dict[str, Any]:
    """Seconds of each side by round, as drawings a second and ratios."""
    file = _enlarged(folder, work / "enlarged" / "simplified" / "drawings.ndjson")
    drawings, size = file.read_bytes().count(b"\n"), file.stat().st_size
    print(f"{drawings:,} drawings, {size / drawings:.0f} bytes each", flush=True)
    cores = sorted(os.sched_getaffinity(0))

    def on(count: int, run: Callable[[Path, Path], None], target: Path) -> None:
        os.sched_setaffinity(0, cores[:count])
        run(file, target)

    sides = {
        "tutorial": partial(on, 1, tutorial),
        "tutorial, arrays only": partial(on, 1, tutorial_without_writing),
        "bare parse": partial(on, 1, bare_parse),
        "ours, one core": partial(on, 1, ours),
        "ours, two cores": partial(on, 2, ours),
    }
    seconds = alternating(sides, work, rounds=ROUNDS)
    os.sched_setaffinity(0, cores)
    figures: dict[str, Any] = {}
    for name in sides:
        figures[name] = {
            "drawings_a_second": seconds.a_second(name, drawings),
            "times_the_tutorial": ratio(seconds.wall, "tutorial", name),
            "times_its_arrays": ratio(seconds.wall, "tutorial, arrays only", name),
            "share_of_a_bare_parse": ratio(seconds.wall, "bare parse", name),
            "times_the_tutorial_in_processor_time": ratio(seconds.processor, "tutorial", name),
            "times_its_arrays_in_processor_time": ratio(seconds.processor, "tutorial, arrays only", name),
            "share_of_a_bare_parse_in_processor_time": ratio(seconds.processor, "bare parse", name),
            "seconds": seconds.rounded(name),
        }
        print(f"{name:22s} {json.dumps(figures[name])}", flush=True)
    return figures


def _enlarged(folder: Path, target: Path) -> Path:
    """All drawings of a folder in one file, each COPIES times: mirrored, turned, from its other end, one point shifted.

    They are as simplified as they were.
    """
    target.parent.mkdir(parents=True)
    key = 2**52
    with target.open("wb") as out:
        for path in sorted(folder.glob("*.ndjson")):
            for line in path.read_bytes().splitlines():
                record = orjson.loads(line)
                for copy in range(COPIES):
                    key += 1
                    drawing = _seen_otherwise(record["drawing"], copy)
                    changes = {"word": target.stem, "key_id": str(key), "drawing": drawing}
                    out.write(orjson.dumps({**record, **changes}) + b"\n")
    return target


def _seen_otherwise(drawing: list[list[list[int]]], way: int) -> list[list[list[int]]]:
    """One of many ways to see a drawing: its symmetries and its direction by the lowest four bits of the way's number,
    then how many pixels a point within its longest stroke is shifted towards the middle.
    """
    right, bottom = (max(value for stroke in drawing for value in stroke[axis]) for axis in (0, 1))
    longest = max(drawing, key=lambda stroke: len(stroke[0]))
    seen = []
    for stroke in drawing:
        xs, ys = stroke
        if stroke is longest and len(xs) > 2:
            xs = list(xs)
            xs[1] += (way >> 4) * (1 if xs[1] < right / 2 else -1)
        if way & 1:
            xs = [right - x for x in xs]
        if way & 2:
            ys = [bottom - y for y in ys]
        if way & 4:
            xs, ys = ys, xs
        seen.append([xs[::-1], ys[::-1]] if way & 8 else [xs, ys])
    return seen


def scale(work: Path) -> dict[str, Any]:
    """Peak memory and seconds by the number of drawings, each size in a process of its own."""
    figures = {}
    for size in SIZES:
        folder = work / f"{CATEGORIES} x {size}" / "simplified"
        folder.mkdir(parents=True)
        for category in range(CATEGORIES):
            (folder / f"class {category:03d}.ndjson").write_bytes(b"".join(_made_up(category, size)))
        command = [sys.executable, "-m", "benchmarks.preprocess", "--one", str(folder)]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        figures[f"{CATEGORIES * size}"] = json.loads(done.stdout)
        print(f"{CATEGORIES * size:,} drawings: {done.stdout.strip()}", flush=True)
    return figures


def _made_up(category: int, count: int) -> Iterator[bytes]:
    """Lines of walks: five strokes of nine points, which simplification leaves as they are."""
    generator = np.random.default_rng(category)
    points = generator.integers(0, 256, (count, 5, 2, 9))
    points[:, 0, :, 0] = 0
    points[:, 0, :, 1] = 255
    for number, drawing in enumerate(points.tolist()):
        key = str(2**52 + category * 10**8 + number)
        yield (
            orjson.dumps(
                {
                    "word": f"class {category:03d}",
                    "countrycode": "XX",
                    "recognized": True,
                    "key_id": key,
                    "drawing": drawing,
                }
            )
            + b"\n"
        )


def one(folder: Path) -> dict[str, float]:
    """Prepare a folder in this process and its own; megabytes and seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder.parent) as target:
        ours(next(folder.glob("*.ndjson")), Path(target))
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "processor_seconds": round(processor_seconds(), 2),
        "peak_megabytes": round(own.ru_maxrss / 1024),
        "peak_megabytes_of_a_worker": round(children.ru_maxrss / 1024),
        "anonymous_megabytes": round(int(status["RssAnon"].split()[0]) / 1024),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of ndjson files, in place of doodles")
    parser.add_argument("--scale", action="store_true", help="memory and cost by number of drawings")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.scale:
            figures = scale(work)
        else:
            data = work / "raw" / "simplified"
            data.parent.mkdir()
            if arguments.data:
                data.symlink_to(arguments.data.resolve(), target_is_directory=True)
            else:
                print(f"drawing doodles of {len(DOODLES)} classes", flush=True)
                write_sample(data, per_category=_DOODLES, seed=1)
            figures = compare(data, work)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
