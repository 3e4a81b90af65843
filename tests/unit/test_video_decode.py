"""Any clip gives the frames it holds, or one clear reason why not."""

from __future__ import annotations

import os
import struct
import time
import wave
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest

from stages.preprocessing.workers import Crash, ordered_map
from stages.tasks.video.data import decode
from stages.tasks.video.data.decode import Clip, ClipError, Decoding, evenly_spaced, read_clip, try_read_clip

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"
DECODING = Decoding(
    size=32, channels=1, frames=1000, min_frames=8, max_decoded_frames=5000, max_pixels=9_000_000, max_seconds=60.0
)


def _write(path: Path, frames: np.ndarray, *, options: dict[str, str] | None = None) -> Path:
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "10", "g": "5", "preset": "ultrafast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def _ramp(count: int, side: int = 64) -> np.ndarray:
    """Frames that grow lighter by 8 from one to the next."""
    return np.repeat(np.arange(count, dtype=np.uint8) * 8, side * side * 3).reshape(count, side, side, 3)


def _noise(count: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def _rule(path: Path, decoding: Decoding = DECODING) -> str:
    with pytest.raises(ClipError) as caught:
        read_clip(path, decoding)
    return caught.value.rule


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 5, [1, 3, 5, 7, 9]), (3, 8, [0, 1, 2]), (4, 3, [0, 2, 3]), (100, 1, [50]), (0, 4, [])],
)
def test_frames_are_taken_from_the_middles_of_equal_parts(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly_spaced(count, wanted).tolist() == expected


def test_frames_come_in_order_and_evenly(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", _ramp(30))
    clip = read_clip(path, replace(DECODING, frames=5))
    assert clip.frames.shape == (5, 32, 32, 1)
    assert clip.frames.dtype == np.uint8
    assert clip.repairs == ()
    # Frames 3, 9, 15, 21, 27, each 8 levels lighter than the one before it.
    assert np.abs(clip.frames.mean(axis=(1, 2, 3)) - np.array([24, 72, 120, 168, 216])).max() < 3


def test_colour_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    red = np.zeros((8, 64, 64, 3), dtype=np.uint8)
    red[..., 0] = 200
    clip = read_clip(_write(tmp_path / "clip.mp4", red), replace(DECODING, channels=3))
    assert np.abs(clip.frames.mean(axis=(0, 1, 2)) - np.array([200, 0, 0])).max() < 6


def test_a_file_that_breaks_off_is_used_up_to_the_break(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mp4", _noise(40), options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    clip = read_clip(tmp_path / "half.mp4", DECODING)
    assert 12 <= len(clip.frames) <= 20
    assert clip.repairs == ("truncated",)
    (tmp_path / "start.mp4").write_bytes(whole[: len(whole) // 10])
    assert _rule(tmp_path / "start.mp4") == "too_short"


def test_a_small_clip_is_opened_once_and_a_large_one_twice_for_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "clip.mp4", _noise(20))
    clips = [path, _with_damage(_write(tmp_path / "damaged.mp4", _ramp(30)), 12)]
    opened: list[str] = []
    real = av.open

    def counted(file: str, **options: Any) -> Any:
        opened.append(file)
        return real(file, **options)

    monkeypatch.setattr(av, "open", counted)
    small = [read_clip(clip, DECODING) for clip in clips]
    assert len(opened) == 1 + 2  # of the damaged one fewer frames come than packets, which only decoding tells
    monkeypatch.setattr(decode, "_MAX_HELD_BYTES", 1000)
    large = [read_clip(clip, DECODING) for clip in clips]
    assert len(opened) == 3 + 2 + 3
    assert [clip.repairs for clip in small] == [clip.repairs for clip in large] == [(), ("damaged",)]
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(small, large, strict=True))


def test_a_clip_gives_the_same_frames_after_any_other_and_in_any_thread(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{side}.mp4", _noise(9, side)) for side in (32, 48, 64)]
    kinds: list[tuple[Literal[1, 3], Path]] = [(channels, path) for channels in (1, 3) for path in paths]
    alone = []
    for channels, path in kinds:
        with ThreadPoolExecutor(1) as pool:  # a thread of its own, which has scaled nothing before
            alone.append(pool.submit(read_clip, path, replace(DECODING, channels=channels)).result().frames)
    with ThreadPoolExecutor(3) as pool:
        order = [number for _ in range(5) for number in range(len(kinds))]
        found = pool.map(lambda n: read_clip(kinds[n][1], replace(DECODING, channels=kinds[n][0])).frames, order)
        assert all(np.array_equal(frames, alone[number]) for number, frames in zip(order, found, strict=True))


def test_the_frames_before_a_break_are_those_of_the_whole_clip(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mp4", _noise(40), options={"movflags": "faststart"})
    (tmp_path / "half.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    half = read_clip(tmp_path / "half.mp4", DECODING).frames
    assert np.array_equal(half, read_clip(whole, DECODING).frames[: len(half)])


def test_an_index_that_never_came_leaves_nothing_to_read(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mp4", _noise(20)).read_bytes()  # its index stands at the end
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    assert _rule(tmp_path / "half.mp4") == "not_a_clip"


def test_a_long_clip_is_used_as_far_as_allowed(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", _ramp(30))
    clip = read_clip(path, replace(DECODING, frames=2, max_decoded_frames=10))
    assert clip.repairs == ("shortened",)
    assert np.abs(clip.frames.mean(axis=(1, 2, 3)) - np.array([16, 56])).max() < 3  # frames 2 and 7 of the first 10


def test_bounds_are_kept(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", _ramp(9))
    assert _rule(path, replace(DECODING, max_pixels=64 * 64 - 1)) == "too_large"
    assert _rule(path, replace(DECODING, min_frames=10)) == "too_short"
    assert _rule(path, replace(DECODING, max_seconds=-1.0)) == "too_slow"
    assert len(read_clip(path, replace(DECODING, max_pixels=64 * 64, min_frames=9)).frames) == 9


def test_playlists_and_pictures_are_no_clips(tmp_path: Path) -> None:
    """FFmpeg would follow a playlist to other files and addresses."""
    clip = _write(tmp_path / "clip.mp4", _ramp(9))
    for name, text in (
        ("concat.mp4", f"ffconcat version 1.0\nfile {clip}\n"),
        ("concat.ffconcat", f"ffconcat version 1.0\nfile {clip.name}\n"),
        ("list.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{clip}\n#EXT-X-ENDLIST\n"),
        ("notes.txt", "a film about nothing\n" * 100),
        ("empty.mp4", ""),
    ):
        (tmp_path / name).write_text(text)
        assert _rule(tmp_path / name) == "not_a_clip", name
    assert _rule(tmp_path / "missing.mp4") == "no_file"
    assert _rule(tmp_path) == "not_a_clip"


def test_a_name_that_looks_like_an_address_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "clip.mp4", _ramp(9)).rename(tmp_path / "concat:a%20b?.mp4")
    assert len(read_clip(Path("concat:a%20b?.mp4"), DECODING).frames) == 9


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    assert _rule(tmp_path / "sound.wav") == "not_a_clip"
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert _rule(tmp_path / "sound.mp4") == "no_video"


def test_reasons_name_no_path(tmp_path: Path) -> None:
    """They stand in outputs, which must not differ from machine to machine."""
    (tmp_path / "bad.mp4").write_bytes(b"not a film" * 100)
    with pytest.raises(ClipError) as caught:
        read_clip(tmp_path / "bad.mp4", DECODING)
    assert str(tmp_path) not in str(caught.value)


def test_timestamps_decide_nothing(tmp_path: Path) -> None:
    """Ten hours by the clock, with frames that come in bursts, are the frames that they are."""
    even = _write(tmp_path / "even.mp4", _ramp(12))
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "10", "g": "5", "preset": "ultrafast"})
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(_ramp(12)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 3600 * number + number % 3, Fraction(1, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "odd.mkv")) as container:
        assert container.duration is not None
        assert container.duration > 10 * 3600 * 1_000_000
    assert np.array_equal(read_clip(tmp_path / "odd.mkv", DECODING).frames, read_clip(even, DECODING).frames)


def _write_avi(path: Path, count: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for picture in _ramp(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("told", [0, 3, 1_000_000])
def test_a_header_that_lies_about_the_number_of_frames_is_not_believed(tmp_path: Path, told: int) -> None:
    path = tmp_path / "clip.avi"
    _write_avi(path, 20)
    content = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # dwTotalFrames and dwLength of AVI's headers
        start = content.index(chunk) + offset
        assert struct.unpack_from("<I", content, start) == (20,)
        struct.pack_into("<I", content, start, told)
    path.write_bytes(content)
    assert len(read_clip(path, DECODING).frames) == 20


def test_ten_hours_of_frames_cost_what_is_used_of_them(tmp_path: Path) -> None:
    """900,000 frames, each 16 x 16 pixels, one after the other in a stream without a header."""
    with av.open(str(tmp_path / "one.m4v"), "w", format="m4v") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 16
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(_ramp(1, side=16)[0], format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "long.m4v").write_bytes((tmp_path / "one.m4v").read_bytes() * 900_000)
    started = time.monotonic()
    with _bounded_memory(megabytes=30):
        clip = read_clip(tmp_path / "long.m4v", replace(DECODING, frames=8, max_decoded_frames=200))
    (tmp_path / "long.m4v").unlink()
    assert time.monotonic() - started < 10
    assert clip.frames.shape == (8, 32, 32, 1)
    assert clip.repairs == ("shortened",)


@pytest.mark.parametrize("told", [(15360, 8640), (64, 64)])
def test_a_frame_of_16k_is_refused_before_there_is_room_for_it(tmp_path: Path, told: tuple[int, int]) -> None:
    """Also where the container says that it is small. Its 133 million pixels are black, so that the file is small."""
    with av.open(str(tmp_path / "clip.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height = told
        stream.pix_fmt = "gray"
        for number in range(2):
            packet = av.Packet(_black_png(15360, 8640))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            container.mux(packet)
    with _bounded_memory(megabytes=20):
        assert _rule(tmp_path / "clip.mov", replace(DECODING, min_frames=1)) == "too_large"


@cache
def _black_png(width: int, height: int) -> bytes:
    """A picture of a byte a pixel."""
    packer = zlib.compressobj(level=1)
    rows = b"".join([*(packer.compress(bytes(width + 1)) for _ in range(height)), packer.flush()])
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": rows,
        b"IEND": b"",
    }
    chunks = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@contextmanager
def _bounded_memory(*, megabytes: int) -> Iterator[None]:
    """The block takes at no time so many megabytes more than were taken before it."""

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the highest is counted anew
    before = kilobytes("VmRSS")
    yield
    assert kilobytes("VmHWM") - before < 1024 * megabytes


def test_a_decoder_that_hangs_is_ended_with_its_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")  # opening it waits for someone who writes
    _write(tmp_path / "b.mp4", _ramp(9))
    decode = partial(try_read_clip, tmp_path, replace(DECODING, max_seconds=0.2))
    results = dict(ordered_map(decode, ["a.mp4", "b.mp4"], processes=1))
    assert isinstance(results["a.mp4"], Crash)
    assert isinstance(results["b.mp4"], Clip)


def _corners() -> np.ndarray:
    """Frames that are red | green above blue | white, so that no two orientations look the same."""
    frames = np.zeros((8, 64, 64, 3), dtype=np.uint8)
    frames[:, :32, :32], frames[:, :32, 32:], frames[:, 32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    frames[:, 32:, 32:] = 255
    return frames


def _with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The MP4 with another display matrix in its track's header (ISO/IEC 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", content, start) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">5i", content, start, a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), "rg bw"),
        ((0, 1, -1, 0), "br wg"),  # a quarter turn with the clock
        ((-1, 0, 0, -1), "wb gr"),
        ((0, -1, 1, 0), "gw rb"),
        ((-1, 0, 0, 1), "gr wb"),  # mirrored, as front cameras do
        ((1, 0, 0, -1), "bw rg"),
        ((0, 1, 1, 0), "rb gw"),
        ((0, -1, -1, 0), "wg br"),
    ],
)
def test_all_eight_orientations_are_honoured(tmp_path: Path, matrix: tuple[int, int, int, int], expected: str) -> None:
    """`x' = a x + c y`, `y' = b x + d y`, as FFmpeg's autorotate shows them."""
    path = _with_matrix(_write(tmp_path / "clip.mp4", _corners()), *matrix)
    picture = read_clip(path, replace(DECODING, channels=3)).frames[0] > 127
    names = {(True, False, False): "r", (False, True, False): "g", (False, False, True): "b", (True, True, True): "w"}
    rows = ["".join(names[tuple(picture[y, x].tolist())] for x in (8, 24)) for y in (8, 24)]
    assert " ".join(rows) == expected


def _with_damage(path: Path, *numbers: int) -> Path:
    """A clip with the pictures of these numbers overwritten, whose key frames are every fifth."""
    with av.open(str(path)) as container:
        packets = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        content[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(content)
    return path


def test_after_a_damaged_picture_a_clip_goes_on_at_its_next_key_frame(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", _ramp(30))
    whole = read_clip(path, DECODING).frames
    clip = read_clip(_with_damage(path, 12), DECODING)
    assert clip.repairs == ("damaged",)
    assert np.array_equal(clip.frames, whole[[*range(12), *range(15, 30)]])
    few = read_clip(path, replace(DECODING, frames=3))
    assert np.array_equal(few.frames, whole[[4, 16, 25]])  # the middles of three parts of the 27 good ones


def test_a_clip_that_is_damaged_to_its_end_is_used_up_to_the_damage_or_says_where_it_is(tmp_path: Path) -> None:
    path = _with_damage(_write(tmp_path / "clip.mp4", _ramp(24)), 12, 15, 20)
    clip = read_clip(path, DECODING)
    assert clip.repairs == ("truncated",)
    assert len(clip.frames) == 12
    with pytest.raises(ClipError, match="damaged at frame 13 of 24: 12 good ones; allowed: 20 or more"):
        read_clip(path, replace(DECODING, min_frames=20))


def with_unknown_codec(path: Path) -> Path:
    """An AVI whose four letters for the codec stand for none."""
    _write_avi(path, 9)
    content = path.read_bytes()
    assert content.count(b"FMP4") == 2
    path.write_bytes(content.replace(b"FMP4", b"Z?Q!"))
    return path


def test_a_codec_that_nobody_knows_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="a codec that FFmpeg does not know") as caught:
        read_clip(with_unknown_codec(tmp_path / "clip.avi"), DECODING)
    assert caught.value.rule == "undecodable"


# What each clip of ../shared/data holds: frames, in order of decoding, and width and height of one as it is stored.
ODD_CLIPS: list[tuple[str, int, int, int]] = [
    ("decord/flipping_a_pancake.mkv", 310, 426, 240),
    ("decord/video_0.mov", 3, 568, 320),
    ("decord/video_180.mov", 3, 568, 320),  # to be shown upside down
    ("decord/video_270.mov", 3, 568, 320),  # to be shown a quarter turn round
    ("imageio-binaries/cockatoo.mp4", 280, 1280, 720),  # 4:4:4
    ("imageio-binaries/cockatoo_yuv420.mp4", 280, 1280, 720),
    ("imageio-binaries/realshort.mp4", 36, 320, 240),
    ("mmaction2/demo.mp4", 280, 340, 256),
    ("mmaction2/part_0.mp4", 32, 340, 256),
    ("mmaction2/test.avi", 164, 320, 240),  # 54 timestamps lie before the one before them
    ("mmaction2/test.mp4", 300, 340, 256),
    ("mmaction2/test_video_structuralize.mp4", 300, 426, 240),
    ("moviepy/big_buck_bunny_0_30.webm", 720, 1280, 720),  # no number of frames in the header; unequal steps of time
    ("moviepy/big_buck_bunny_432_433.webm", 24, 1280, 720),
    ("moviepy/bitmap.mp4", 5, 1, 1),
    ("moviepy/chaplin.mp4", 241, 640, 360),
    ("moviepy/example.mp4", 400, 640, 480),
    ("moviepy/example2.mp4", 48, 1280, 720),
    ("moviepy/example3.mp4", 48, 854, 480),
    ("moviepy/example_mask.mp4", 300, 200, 200),
    ("moviepy/fire2.mp4", 25, 1280, 720),  # variable frame rate, to be shown upside down
    ("moviepy/result.mp4", 250, 640, 480),
    ("moviepy/smpte-2997.mp4", 251, 1920, 1080),
    ("moviepy/test_video.mp4", 5, 1, 1),
    ("moviepy/transparent.webm", 150, 200, 200),
    ("moviepy/video_with_failing_audio.mp4", 280, 640, 360),
    ("opencv-doc/Megamind.avi", 270, 720, 528),  # 88 timestamps lie before the one before them
    ("torchcodec/bt709_full_range.mp4", 30, 1280, 720),
    ("torchcodec/h264_10bits.mp4", 30, 200, 200),
    ("torchcodec/h265_10bits.mp4", 30, 200, 200),
    ("torchcodec/h265_video.mp4", 10, 128, 128),
    ("torchcodec/nasa_13013.mp4", 390, 480, 270),
]
with_odd_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips in ../shared/data")


@with_odd_clips
def test_the_table_names_every_odd_clip() -> None:
    assert sorted(str(path.relative_to(CLIPS)) for path in CLIPS.rglob("*") if path.is_file()) == [
        name for name, *_ in ODD_CLIPS
    ]


@with_odd_clips
@pytest.mark.parametrize(("name", "count", "width", "height"), ODD_CLIPS)
def test_odd_clips_of_the_world(name: str, count: int, width: int, height: int) -> None:
    path = CLIPS / name
    assert _rule(path, replace(DECODING, max_pixels=width * height - 1)) == "too_large"
    assert _rule(path, replace(DECODING, min_frames=count + 1)) == "too_short"
    clip = read_clip(path, replace(DECODING, max_pixels=width * height, min_frames=count))
    assert clip.frames.shape == (count, 32, 32, 1)
    assert clip.repairs == ()
    if width > 1:
        assert clip.frames.std() > 2  # pictures, not a grey field


@with_odd_clips
@pytest.mark.parametrize(("name", "turns"), [("video_0", 0), ("video_180", 2), ("video_270", 1)])
def test_rotation_is_honoured(name: str, turns: int) -> None:
    """The file says how its pictures are to be turned; here, in quarter turns against the clock."""
    path = CLIPS / "decord" / f"{name}.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).reformat(32, 32, "gray", interpolation="AREA").to_ndarray()
    clip = read_clip(path, replace(DECODING, min_frames=1))
    upright = np.rot90(stored, turns)
    assert np.abs(clip.frames[0, :, :, 0].astype(int) - upright).max() <= 4  # exact arithmetic is asked for there
