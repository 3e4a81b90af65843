"""The registered model answers for any path or address, and says what is wrong with the others."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stages.models.batch import Batch, pad
from stages.models.weights import save_network
from stages.serving.predictor import InvalidRows
from stages.tasks.video.data.decode import Decoding, read_clip
from stages.tasks.video.model.network import build
from stages.tasks.video.params import ModelParams
from stages.tasks.video.serve.local_copy import local_copy
from stages.tasks.video.serve.predictor import Predictor
from tests.unit.http_server import Fault, serving
from tests.unit.test_video_decode import CLIPS, ODD_CLIPS, with_odd_clips, with_unknown_codec
from tests.unit.test_video_model import DATA, DECODING, MODEL
from tests.unit.video_clips import write_clip


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return _predictor(tmp_path, "cnn_lstm")


def _predictor(tmp_path: Path, kind: str, decoding: Decoding = DECODING) -> Predictor:
    return Predictor(untrained(tmp_path, kind, decoding))


def untrained(tmp_path: Path, kind: str = "cnn_lstm", decoding: Decoding = DECODING) -> Path:
    """The folder of an untrained network."""
    torch.manual_seed(0)
    params = ModelParams.model_validate({**MODEL, "kind": kind})
    data = {**DATA, "decoding": asdict(decoding)}
    save_network(tmp_path / "weights", build(params, data), params, data, prepared=tmp_path, training={})
    return tmp_path / "weights"


def test_a_clip_gets_the_same_answer_wherever_it_lies(predictor: Predictor, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a clip.mp4", 60)
    with serving() as server:
        server.put("/clip", clip.read_bytes())
        server.put("/moved", b"", faults=[Fault(status=302, headers={"Location": f"{server.url}/clip"})] * 9)
        server.put("/plain", clip.read_bytes(), ranges=False, chunked=True)  # its length is not told
        paths = [str(clip), f"file://{clip}", clip.as_uri()]
        paths += [f"{server.url}/{name}" for name in ("clip", "clip?signature=%2F", "moved", "plain")]
        answers = predictor.predict(pd.DataFrame({"path": paths}))
    assert list(answers.columns) == ["label", "probability", "top5_labels", "top5_probabilities"]
    assert len(answers) == len(paths)
    assert answers["label"].nunique() == 1
    assert np.ptp(answers["probability"]) < 1e-6
    assert sorted(answers["top5_labels"][0]) == DATA["classes"]
    assert sum(answers["top5_probabilities"][0]) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer"])
def test_answers_come_in_the_order_of_the_rows_whatever_is_beside_them(kind: str, tmp_path: Path) -> None:
    predictor = _predictor(tmp_path, kind)
    paths = [str(write_clip(tmp_path / f"{n}.mp4", 20 * n, frames=6 + 5 * (n % 3))) for n in range(5)]
    together = predictor.predict(pd.DataFrame({"path": paths}))
    alone = pd.concat([predictor.predict(pd.DataFrame({"path": [path]})) for path in paths])
    assert together["label"].tolist() == alone["label"].tolist()
    assert np.allclose(together["probability"], alone["probability"], atol=1e-5)


@pytest.mark.parametrize("kind", ["cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer"])
def test_probabilities_over_time_are_those_of_the_first_frames_alone(kind: str, tmp_path: Path) -> None:
    predictor = _predictor(tmp_path, kind)
    paths = [str(write_clip(tmp_path / f"{n}.mp4", 20 * n, frames=6 + 5 * n)) for n in range(3)]
    frame = pd.DataFrame({"path": [*paths[:2], "missing.mp4", paths[2]]})
    plain = predictor.predict(frame, on_error="report")
    answers = predictor.predict(frame, on_error="report", over_time=True)
    assert list(answers.columns) == [*plain.columns[:-1], "probabilities_over_time", "error"]
    assert answers[plain.columns].equals(plain)
    assert answers["probabilities_over_time"].isna().tolist() == [False, False, True, False]
    for place, path in zip((0, 1, 3), paths, strict=True):
        row, frames = answers.iloc[place], read_clip(Path(path), DECODING).frames
        found = np.array(row["probabilities_over_time"])
        assert found.shape == (len(frames), len(row["top5_labels"]))
        assert np.allclose(found[-1], row["top5_probabilities"], atol=1e-5)
        for end in range(1, len(frames) + 1):
            values, lengths = pad([frames[:end]])
            with torch.inference_mode():
                alone = predictor._network(Batch(values=values, lengths=lengths))[0].softmax(dim=0)
            by_name = dict(zip(DATA["classes"], alone.tolist(), strict=True))
            assert np.allclose(found[end - 1], [by_name[name] for name in row["top5_labels"]], atol=1e-5)
    with pytest.raises(ValueError, match="over_time: found 1; allowed: true, false"):
        predictor.predict(frame, on_error="report", over_time=1)


def test_bad_rows_are_named_with_their_reason(predictor: Predictor, tmp_path: Path) -> None:
    good = str(write_clip(tmp_path / "good.mp4", 60))
    short = str(write_clip(tmp_path / "short.mp4", 60, frames=2))
    (tmp_path / "text.mp4").write_text("not a film")
    os.mkfifo(tmp_path / "pipe.mp4")
    paths = [good, None, float("nan"), "", short, str(tmp_path / "text.mp4"), str(tmp_path / "missing.mp4"), "odd://x"]
    paths += [str(tmp_path / "pipe.mp4"), str(tmp_path), (tmp_path / "missing.mp4").as_uri(), "a" * 5000]
    paths += [str(with_unknown_codec(tmp_path / "unknown.avi"))]
    frame = pd.DataFrame({"path": pd.Series(paths, dtype=object)})
    answers = predictor.predict(frame, on_error="report")
    assert answers["label"].notna().tolist() == [True] + [False] * 12
    errors = answers["error"].tolist()
    assert "allowed: a local path or an address" in errors[1]
    assert "2 frames; allowed: 4 or more" in errors[4]
    assert "no video container" in errors[5]
    assert "no such file" in errors[6]
    assert "found the protocol 'odd'; allowed: https, http, s3, gs, file" in errors[7]
    assert "not a file, but a folder, a pipe or a device" in errors[8]
    assert "not a file, but a folder, a pipe or a device" in errors[9]
    assert "no such file" in errors[10]
    assert "File name too long" in errors[11]
    assert "a codec that FFmpeg does not know" in errors[12]
    with pytest.raises(InvalidRows, match="12 of 13 rows cannot be answered"):
        predictor.predict(frame)


def test_a_host_that_fails_or_falls_silent_is_named_with_its_reason() -> None:
    silent = [Fault(after=1000, stall=True)] * 9
    with serving() as server:
        server.put("/silent", bytes(100_000), faults=silent)
        server.put("/broken", bytes(100_000), faults=[Fault(after=1000)] * 9)
        server.put("/refused", b"", faults=[Fault(status=403)] * 9)
        expected = {"silent": "too long to arrive", "broken": "not completed", "refused": "403", "missing": "404"}
        started = time.monotonic()
        for name, reason in expected.items():
            with (
                pytest.raises(ValueError, match=f"cannot be read: .*{reason}"),
                local_copy(f"{server.url}/{name}", max_seconds=0.5),
            ):
                pass
        assert time.monotonic() - started < 4  # the host would keep quiet for 5


def test_a_long_clip_is_answered_by_its_first_frames(predictor: Predictor, tmp_path: Path) -> None:
    """100 frames are looked at, as `max_decoded_frames` says."""
    long = write_clip(tmp_path / "long.mp4", 60, frames=400)
    first = write_clip(tmp_path / "first.mp4", 60, frames=100)
    answers = predictor.predict(pd.DataFrame({"path": [str(long), str(first)]}))
    assert answers["probability"][0] == pytest.approx(answers["probability"][1], abs=1e-6)


@with_odd_clips
def test_odd_clips_of_the_world_are_answered(tmp_path: Path) -> None:
    """Here the first 12 frames are looked at, of up to a million pixels; 4 have to be there. A clip in each container
    comes over HTTP as well.
    """
    expected: dict[str, str] = {}
    for name, count, width, height in ODD_CLIPS:
        expected[name] = "frames; allowed: 4 or more" if count < 4 else "pixels" if width * height > 1_000_000 else ""
    remote = list({Path(name).suffix: name for name in expected if not expected[name]}.values())
    assert len(remote) == 4
    predictor = _predictor(tmp_path, "cnn_lstm", replace(DECODING, max_decoded_frames=12))
    with serving() as server:
        for name in remote:
            server.put(f"/{name}", (CLIPS / name).read_bytes())
        paths = [str(CLIPS / name) for name in expected] + [f"{server.url}/{name}" for name in remote]
        answers = predictor.predict(pd.DataFrame({"path": paths}), on_error="report")
    answers.index = pd.Index([*expected, *(f"remote {name}" for name in remote)])
    for name, reason in expected.items():
        if reason:
            assert reason in str(answers.loc[name, "error"])
        else:
            assert answers.loc[name, "label"] in DATA["classes"], answers.loc[name, "error"]
    for name in remote:
        assert answers.loc[f"remote {name}", "probability"] == pytest.approx(answers.loc[name, "probability"], abs=1e-6)


def test_what_is_copied_is_bounded_and_gone_afterwards() -> None:
    with serving() as server:
        server.put("/large", bytes(3_000_000))
        address = f"{server.url}/large"
        with pytest.raises(ValueError, match="more than the 2,000,000 bytes"), local_copy(address, max_bytes=2_000_000):
            pass
        with pytest.raises(ValueError, match="too long"), local_copy(address, max_seconds=-1.0):
            pass
        with local_copy(address) as copy:
            assert copy.stat().st_size == 3_000_000
        assert not copy.exists()
