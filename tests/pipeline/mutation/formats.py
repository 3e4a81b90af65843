"""The formats that users bring: a small valid file of each, the stages that read it, and what must hold afterwards.

Each check reads the damaged file by itself, as a plain reading of the format has it, and compares: all records are
accepted or rejected, and nothing accepted is anything but the file's.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from stages import predict
from stages.download import download
from stages.preprocess import preprocess
from stages.registry.packaging import signature
from stages.tasks.protocol import Task
from stages.tasks.video.prepare import prepare as video_prepare
from tests.unit.video_clips import write_clip

from . import raw_files as raw
from .case import Case, Format, counts, params, put, text_of
from .mutators import ANSWERED, BINARY, inside_gzip, inside_tar, inside_zip

# -- archives ----------------------------------------------------------------------------------------------------------


def _members() -> dict[str, bytes]:
    lines = raw.series_csv().split(b"\n")
    return {
        "a/one.csv": raw.series_csv(),
        "b/two.csv": lines[0] + b"\n" + b"\n".join(b"x" + line for line in lines[1:-1]) + b"\n",
    }


def _archived(kind: str) -> bytes:
    target = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _members().items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    else:
        with tarfile.open(fileobj=target, mode="w" if kind == "tar" else "w:gz") as archive:
            for name, content in _members().items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def _run_archive(case: Case) -> None:
    url = str(put(Path("source/packed.bin").absolute(), case.content))
    blocks = params("forecast", raw.FORECAST, {"kind": "csv", "url": url})
    download(Task("forecast"), blocks)
    case.notes["raw"] = [path.read_bytes() for path in Path("data/forecast/raw").glob("*.csv")]
    preprocess(Task("forecast"), blocks)


def _check_archive(checked: bool, case: Case) -> None:
    """What a checksum guards is as it was packed."""
    if checked and not case.inside:
        assert {*case.notes["raw"]} <= {*_members().values()}, "unpacked to something else"
    assert case.notes["raw"]


# -- video -------------------------------------------------------------------------------------------------------------

_CLIPS: dict[str, bytes] = {}


def _clip(level: int) -> bytes:
    path = write_clip(Path("clip.mp4").absolute(), level, frames=24)
    content = path.read_bytes()
    path.unlink()
    return content


def _run_video(case: Case) -> None:
    put(Path("data/video/raw/clips/left/damaged.mp4"), case.content)
    for label, content in _CLIPS.items():
        for number in range(4):
            put(Path(f"data/video/raw/clips/{label}/{number}.mp4"), content)
    changes = {"max_rejected_share": 1.0, "group": "", "max_seconds": 15.0}
    preprocess(Task("video"), params("video", changes, {}))


def _prepare_video() -> None:
    # A process a case there is already: see `Format.may_crash`.
    def in_this_process(function: Callable[[str], Any], items: list[str], *, processes: int) -> Any:
        return ((item, function(item)) for item in items)

    video_prepare.ordered_map = in_this_process  # type: ignore[assignment]
    _CLIPS.update({"left": _clip(60), "right": _clip(120)})


def _check_video(case: Case) -> None:
    found = counts("video")
    assert found["accepted"] + found["rejected"] == 9, found
    assert found["accepted"] >= 8, found


# -- predict -----------------------------------------------------------------------------------------------------------

_MODELS: dict[str, Any] = {}


def _prepare_model(task: str) -> None:
    """An untrained network as MLflow gives one."""
    import torch

    from tests.unit.test_row_faults import weights

    torch.set_num_threads(1)
    folder = Path("network").absolute()
    folder.mkdir()
    predictor = Task(task).predictor()(weights(task, folder))
    found = signature(type(predictor), {})
    metadata = SimpleNamespace(
        get_input_schema=lambda: found.inputs,
        get_output_schema=lambda: found.outputs,
        get_params_schema=lambda: found.params,
    )
    _MODELS[task] = SimpleNamespace(metadata=metadata, predict=lambda frame, params: predictor.predict(frame, **params))
    predict._load = lambda address: _MODELS[task]


def _run_predict(task: str, name: str, case: Case) -> None:
    source = put(Path("source", name), case.content)
    case.notes["output"] = Path("answers.parquet" if len(case.content) % 2 else "answers.csv")
    predict.run(Task(task), str(source), "", case.notes["output"], {})


def _check_predict(rows: Callable[[str], int] | None, case: Case) -> None:
    output = case.notes["output"]
    table = pd.read_parquet(output) if output.suffix == ".parquet" else pd.read_csv(output, dtype=str)
    if rows:
        expected = rows(text_of(case.content))
        assert len(table) == expected, (len(table), expected)


def _lines(blank: bool, text: str) -> int:
    lines = text.split("\n")
    lines = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    return sum(blank or bool(line.strip()) for line in lines)


_WEEKS = b"unique_id,ds,y\n" + b"\n".join(
    f"{name},{raw.FIRST_DAY + timedelta(days=n)},{20 + n % 7}".encode() for name in ("a", "b") for n in range(40)
)
_QUESTIONS: dict[str, tuple[str, bytes, Callable[[str], int] | None]] = {
    "drawings.ndjson": ("sketch", raw.drawings("simplified"), partial(_lines, False)),
    "drawings.json": ("sketch", b"[" + raw.drawings("raw").strip().replace(b"\n", b",") + b"]", None),
    "sentences.txt": ("translation", "5 March 1999\nMärz 2001\n\n1.2.03\n".encode() * 4, partial(_lines, True)),
    "sentences.csv": ("translation", 'text,n\n"5 March\n1999",1\n"März ""2001""",2\n'.encode() * 3, None),
    "series.csv": ("forecast", _WEEKS, None),
    "labels.txt": ("drawing", b"line\t0.5\t7\nline\nline\t\t3\n" * 3, partial(_lines, False)),
    "clips.txt": ("video", b"/nowhere/a.mp4\nhttps://[::1/x\nclip.mp4\n", partial(_lines, False)),
}


