"""How fast clips become a store: bare PyAV decoding of the files and our `prepare`, on the same cores in one run.

    python -m benchmarks.decode                            the sample's clips
    python -m benchmarks.decode --data FOLDER              clips as CLASS/clip.ext, such as UCF-101's

The bare side decodes every frame of every clip and throws it away: a process for each core, which asks for the next
clip when it is done with one, one thread each. Ours is all of the preprocess stage's work: packets counted, frames
decoded, scaled, turned and sent to the process that writes the store. Both sides start their processes within the time,
as the stage does.

`--within`: one process and no store, `read_clip` beside the bare loop; the ratio of processor time means something on a
busy machine as well. Rounds of the sides alternate; figures are medians, ratios medians of each round's ratio.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import av

from stages.params import load
from stages.preprocessing.preparation import Preparation
from stages.tasks.video.data.decode import ClipError, read_clip
from stages.tasks.video.data.layout import CLIPS, find_clips
from stages.tasks.video.params import Params, PrepareParams
from stages.tasks.video.prepare.prepare import decoding_of, prepare
from stages.tasks.video.source.sample import write_sample

from .rounds import alternating, ratio

REPOSITORY = Path(__file__).resolve().parent.parent
ROUNDS = 3


def bare(path: Path) -> int:
    """Decode a clip and throw its frames away; how many they are."""
    with av.open(str(path), metadata_errors="replace") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def bare_in_processes(raw: Path, target: Path) -> None:
    """All clips by `bare`, in as many processes as this one may use cores."""
    clips = [raw / CLIPS / clip for clip in find_clips(raw / CLIPS)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.imap(bare, clips):
            pass


def ours(raw: Path, target: Path) -> None:
    """The preprocess stage's work."""
    with Preparation(target, max_rejected_share=1.0) as output:
        prepare(raw, _params(), output)


def _params() -> PrepareParams:
    params = load(REPOSITORY / "params.yaml")["video"]
    assert isinstance(params, Params)
    return params.prepare


def bare_within(raw: Path, target: Path) -> None:
    """All clips by `bare`, one after the other in this process."""
    for clip in find_clips(raw / CLIPS):
        bare(raw / CLIPS / clip)


def ours_within(raw: Path, target: Path) -> None:
    """All clips by `read_clip`, one after the other in this process."""
    decoding = decoding_of(_params())
    for clip in find_clips(raw / CLIPS):
        with suppress(ClipError):  # decoded, and then rejected
            read_clip(raw / CLIPS / clip, decoding)


def compare(raw: Path, work: Path, sides: dict[str, Callable[[Path, Path], None]]) -> dict[str, Any]:
    """Seconds of the two sides by round, as clips a second and ratios; the first side is the bare one."""
    clips = list(find_clips(raw / CLIPS))
    frames = sum(bare(raw / CLIPS / clip) for clip in clips)  # also brings the files into memory
    print(f"{len(clips):,} clips, {frames:,} frames, {len(os.sched_getaffinity(0))} cores", flush=True)
    runs = {name: partial(run, raw) for name, run in sides.items()}
    seconds = alternating(runs, work, rounds=ROUNDS)
    first = next(iter(sides))
    figures: dict[str, Any] = {"clips": len(clips), "frames": frames}
    for name in sides:
        figures[name] = {
            "frames_a_second": seconds.a_second(name, frames),
            "share_of_bare": ratio(seconds.wall, first, name),
            "share_of_bare_in_processor_time": ratio(seconds.processor, first, name),
            "seconds": seconds.rounded(name),
        }
        print(f"{name:8s} {json.dumps(figures[name])}", flush=True)
    return figures


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of clips as CLASS/clip.ext, in place of the sample")
    parser.add_argument("--within", action="store_true", help="one process and no store")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        raw = work / "raw"
        if arguments.data:
            raw.mkdir()
            (raw / CLIPS).symlink_to(arguments.data.resolve(), target_is_directory=True)
        else:
            write_sample(raw / CLIPS, clips_per_class=80, seed=1)
        sides: dict[str, Callable[[Path, Path], None]] = {"bare": bare_in_processes, "ours": ours}
        if arguments.within:
            sides = {"bare": bare_within, "ours": ours_within}
        figures = compare(raw, work, sides)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
