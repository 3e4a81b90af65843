"""The embedded sample: real H.264 clips of handwritten digits in motion, where the motion is the class.

A digit moves over a torus (what leaves the picture on one side comes back on the other), so that no position is
special. Start positions, phases and sizes are uniform, and the classes that change the size sweep, cyclically, the very
distribution from which the other classes draw theirs. Hence one frame alone is distributed alike in all classes: only
the order of frames says which way a digit goes. Motions come in pairs that are each other's reverse.

The digits are those of scikit-learn (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI,
1998), read from the file that the package brings, since importing the package takes longer than making the clips.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from ....progress_bar import track

MOTIONS = (
    "CircleClockwise",
    "CircleCounterclockwise",
    "Grow",
    "MoveDown",
    "MoveLeft",
    "MoveRight",
    "MoveUp",
    "Shrink",
)
SIDE = 40  # pixels of a frame's width and height; even, as 4:2:0 chroma asks
FRAMES = (16, 24)  # fewest and most frames of a clip
FRAMES_PER_SECOND = 12
CLIPS_PER_GROUP = 2  # clips of one digit image in each class
_SIZES = (11.0, 24.0)  # pixels of the digit's width: drawn, or swept, uniformly on a log scale
_DIRECTIONS = {"MoveLeft": (-1, 0), "MoveRight": (1, 0), "MoveUp": (0, -1), "MoveDown": (0, 1)}  # (x, y); y points down


@dataclass(frozen=True, slots=True)
class Track:
    """Where a digit is and how large, frame by frame; pixels, each `(frames,)`."""

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray


def write_sample(folder: Path, *, clips_per_class: int, seed: int) -> None:
    """Write `clips_per_class` clips of each motion as `CLASS/v_CLASS_gNN_cNN.mp4`; a group `gNN` is one digit image.

    Each clip depends on the seed and its own name alone, so that asking for more clips changes none of the first ones.
    """
    digits = read_digits()
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(digits))
    clips = list(product(MOTIONS, range(clips_per_class)))
    for motion, number in track(clips, "digits in motion", unit="clips"):
        group, clip = divmod(number, CLIPS_PER_GROUP)
        # Philox's key is 128 bits: the seed and what sets this clip apart.
        generator = np.random.Generator(np.random.Philox(key=[seed, 1 + number * len(MOTIONS) + MOTIONS.index(motion)]))
        frames = draw_clip(digits[order[group % len(order)]], motion, generator)
        target = folder / motion / f"v_{motion}_g{group + 1:02d}_c{clip + 1:02d}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        encode(frames, target)


def read_digits() -> np.ndarray:
    """The handwritten digits as `(1797, 8, 8)` float32, 0 (paper) to 1 (ink)."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ValueError("the sample's digits come with scikit-learn, which is not installed")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return table[:, :64].reshape(-1, 8, 8) / 16.0


def draw_clip(digit: np.ndarray, motion: str, generator: np.random.Generator) -> np.ndarray:
    """One clip of an `(8, 8)` digit as `(frames, SIDE, SIDE, 3)` uint8; length, colours and speed are drawn too."""
    frames = int(generator.integers(FRAMES[0], FRAMES[1], endpoint=True))
    paper = generator.uniform(0, 80, size=3)
    ink = generator.uniform(150, 255, size=3)
    light = generator.uniform(0.97, 1.03, size=(frames, 1, 1, 1))  # a lamp that flickers a little
    cover = render(digit, draw_track(motion, frames, generator))[..., None]
    picture = (paper + (ink - paper) * cover) * light
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def draw_track(motion: str, frames: int, generator: np.random.Generator) -> Track:
    """A random track of a motion. Its values at any one frame are distributed alike for all motions."""
    time = np.arange(frames)
    x, y = generator.uniform(0, SIDE, size=2)
    phase = generator.uniform(0, 1)  # of the sweep through the sizes, or where it stands still
    if motion in _DIRECTIONS:
        step = generator.uniform(1.2, 2.6)  # pixels a frame
        across, down = _DIRECTIONS[motion]
        return Track(x + across * step * time, y + down * step * time, _sizes(phase + 0 * time))
    if motion in ("CircleClockwise", "CircleCounterclockwise"):
        turn = 2 * np.pi * time / generator.uniform(10, 16)  # one turn in that many frames
        turn = generator.uniform(0, 2 * np.pi) + (turn if motion == "CircleClockwise" else -turn)  # y points down
        radius = generator.uniform(5, 9)
        return Track(x + radius * np.cos(turn), y + radius * np.sin(turn), _sizes(phase + 0 * time))
    if motion in ("Grow", "Shrink"):
        sweep = time / generator.uniform(10, 16)  # one sweep in that many frames
        still = np.full(frames, 1.0)
        return Track(x * still, y * still, _sizes(phase + (sweep if motion == "Grow" else -sweep)))
    raise ValueError(f"motion {motion!r}; allowed: {', '.join(MOTIONS)}")


def _sizes(phase: np.ndarray) -> np.ndarray:
    """Sizes in pixels; a phase runs through them once from 0 to 1 and then starts again."""
    smallest, largest = _SIZES
    return smallest * (largest / smallest) ** (phase % 1.0)


def render(digit: np.ndarray, track: Track) -> np.ndarray:
    """The digit on its track over the torus: `(frames, SIDE, SIDE)` float, 0 (paper) to 1 (ink).

    Bilinear: a pixel is a weighted sum of the digit's cells, and the weights of rows and columns part.
    """
    rows = _weights(track.y, track.size)
    columns = _weights(track.x, track.size)
    return np.minimum(rows @ digit @ columns.transpose(0, 2, 1), 1.0)


def _weights(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """How much each of the digit's 8 cells adds to each pixel along one axis: `(frames, SIDE, 8)`."""
    pixels = np.arange(SIDE) + 0.5
    offset = (pixels - centre[:, None] + SIDE / 2) % SIDE - SIDE / 2  # the short way round the torus
    cell = offset / (size[:, None] / 8) + 3.5
    return np.maximum(1.0 - np.abs(cell[:, :, None] - np.arange(8)), 0.0)


def encode(frames: np.ndarray, path: Path) -> None:
    """Write `(frames, height, width, 3)` uint8 as an MP4 file with H.264 video; equal frames give equal bytes.

    Every frame is coded on its own with the same quantiser. Coded against its neighbours, a frame would carry traces of
    where they differ, and a good network could read the motion off them.
    """
    import av

    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        coding = {"preset": "veryfast", "qp": "22", "g": "1"}
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=coding)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # with more, the bytes would depend on the machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
