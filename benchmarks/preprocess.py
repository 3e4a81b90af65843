"""How fast drawings become a store: an old tutorial's loop and our `prepare`, on the same file in one run.

    python -m benchmarks.preprocess                        the sample's doodles
    python -m benchmarks.preprocess --data FOLDER          ndjson files of Quick, Draw!'s simplified form
    python -m benchmarks.preprocess --scale                345 made-up categories: memory and cost by number of drawings
    python -m benchmarks.preprocess --grown                a little more beside much: what it costs to prepare again

The loop is that of TensorFlow's "Recurrent Neural Networks for Drawing Classification" (2018, create_dataset.py), in
our words: json, one NumPy array a drawing, filled a stroke at a time, scaled, made differences of, put into an Example
of floats and appended to a file. The Example is the same protocol buffer, without TensorFlow; the records' checksums
are left out. The bare parse is orjson, the fastest parser that we know of, on each line and nothing else.

All drawings lie in one file, each `--copies` times: mirrored, turned, drawn from the other end, one point of it
shifted. Rounds of all sides alternate; figures are medians, ratios medians of each round's ratio. The ratio of
processor time counts the time of all processes, and means something on a busy machine as well.

`--grown` runs the verb: on all but a little from nothing, then on all, then on all from nothing again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

from stages.params import load
from stages.preprocessing.preparation import Preparation
from stages.tasks.sketch.prepare.prepare import prepare
from stages.tasks.sketch.source.sample import write_sample
from stages.tasks.video.source.sample import MOTIONS
from stages.tasks.video.source.sample import write_sample as write_clips

from . import command, timing
from .data import REPOSITORY

CATEGORIES = 345
SIZES = (400, 1600, 6400)  # made-up drawings of each category
GROWN_SIZES = (400, 1600, 3200)  # the same, where one category is added
CLIPS = 1_000
ENCODED_CLIPS = 40  # each takes most of a second
_MORE_CLIPS = 10
_ENCODED = {"encoder": "efficientnet_lite0", "color": "rgb", "size": 28, "frames": 8}
_DOODLES = 1_500  # of each of the sample's classes
# The message type tf.train.Example, declared anew: `{feature: {name: Feature}}` of floats or integers.
_EXAMPLE = """
name: "example.proto" package: "benchmark" syntax: "proto3"
message_type { name: "FloatList" field { name: "value" number: 1 type: TYPE_FLOAT label: LABEL_REPEATED } }
message_type { name: "Int64List" field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED } }
message_type { name: "Feature"
  field { name: "float_list" number: 1 type: TYPE_MESSAGE type_name: ".benchmark.FloatList" label: LABEL_OPTIONAL }
  field { name: "int64_list" number: 2 type: TYPE_MESSAGE type_name: ".benchmark.Int64List" label: LABEL_OPTIONAL } }
message_type { name: "Features"
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".benchmark.Feature" label: LABEL_OPTIONAL } }
  field { name: "feature" number: 1 type: TYPE_MESSAGE type_name: ".benchmark.Features.FeatureEntry"
    label: LABEL_REPEATED } }
message_type { name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".benchmark.Features" label: LABEL_OPTIONAL } }
"""


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
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_EXAMPLE, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmark.Example"))


def bare_parse(file: Path, target: Path) -> None:
    """Each line as JSON, thrown away."""
    with file.open("rb") as lines:
        for line in lines:
            orjson.loads(line)


def ours(file: Path, target: Path) -> None:
    """The preprocess stage's work on the folder that the file lies in, on as many cores as this process may use."""
    params: Any = load(REPOSITORY / "params.yaml")["sketch"].prepare
    with tempfile.TemporaryDirectory() as resume, Preparation(target, max_rejected_share=1.0) as output:
        os.environ["UNROLL_RESUME"] = resume
        prepare(file.parent.parent, params, output)


def compare(folder: Path, work: Path, *, copies: int, rounds: int) -> dict[str, Any]:
    """Seconds of each side by round, as drawings a second and ratios."""
    file = work / "enlarged" / "simplified" / "drawings.ndjson"
    drawings = enlarge(folder, file, copies)
    print(f"{drawings:,} drawings, {file.stat().st_size / drawings:.0f} bytes each", flush=True)
    cores = sorted(os.sched_getaffinity(0))

    def on(count: int, run: Callable[[Path, Path], None]) -> None:
        os.sched_setaffinity(0, cores[:count])
        with tempfile.TemporaryDirectory(dir=work) as target:
            run(file, Path(target) / "target")

    sides = {
        "tutorial": partial(on, 1, tutorial),
        "tutorial, arrays only": partial(on, 1, tutorial_without_writing),
        "bare parse": partial(on, 1, bare_parse),
        "ours, one core": partial(on, 1, ours),
        "ours, two cores": partial(on, 2, ours),
    }
    seconds = timing.alternate(sides, rounds=rounds)
    os.sched_setaffinity(0, cores)
    return {name: timing.compared(seconds, name, list(sides)[:3], drawings) for name in sides}


def enlarge(folder: Path, target: Path, copies: int) -> int:
    """All drawings of a folder in one file, each as often as `copies` says and seen otherwise each time; how many.

    They are as simplified as they were.
    """
    target.parent.mkdir(parents=True)
    key = 2**52
    with target.open("wb") as out:
        for path in sorted(folder.glob("*.ndjson")):
            for line in path.read_bytes().splitlines():
                record = orjson.loads(line)
                for copy in range(copies):
                    key += 1
                    drawing = _seen_otherwise(record["drawing"], copy)
                    out.write(orjson.dumps({**record, "word": target.stem, "key_id": str(key), "drawing": drawing}))
                    out.write(b"\n")
    return key - 2**52


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