NAMES = ("simplified", "raw", "npz", "tsv", "tsv.gz", "csv", "tsf", "zip", "tar", "tar.gz", "mp4", *_QUESTIONS)


def formats() -> dict[str, Format]:
    """All of NAMES; writes in the current folder."""
    series, drawings, pairs = raw.run_series, raw.run_sketch, raw.check_pairs
    found = [
        *(
            Format(form, raw.drawings(form), partial(drawings, form, "cat.ndjson"), partial(raw.check_ndjson, form))
            for form in ("simplified", "raw")
        ),
        Format("npz", raw.npz(), partial(drawings, "sketchrnn", "cat.npz"), raw.check_npz, BINARY, inside_zip),
        Format("tsv", raw.pairs(), partial(raw.run_pairs, "pairs.tsv"), pairs),
        Format(
            "tsv.gz",
            gzip.compress(raw.pairs(), mtime=0),
            partial(raw.run_pairs, "pairs.tsv.gz"),
            pairs,
            BINARY,
            inside_gzip,
        ),
        Format("csv", raw.series_csv(), partial(series, "series.csv"), raw.check_csv),
        Format("tsf", raw.series_tsf(), partial(series, "series.tsf"), raw.check_tsf),
    ]
    for kind in ("zip", "tar", "tar.gz"):
        inside = inside_zip if kind == "zip" else inside_tar
        check = partial(_check_archive, kind != "tar")
        found.append(Format(kind, _archived(kind), _run_archive, check, BINARY, inside))
    found.append(Format("mp4", _clip(200), _run_video, _check_video, BINARY, prepare=_prepare_video, may_crash=True))
    for name, (task, content, rows) in _QUESTIONS.items():
        run, check = partial(_run_predict, task, name), partial(_check_predict, rows)
        found.append(Format(name, content, run, check, ANSWERED, prepare=partial(_prepare_model, task)))
    return {kind.name: kind for kind in found}
