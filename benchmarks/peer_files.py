"""The sides of `peers.py` that read files, run by the Python of an environment of their own in turns, see `turns.py`.

ENVIRONMENT/bin/python -m benchmarks.peer_files polars|duckdb DRAWINGS.ndjson
ENVIRONMENT/bin/python -m benchmarks.peer_files torchcodec|decord FOLDER SIZE FRAMES

The first two parse a file of drawings into memory, the others give FRAMES frames of every clip below FOLDER, evenly
taken and scaled to a square of SIZE pixels, `(time, height, width, 3)` uint8. All on one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .turns import repeat

Facts = Mapping[str, Any]
Side = tuple[Facts, Callable[[], Facts]]  # what is said before the first turn, and a turn


def polars(file: str) -> Side:
    """The file as a data frame; its threads are bounded by POLARS_MAX_THREADS."""
    import polars as pl

    return {"version": f"Polars {version('polars')}"}, lambda: {"drawings": len(pl.read_ndjson(file))}


def duckdb(file: str) -> Side:
    """The file as a table in memory."""
    import duckdb as db

    connection = db.connect(config={"threads": 1})

    def parse() -> Facts:
        query = "create or replace temp table drawings as select * from read_json(?, format = 'newline_delimited')"
        connection.execute(query, [file])
        counted = connection.execute("select count(*) from drawings").fetchone()
        assert counted is not None
        return {"drawings": counted[0]}

    return {"version": f"DuckDB {version('duckdb')}"}, parse


def torchcodec(folder: str, size: str, frames: str) -> Side:
    """Frames by TorchCodec, scaled by FFmpeg as they are decoded."""
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(1)
    resize = Resize((int(size), int(size)))

    def read(path: Path) -> Any:
        clip = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, transforms=[resize])
        return clip.get_frames_at(evenly_spaced(len(clip), int(frames))).data.numpy()

    return all_clips(folder, read, f"TorchCodec {version('torchcodec')}, torch {version('torch')}")


def decord(folder: str, size: str, frames: str) -> Side:
    """Frames by decord, scaled by FFmpeg as they are decoded."""
    from decord import VideoReader, cpu

    def read(path: Path) -> Any:
        clip = VideoReader(str(path), ctx=cpu(0), width=int(size), height=int(size), num_threads=1)
        return clip.get_batch(evenly_spaced(len(clip), int(frames))).asnumpy()

    return all_clips(folder, read, f"decord {version('decord')}")


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """As `stages.tasks.video.data.decode.evenly_spaced`, which these environments cannot import."""
    taken = min(count, wanted)
    return [int((place + 0.5) * count / taken) for place in range(taken)]


def all_clips(folder: str, read: Callable[[Path], Any], software: str) -> Side:
    """All clips below a folder, each turn anew; `read` gives the frames of one."""
    clips = sorted(path for path in Path(folder).glob("*/*") if path.is_file())
    # A pixel in 997, by which the other side can see that the frames are the same.
    pixels = {f"{path.parent.name}/{path.name}": read(path).reshape(-1)[::997].tolist() for path in clips}
    return {"version": software, "pixels": pixels}, lambda: {"frames": sum(len(read(path)) for path in clips)}


SIDES: dict[str, Callable[..., Side]] = {
    "polars": polars,
    "duckdb": duckdb,
    "torchcodec": torchcodec,
    "decord": decord,
}

if __name__ == "__main__":
    repeat(partial(SIDES[sys.argv[1]], *sys.argv[2:]))
