"""Clips into frames: any file that FFmpeg decodes, within bounds, as small pictures of one size.

Frames are counted and taken in the order in which the decoder gives them. Timestamps (often not monotone in UCF-101)
and frame counts in headers are not trusted. Sound is never touched.

The preprocess stage and the registered model both read clips here: a network is asked about what it was trained on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

# Containers of video alone: FFmpeg also "plays" playlists that name further files and addresses, text and pictures.
CONTAINERS = (
    "3g2,3gp,asf,avi,dv,flv,gif,h264,hevc,ivf,m4a,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,rm,webm"
)
# Exact arithmetic, so that processors with other vector units give the same bytes.
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_MAX_HELD_BYTES = 4_000_000  # of a clip's packets; what has more is opened a second time, which then costs little
_of_thread = threading.local()

Rule = Literal["no_file", "not_a_clip", "no_video", "too_large", "undecodable", "too_short", "too_slow"]


class ClipError(ValueError):
    """A clip that gives no frames; `rule` is the short name of the reason."""

    def __init__(self, rule: Rule, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule

    def __reduce__(self) -> tuple[type[ClipError], tuple[Rule, str]]:
        return ClipError, (self.rule, str(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How clips are decoded, and what that may cost."""

    size: int  # pixels of the square that every frame is scaled to, whatever its shape
    channels: Literal[1, 3]  # brightness, or red, green and blue
    frames: int  # taken evenly over the clip; a clip with fewer gives all it has
    min_frames: int  # a clip with fewer is refused
    max_decoded_frames: int  # what comes after these is left alone
    max_pixels: int  # of one frame as it is in the file; a clip with larger ones is refused
    max_seconds: float  # of work; a clip that takes longer is refused


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of a clip, `(time, height, width, channels)` uint8, what had to be done to get them and, where they
    are encoded, their features by column of the store, each `(time, 3008)` float16.
    """

    frames: np.ndarray
    repairs: tuple[str, ...] = ()
    features: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_clip(path: Path, decoding: Decoding) -> Clip:
    """Decode a clip and take its frames evenly.

    `repairs` may hold `damaged` (frames from a damaged one up to the next that needs none before it are left out),
    `truncated` (there is no such next one: the frames before the break are used) and `shortened` (the clip goes on
    after `max_decoded_frames`). Raises ClipError where there is nothing to use.
    """
    deadline = time.monotonic() + decoding.max_seconds

    def decode(packets: Iterator[Packet], stream: VideoStream, expected: int) -> _Decoded:
        return _decode(packets, stream, decoding, evenly_spaced(expected, decoding.frames), deadline)

    # Counting packets is cheap, and nearly always one packet is one frame. Where not, another pass knows better.
    decoded: _Decoded | None = None
    container, stream = _open(path, decoding, deadline)
    with container:
        packets, held = _count_packets(container, stream, decoding, deadline)
        expected = min(packets, decoding.max_decoded_frames)
        if held is not None:
            decoded = decode(_replayed(held), stream, expected)
    for _ in range(2 if decoded is None else 1):
        if decoded is not None:
            if decoded.count == expected:
                break
            expected = decoded.count
        container, stream = _open(path, decoding, deadline)
        with container:
            decoded = decode(container.demux(stream), stream, expected)
    assert decoded is not None
    count, damage = decoded.count, decoded.damage
    if count < decoding.min_frames:
        found = (
            f"{count} frames" if damage is None else f"damaged at frame {damage + 1} of {packets}: {count} good ones"
        )
        raise ClipError("too_short", f"{found}; allowed: {decoding.min_frames} or more")
    return Clip(decoded.taken, decoded.repairs)


def try_read_clip(folder: Path, decoding: Decoding, name: str) -> Clip | ClipError:
    """`read_clip` of `folder/name` in a process of its own: an error is returned, not raised.

    A decoder that hangs within one packet, where no deadline is looked at, is ended with its process.
    """
    signal.setitimer(signal.ITIMER_REAL, 2 * decoding.max_seconds + 1)
    try:
        return read_clip(folder / name, decoding)
    except ClipError as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """The indices of `wanted` of `count` frames: the middles of as many equal parts; all, where there are fewer."""
    taken = min(count, wanted)
    return ((np.arange(taken) + 0.5) * count / max(taken, 1)).astype(np.int64)


def _open(path: Path, decoding: Decoding, deadline: float) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(
            f"file:{path}",  # the prefix keeps FFmpeg from reading a file name as an address
            options={
                "format_whitelist": CONTAINERS,
                "protocol_whitelist": "file",
                "max_pixels": _decoder_max_pixels(decoding),  # av.open itself decodes frames, to learn their format
            },
            metadata_errors="replace",
            timeout=max(deadline - time.monotonic(), 0.0),
        )
    except FileNotFoundError:
        raise ClipError("no_file", "no such file") from None
    except av.ExitError:
        raise _too_slow(decoding) from None
    except (av.FFmpegError, OSError) as error:
        raise ClipError("not_a_clip", f"no video container that can be read: {_reason(error)}") from None
    try:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise ClipError("no_video", "the file holds no video stream")
        if stream.codec_context is None:
            raise ClipError("undecodable", "its video has a codec that FFmpeg does not know")
        _check_size(stream.codec_context.width * stream.codec_context.height, decoding)
    except ClipError:
        container.close()
        raise
    # One thread, since several clips are decoded at once and a damaged one must break at the same frame every time.
    stream.codec_context.thread_count = 1
    # The header may state smaller frames than come: the decoder refuses larger ones before it makes room for them.
    stream.codec_context.options = {"max_pixels": _decoder_max_pixels(decoding)}
    return container, stream


def _decoder_max_pixels(decoding: Decoding) -> str:
    """What decoders may make room for: they count whole blocks, of up to 128 pixels a side, and not what is shown."""
    return str(2 * decoding.max_pixels + 128 * 128)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What decoding a clip came to."""

    taken: np.ndarray  # the good frames at the places that were asked for
    count: int  # good frames that there are
    repairs: tuple[str, ...] = ()  # as `read_clip` names them
    damage: int | None = None  # how many frames came before the first damage, if any


