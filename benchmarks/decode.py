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

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from stages.params import load
from stages.preprocessing.preparation import Preparation
from stages.tasks.video.data.decode import ClipError, read_clip
from stages.tasks.video.data.layout import CLIPS, find_clips
from stages.tasks.video.prepare.prepare import decoding_of, prepare
from stages.tasks.video.source.sample import write_sample

from . import command, timing
from .data import REPOSITORY


def bare(path: Path) -> int:
    """Decode a clip and throw its frames away; how many they are."""
    with av.open(str(path), metadata_errors="replace") as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def sides(raw: Path, *, within: bool) -> dict[str, Callable[[], None]]:
    """All clips by `bare` and by ours: on all cores and into a store or, `within` this process, thrown away."""
    clips = [raw / CLIPS / clip for clip in find_clips(raw / CLIPS)]
    params: Any = load(REPOSITORY / "params.yaml")["video"].prepare
    decoding = decoding_of(params)

    def run_bare() -> None:
        if within:
            sum(map(bare, clips))
            return
        with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
            sum(pool.imap(bare, clips))

    def run_ours() -> None:
        if within:
            for clip in clips:
                with suppress(ClipError):  # decoded, and then rejected
                    read_clip(clip, decoding)
            return
        with tempfile.TemporaryDirectory() as target:
            os.environ["UNROLL_RESUME"] = f"{target}/resume"  # where no round finds what another has decoded
            with Preparation(Path(target, "prepared"), max_rejected_share=1.0) as output:
                prepare(raw, params, output)

    return {"bare": run_bare, "ours": run_ours}


def main() -> None:
    """The command line."""
    parser = command.parser("decode", __doc__)
    parser.add_argument("--data", type=Path, help="a folder of clips as CLASS/clip.ext, in place of the sample")
    parser.add_argument("--within", action="store_true", help="one process and no store")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides (3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        if args.data:
            (raw / CLIPS).symlink_to(args.data.resolve(), target_is_directory=True)
        else:
            write_sample(raw / CLIPS, clips_per_class=80, seed=1)
        frames = sum(bare(raw / CLIPS / clip) for clip in find_clips(raw / CLIPS))  # also brings files into memory
        print(f"{frames:,} frames, {len(os.sched_getaffinity(0))} cores", flush=True)
        seconds = timing.alternate(sides(raw, within=args.within), rounds=args.rounds)
    command.write(args.json, {name: timing.compared(seconds, name, ["bare"], frames) for name in seconds})


if __name__ == "__main__":
    main()
