"""Any clip gives the frames it holds, or one clear reason why not."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from stages.tasks.video.prepare.decode import ClipError, Decoding, positions, read_clip

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
    assert positions(count, wanted).tolist() == expected


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


ODD_CLIPS: list[tuple[str, int | str]] = [  # the frames that each must give, or the rule it must break
    ("decord/flipping_a_pancake.mkv", 310),
    ("decord/video_0.mov", "too_short"),
    ("decord/video_180.mov", "too_short"),
    ("decord/video_270.mov", "too_short"),
    ("imageio-binaries/realshort.mp4", 36),
    ("mmaction2/part_0.mp4", 32),
    ("mmaction2/test.avi", 164),
    ("moviepy/big_buck_bunny_432_433.webm", 24),
    ("moviepy/bitmap.mp4", "too_short"),
    ("moviepy/chaplin.mp4", 241),
    ("moviepy/example3.mp4", 48),
    ("moviepy/fire2.mp4", 25),
    ("moviepy/transparent.webm", 150),
    ("moviepy/video_with_failing_audio.mp4", 280),
    ("opencv-doc/Megamind.avi", 270),
    ("torchcodec/bt709_full_range.mp4", 30),
    ("torchcodec/h264_10bits.mp4", 30),
    ("torchcodec/h265_10bits.mp4", 30),
    ("torchcodec/h265_video.mp4", 10),
    ("torchcodec/nasa_13013.mp4", 390),
]


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips in ../shared/data")
@pytest.mark.parametrize(("name", "expected"), ODD_CLIPS)
def test_odd_clips_of_the_world(name: str, expected: int | str) -> None:
    if isinstance(expected, str):
        assert _rule(CLIPS / name) == expected
        return
    clip = read_clip(CLIPS / name, DECODING)
    assert len(clip.frames) == expected
    assert clip.repairs == ()
    assert clip.frames.std() > 2  # pictures, not a grey field


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips in ../shared/data")
def test_rotation_is_honoured() -> None:
    """The file says to show its pictures a quarter turn against the clock."""
    path = CLIPS / "decord" / "video_270.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        assert stored.rotation == 90
        upright = np.rot90(stored.reformat(32, 32, "gray", interpolation="AREA").to_ndarray(), 1)
    clip = read_clip(path, replace(DECODING, min_frames=1))
    assert np.abs(clip.frames[0, :, :, 0].astype(int) - upright).max() <= 4  # exact arithmetic is asked for there
