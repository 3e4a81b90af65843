"""Raw clips into the sequence store: a few small frames of each, decoded once, and their features where asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ....data.store import SPLITS, ragged
from ....preprocessing.preparation import Preparation
from ....preprocessing.workers import Crash, cores, ordered_map
from ..data.columns import COLUMN, ENCODER_NAME, FEATURES, MIRRORED_COLUMN, SIDE
from ..data.decode import Clip, ClipError, Decoding, read_or_explain
from ..data.encoding import EncodedClip, Encoding, read_and_encode
from ..data.layout import CLIPS, find_clips, label_of
from ..params import PrepareParams
from .splits import group_of, read_official, split_by_group, split_officially

_ROWS_PER_BATCH = 32  # a clip is tens to hundreds of kilobytes


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Decode every clip below `raw/clips`; its class is the name of its folder.

    A clip without frames to use, without a class, not in the official lists (where these make the split) or of a class
    with nothing to train on is rejected. One that breaks off, or goes on for too long, is used as far as it goes.

    With an encoder the output folder holds its weights; with a frozen one the store holds the frames' features as well.
    Raises ValueError where these cannot be read.
    """
    decoding = decoding_of(params)
    clips = find_clips(raw / CLIPS)
    splits = _split(raw, list(clips), params)
    trained = {label_of(clip) for clip, split in splits.items() if split == "train"}
    wanted: list[str] = []
    for clip in clips:
        if "/" not in clip:
            output.reject(id=clip, file=clip, rule="no_class", reason="lies in no folder; allowed: CLASS/clip.ext")
        elif clip not in splits:
            output.reject(id=clip, file=clip, rule="not_listed", reason="stands in neither official list of this split")
        elif label_of(clip) not in trained:
            reason = f"no clip of class {label_of(clip)} is left to train on; needed: more groups"
            output.reject(id=clip, file=clip, rule="class_not_trained", reason=reason)
        else:
            wanted.append(clip)
    classes = sorted({label_of(clip) for clip in wanted})
    shape = (params.size, params.size, decoding.channels)
    columns = {"label": pa.int32(), "group": pa.string(), "frames": ragged(np.uint8, *shape)}
    described: dict[str, Any] = {"classes": classes, "decoding": decoding.as_json()}
    decode: Callable[[str], Clip | EncodedClip | ClipError] = partial(read_or_explain, raw / CLIPS, decoding)
    weights = output.folder / ENCODER_NAME
    if params.encoder != "none":
        described |= _write_encoder(params, weights)
    if params.encoded:
        encoding = Encoding(weights=weights, mirrored=params.mirrored, size=params.size)
        columns |= {COLUMN: ragged(np.float16, FEATURES)}
        columns |= {MIRRORED_COLUMN: ragged(np.float16, FEATURES)} if params.mirrored else {}
        decode = partial(read_and_encode, raw / CLIPS, decoding, encoding)
    counts = dict.fromkeys(SPLITS, 0)
    with output.store(columns, rows_per_batch=_ROWS_PER_BATCH, metadata={"shape": shape}) as store:
        results = ordered_map(decode, wanted, processes=min(cores(), len(wanted)))
        for clip, result in tqdm(results, desc="decode", total=len(wanted), unit="clip", disable=None):
            if isinstance(result, Crash):
                output.reject(
                    id=clip, file=clip, rule="crashed", reason="the decoder crashed on it, or did not come back"
                )
                continue
            if isinstance(result, ClipError):
                output.reject(id=clip, file=clip, rule=result.rule, reason=str(result))
                continue
            for rule in result.repairs:
                output.repair(rule)
            counts[splits[clip]] += 1
            store.append(
                {
                    "id": clip,
                    "split": splits[clip],
                    "length": len(result.frames),
                    "label": classes.index(label_of(clip)),
                    "group": group_of(clip, params.group_pattern),
                    "frames": result.frames,
                    **(result.features if isinstance(result, EncodedClip) else {}),
                }
            )
    output.describe({**described, "clips": counts})


def _write_encoder(params: PrepareParams, path: Path) -> dict[str, Any]:
    """Write the encoder's weights; what `description.json` says of them. Frozen, they go with every model as an asset;
    a model that goes on from them has weights of its own.
    """
    from safetensors.torch import save_file

    from ..data.pretrained import PACKAGE, SHA256, from_file, pretrained

    weights = from_file(params.weights, params.weights_sha256) if params.weights else pretrained()
    save_file(weights, path)
    source = {"file": PurePosixPath(params.weights).name, "sha256": params.weights_sha256}
    source = source if params.weights else {"package": PACKAGE, "sha256": SHA256}
    described: dict[str, Any] = {"encoder": {"name": params.encoder, "frozen": params.frozen, **source}}
    return {**described, "assets": [path.name]} if params.frozen else described


def decoding_of(params: PrepareParams) -> Decoding:
    """The decoder's orders, as the `prepare` block gives them."""
    return Decoding(
        size=SIDE if params.encoded else params.size,
        channels=1 if params.color == "gray" else 3,
        frames=params.frames,
        min_frames=params.min_frames,
        max_decoded_frames=params.max_decoded_frames,
        max_pixels=round(params.max_megapixels * 1e6),
        max_seconds=params.max_seconds,
    )


def _split(raw: Path, clips: list[str], params: PrepareParams) -> dict[str, str]:
    groups = {clip: group_of(clip, params.group_pattern) for clip in clips if label_of(clip)}
    share, seed = params.validation_share, params.seed
    if params.split == "group":
        return split_by_group(groups, validation_share=share, test_share=params.test_share, seed=seed)
    official = read_official(raw, int(params.split.removeprefix("ucf101_")))
    # The lists name clips as CLASS/clip.avi; an archive may hold them one folder deeper.
    found = {clip: official[name] for clip in groups if (name := "/".join(clip.split("/")[-2:])) in official}
    return split_officially(groups, found, validation_share=share, seed=seed)
