"""Ours beside what else a user would pick, in turns on the same data and on one core each: a row for each pair.

    python -m benchmarks.peers                       all parts
    python -m benchmarks.peers translation clips     some of them
    python -m benchmarks.peers --quick               little of everything, to see that it runs; numbers say nothing

    translation   our Transformer and LSTM against JoeyNMT's of the same size: training, and beam search of size 5
    series        M4's daily series, trained and answered, against neuralforecast and mlforecast
    clips         frames of clips against TorchCodec and decord
    drawings      drawings in a store against Polars and DuckDB, which only parse the same file
    keras         a textbook's network against Keras, as in `python -m benchmarks.training keras`, on all cores

`--data` is a folder that holds copies of the hosts: multi30k, series, ucf101/UCF-101 and quickdraw. Each peer has an
environment of its own below `--work`, made by uv from `requirements-PEER.txt`. UV_TORCH_BACKEND=cpu chooses the smaller
build of torch; figures are of the CPU. A peer that cannot be installed or loaded is said to be missing.

Rates are counts a second of the processor, medians over the turns. `times` is how many times as fast ours is, by the
clock and by processor time, medians of each turn's ratio: above 1 ours is ahead. On a busy machine the second counts.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import command
from .peer_sides import Row, Run, Side, beside, missing_row, row

FRAMES, SIZE = 24, 112  # of a clip; pixels of a side, as an encoder asks
COPIES = 16  # of each drawing, as `preprocess` sees them otherwise
TURNS = 3  # of what is done at once; the first one of a training is not counted


def clips(run: Run) -> list[Row]:
    """The same frames of all clips by each side."""
    folder = run.source / "ucf101" / "UCF-101"
    arguments = [str(folder), str(SIZE), str(FRAMES)]
    peers = {
        name: Side(module="peer_files", arguments=[name, *arguments], environment=name)
        for name in ("torchcodec", "decord")
    }
    own, others = beside(Side(module="peers_ours", arguments=["clips", *arguments]), peers, run.work, TURNS)
    number = len(own.ready["pixels"])
    what, unit = f"{FRAMES} frames of each of {number} clips, {SIZE} × {SIZE}, RGB", "clips/s"
    rows = []
    for name, other in others.items():
        if isinstance(other, str):
            rows.append(missing_row(what, unit, name, other))
            continue
        compared = row(what, unit, own.answers, other.answers, other.ready["version"], lambda _: number)
        difference = pixel_difference(own.ready["pixels"], other.ready["pixels"])
        rows.append(compared | {"note": f"a pixel differs by {difference:.1f} of 255 in the mean"})
    return rows


def pixel_difference(ours: Mapping[str, Sequence[int]], theirs: Mapping[str, Sequence[int]]) -> float:
    """Mean absolute difference of the pixels of two sides, by clip. Raises ValueError where one has other frames."""
    if {name: len(some) for name, some in ours.items()} != {name: len(some) for name, some in theirs.items()}:
        raise ValueError("clips: the two sides have not as many frames of the same clips")
    pairs = [(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True)]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def drawings(run: Run) -> list[Row]:
    """Ours into a store, the others into memory."""
    from .preprocess import enlarge

    copies = 1 if run.quick else COPIES
    file = run.work / "peers" / f"drawings-{copies}" / "simplified" / "drawings.ndjson"
    if file.is_file():
        with file.open("rb") as lines:
            number = sum(1 for _ in lines)
    else:
        number = enlarge(run.source / "quickdraw" / "full" / "simplified", file, copies)
    peers = {
        name: Side(module="peer_files", arguments=[name, str(file)], environment=name) for name in ("polars", "duckdb")
    }
    own, others = beside(Side(module="peers_ours", arguments=["drawings", str(file)]), peers, run.work, TURNS)
    what, unit = f"{number:,} drawings: ours into a store, theirs parsed alone", "drawings/s"
    return [
        missing_row(what, unit, name, other)
        if isinstance(other, str)
        else row(what, unit, own.answers, other.answers, other.ready["version"], lambda _: number)
        for name, other in others.items()
    ]


def keras(run: Run) -> list[Row]:
    """The textbook's network; Keras's rate at batch 32 beside ours at both batch sizes."""
    from . import textbook_training

    unit = "sequences/s, by the clock"
    try:
        found = textbook_training.run(run.work, run.source / "quickdraw", quick=run.quick)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        return [missing_row("the textbook's network", unit, "Keras", str(error))]
    rows = []
    for size in (textbook_training.BOOK_BATCH, textbook_training.FREE_BATCH):
        pair = found[f"batch_{size}"]
        what = f"an epoch of the textbook's network, {pair['best'].removeprefix('ours, ')}"
        figures = {"ours": pair["ours"], "beside": "Keras, batch 32, all cores", "theirs": pair["keras"]}
        rows.append({"what": what, "unit": unit, **figures, "times, by the clock": pair["ratio"]})
    return rows


def translation(run: Run) -> list[Row]:
    """Our two kinds of translator; see `peers_translation.py`."""
    from . import peers_translation

    return [one for kind in peers_translation.KINDS for one in peers_translation.compare(run, kind)]


def series(run: Run) -> list[Row]:
    """Trainings and answers; see `peers_series.py`."""
    from . import peers_series

    return peers_series.compare(run)


PARTS: Mapping[str, Callable[[Run], list[Row]]] = {
    "translation": translation,
    "series": series,
    "clips": clips,
    "drawings": drawings,
    "keras": keras,
}


def main() -> None:
    """The command line."""
    parser = command.parser("peers", __doc__, host=os.curdir)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="little of everything: numbers say nothing")
    args = parser.parse_args()
    command.check(parser, args.parts, list(PARTS))
    command.on_cpu()
    run = Run(source=args.data.resolve(), work=args.work.resolve(), quick=args.quick)
    result: dict[str, Any] = {"machine": command.machine(), "quick": args.quick}
    for part in args.parts or PARTS:
        print(f"{part}:", flush=True)
        result[part] = PARTS[part](run)
        result[part][0]["load"] = os.getloadavg()[0]
        print(command.table(result[part]), flush=True)
        command.write(args.json, result)


if __name__ == "__main__":
    main()