def make_up(folder: Path, categories: int, size: int) -> None:
    """Write so many walks for each category: five strokes of nine points, which simplification leaves as they are."""
    folder.mkdir(parents=True)
    for category in range(categories):
        points = np.random.default_rng(category).integers(0, 256, (size, 5, 2, 9))
        points[:, 0, :, 0] = 0
        points[:, 0, :, 1] = 255
        word = f"class {category:03d}"
        record = {"word": word, "countrycode": "XX", "recognized": True}
        with (folder / f"{word}.ndjson").open("wb") as out:
            for number, drawing in enumerate(points.tolist()):
                key = str(2**52 + category * 10**8 + number)
                out.write(orjson.dumps({**record, "key_id": key, "drawing": drawing}) + b"\n")


def scale(work: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Peak memory and seconds by the number of drawings, each size in a process of its own."""
    figures = {}
    for size in sizes:
        folder = work / f"{CATEGORIES} x {size}" / "simplified"
        make_up(folder, CATEGORIES, size)
        figures[f"{CATEGORIES * size}"] = timing.in_new_process(one, folder)
        print(f"{CATEGORIES * size:,} drawings: {figures[f'{CATEGORIES * size}']}", flush=True)
    return figures


def one(folder: Path) -> dict[str, float]:
    """Prepare a folder in this process and its own; megabytes and seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder.parent) as target, timing.peaks_of_children() as peaks:
        ours(next(folder.glob("*.ndjson")), Path(target))
        figures = timing.memory()
    figures["peak_megabytes_of_a_worker"] = max(peaks.values(), default=0.0)
    figures |= {"seconds": time.perf_counter() - started, "processor_seconds": timing.processor_seconds()}
    return {name: round(value, 2) for name, value in figures.items()}


def grown(work: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Processor seconds of `preprocess` by what was there before."""
    figures: dict[str, Any] = {}
    for size in sizes:
        figures[f"sketch, {CATEGORIES} x {size}"] = _grown(work / str(size), "sketch", partial(_categories, size=size))
    figures["video"] = _grown(work / "video", "video", partial(_clips, count=CLIPS))
    encoded = partial(_clips, count=ENCODED_CLIPS)
    figures["video, encoded"] = _grown(work / "encoded", "video", encoded, **_ENCODED)
    return figures


def _grown(checkout: Path, task: str, make: Callable[[Path], list[Path]], **changes: object) -> dict[str, Any]:
    """Of all but some files from nothing, of all files then, and of all files from nothing; `changes` of `prepare`."""
    raw = checkout / "data" / task / "raw"
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params[task]["prepare"] |= changes
    if changes:  # features cannot be changed as frames can
        params[task]["model"]["augmentation"] |= dict.fromkeys(("shift", "crop", "brightness", "color"), 0.0)
    added = {path: checkout / path.name for path in make(raw)}
    (checkout / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for path, aside in added.items():
        path.rename(aside)
    figures: dict[str, Any] = {"before": _preprocess(checkout, task)}
    for path, aside in added.items():
        aside.rename(path)
    figures["added"] = _preprocess(checkout, task)
    store = checkout / "data" / task / "prepared" / "sequences.arrow"
    grown, kept = store.read_bytes(), checkout / "resume" / "prepared"
    figures["kept_megabytes"] = round(sum(path.stat().st_size for path in kept.glob("*/*")) / 1e6, 1)
    figures["store_megabytes"] = round(len(grown) / 1e6, 1)
    shutil.rmtree(kept)
    figures["from_nothing"] = _preprocess(checkout, task)
    figures["same_bytes"] = grown == store.read_bytes()
    figures["share"] = round(figures["added"] / figures["from_nothing"], 3)
    print(f"{checkout.name:10s} {json.dumps(figures)}", flush=True)
    return figures


def _preprocess(checkout: Path, task: str) -> float:
    """Run the verb there; processor seconds of its processes."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "UNROLL_RESUME": str(checkout / "resume")}
    before = timing.processor_seconds()
    subprocess.run([sys.executable, "-m", "stages.preprocess", task], cwd=checkout, env=environment, check=True)
    return round(timing.processor_seconds() - before, 2)


def _categories(raw: Path, size: int) -> list[Path]:
    make_up(raw / "simplified", CATEGORIES, size)
    return [max((raw / "simplified").iterdir())]


def _clips(raw: Path, count: int) -> list[Path]:
    usual = count // len(MOTIONS)  # of each class
    write_clips(raw / "clips", clips_per_class=usual + 2, seed=1)
    more = sorted(set((raw / "clips").glob("*/*")) - _first(raw / "clips", usual))
    for path in more[_MORE_CLIPS:]:
        path.unlink()
    return more[:_MORE_CLIPS]


def _first(folder: Path, count: int) -> set[Path]:
    return {path for motion in folder.iterdir() for path in sorted(motion.iterdir())[:count]}


def main() -> None:
    """The command line."""
    parser = command.parser("preprocess", __doc__)
    parser.add_argument("--data", type=Path, help="a folder of ndjson files, in place of doodles")
    parser.add_argument("--copies", type=int, default=128, help="so many that starting a process does not count (128)")
    parser.add_argument("--rounds", type=int, default=2, help="of all sides (2)")
    parser.add_argument("--scale", action="store_true", help="memory and cost by number of drawings")
    parser.add_argument("--grown", action="store_true", help="what it costs to prepare a little more")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.scale:
            figures = scale(work, SIZES)
        elif args.grown:
            figures = grown(work, GROWN_SIZES)
        else:
            if args.data is None:
                write_sample(work / "doodles", per_category=_DOODLES, seed=1)
            figures = compare(args.data or work / "doodles", work, copies=args.copies, rounds=args.rounds)
    command.write(args.json, figures)


if __name__ == "__main__":
    main()