def _count_packets(
    container: InputContainer, stream: VideoStream, decoding: Decoding, deadline: float
) -> tuple[int, list[Packet | av.FFmpegError] | None]:
    """How many packets hold something, and what reading them gave: all of a small clip's packets and the error that
    ended them, so that the file is not opened again; None of a clip that is large or goes on for too long.
    """
    count, size = 0, 0
    held: list[Packet | av.FFmpegError] = []
    try:
        for packet in container.demux(stream):
            count += packet.size > 0
            size += packet.size
            if count > decoding.max_decoded_frames:
                return count, None
            if size <= _MAX_HELD_BYTES:
                held.append(packet)
            _check_time(deadline, decoding)
    except av.ExitError:
        raise _too_slow(decoding) from None
    except av.FFmpegError as error:
        held.append(error)  # the file breaks off here; decoding meets the same place
    return count, held if size <= _MAX_HELD_BYTES else None


def _replayed(held: list[Packet | av.FFmpegError]) -> Iterator[Packet]:
    """Packets and the error after them, as demuxing gave them."""
    for item in held:
        if isinstance(item, av.FFmpegError):
            raise item
        yield item


def _decode(
    packets: Iterator[Packet], stream: VideoStream, decoding: Decoding, wanted: np.ndarray, deadline: float
) -> _Decoded:
    """The good frames at the positions `wanted`. Raises ClipError where no frame comes out."""
    places = set(wanted.tolist())
    # Each picture is copied at once, so that the scaler's buffers are used again.
    taken = np.empty((len(wanted), decoding.size, decoding.size, decoding.channels), np.uint8)
    pictures = 0
    count = 0
    damage: int | None = None
    broken = False  # until a frame comes that needs none before it
    problem = "no frame came out"
    while True:
        _check_time(deadline, decoding)
        try:
            packet = next(packets)
            frames = packet.decode()
        except (StopIteration, av.EOFError):
            break
        except av.ExitError:
            raise _too_slow(decoding) from None
        except av.FFmpegError as error:
            problem = _reason(error)
            if not count and isinstance(error, av.ArgumentError) and not stream.codec_context.width:
                # What the decoder does with a size that it may not have.
                raise ClipError("too_large", f"frames of more pixels than allowed: {decoding.max_pixels:,}") from None
            # Before the first frame it is a stream cut at its start: nothing can be decoded before a whole picture.
            damage, broken = (count if damage is None else damage, True) if count else (None, False)
            continue
        for frame in frames:
            if frame.is_corrupt and count:
                damage, broken = count if damage is None else damage, True
            broken = broken and not (frame.key_frame and not frame.is_corrupt)
            if broken or frame.is_corrupt:
                continue
            if count == decoding.max_decoded_frames:
                return _Decoded(taken[:pictures], count, ("shortened", *_repairs(damage, broken)), damage)
            _check_size(frame.width * frame.height, decoding)
            if count in places:
                taken[pictures] = _picture(frame, decoding)
                pictures += 1
            count += 1
    if not count:
        raise ClipError("undecodable", f"{stream.codec_context.name}: {problem}")
    return _Decoded(taken[:pictures], count, _repairs(damage, broken), damage)


def _repairs(damage: int | None, broken: bool) -> tuple[str, ...]:
    return () if damage is None else ("truncated",) if broken else ("damaged",)


def _picture(frame: av.VideoFrame, decoding: Decoding) -> np.ndarray:
    """A frame as it is meant to be seen, `(size, size, channels)` uint8: a view of the scaled frame's memory."""
    # It keeps its tables from frame to frame and from clip to clip, which is most of the cost of scaling; no thread may
    # use that of another.
    if (reformatter := getattr(_of_thread, "reformatter", None)) is None:
        reformatter = _of_thread.reformatter = VideoReformatter()
    kind = "gray" if decoding.channels == 1 else "rgb24"
    side, channels = decoding.size, decoding.channels
    (plane,) = reformatter.reformat(frame, side, side, kind, interpolation=_SCALING, threads=1).planes
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(side, plane.line_size)[:, : side * channels]
    return _upright(rows.reshape(side, side, channels), frame)


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """A square picture turned and mirrored as the frame's display matrix says, to the nearest of the eight ways.

    The matrix has `x' = a x + c y` and `y' = b x + d y`, y downwards, in its first numbers a, b, ·, c, d (FFmpeg's
    libavutil/display.h; ISO/IEC 14496-12, 6.2.2). Its players do the same (`-autorotate`).
    """
    matrix: Any = side_data.get("DISPLAYMATRIX") if len(side_data := frame.side_data) else None
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _check_time(deadline: float, decoding: Decoding) -> None:
    if time.monotonic() > deadline:
        raise _too_slow(decoding)


def _check_size(pixels: int, decoding: Decoding) -> None:
    if pixels > decoding.max_pixels:
        raise ClipError("too_large", f"frames of {pixels:,} pixels; allowed: {decoding.max_pixels:,}")


def _too_slow(decoding: Decoding) -> ClipError:
    return ClipError("too_slow", f"decoding took more than {decoding.max_seconds:g} seconds")


def _reason(error: Exception) -> str:
    """FFmpeg's message without the path, which differs from machine to machine."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
