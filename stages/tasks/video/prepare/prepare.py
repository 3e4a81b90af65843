"""Raw clips into the sequence store: a few small frames of each, and the encoder's features of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np
import pyarrow as pa

from ....data.additional import is_only_learned
from ....data.files import read_json
from ....data.store import SPLITS, ragged
from ....preprocessing.groups import REPAIR as NO_GROUP
from ....preprocessing.groups import find_group
from ....preprocessing.kept_parts import KeptParts
from ....preprocessing.preparation import Preparation
from ....preprocessing.workers import Crash, cores, ordered_map
from ....progress_bar import track
from ..data.columns import ENCODED_SIDE, ENCODER_NAME, FEATURE_SIZE, FEATURES, MIRRORED_FEATURES
from ..data.decode import Clip, ClipError, Decoding, try_read_clip
from ..data.encode import encode_clip
from ..data.layout import CLIPS, LEFT_OUT, Place, clip_path, find_additional, find_clips, places_of
from ..params import PrepareParams
from .additional import of_known_classes, reject_held_back, reject_repeated, same_bytes
from .kept_clips import read_or_find
from .splits import read_official, split_by_group, split_officially

_ROWS_PER_BATCH = 32  # a clip is tens to hundreds of kilobytes


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Decode every clip below `raw/clips`; its class is the folder below `clips` that it lies in, at any depth.

    A clip without frames to use, without a class, not in the official lists (where these make the split) or of a class
    with nothing to train on is rejected; so is an additional one of an unknown class, or with the bytes of another. One
    that breaks off, or goes on for too long, is used as far as it goes.

    With an encoder the output folder holds its weights; with a frozen one the store holds the frames' features as well.
    Raises ValueError where these cannot be read. What a clip came to is kept: the next preparation reads the others.
    """
    output.units("clips")
    decoding = decoding_of(params)
    left_out = read_json(raw / LEFT_OUT) if (raw / LEFT_OUT).is_file() else {}
    for name, reason in left_out.items():
        output.reject(id=name, file=name, rule="left_out", reason=reason)
    places = places_of(find_clips(raw / CLIPS))
    classes = sorted({place.label for place in places.values()} - {""})
    additional = of_known_classes(find_additional(raw, classes), {*classes}, output)
    repeated = same_bytes(raw, places, additional)
    places |= {clip: place for clip, place in additional.items() if clip not in repeated}
    groups = {clip: _group(place, params.group) for clip, place in places.items() if place.label}
    drawn = {c: group or _own_group(places[c]) for c, group in groups.items() if not is_only_learned(c)}
    splits = _split(raw, drawn, params) | {clip: "train" for clip in groups if is_only_learned(clip)}
    reject_repeated(repeated, splits, output)
    held_back = reject_held_back(groups, splits, output)
    places = {clip: place for clip, place in places.items() if clip not in held_back}
    splits = {clip: split for clip, split in splits.items() if clip not in held_back}
    accepted = _accepted(places, splits, output)
    classes = sorted({places[clip].label for clip in accepted})
    shape = (params.size, params.size, decoding.channels)
    columns = {"label": pa.int32(), "group": pa.string(), "frames": ragged(np.uint8, *shape)}
    description: dict[str, Any] = {"classes": classes, "decoding": asdict(decoding)}
    if params.encoder != "none":
        description |= _write_encoder(params, output.folder / ENCODER_NAME)
    if params.encoded:
        features = [FEATURES, MIRRORED_FEATURES] if params.mirrored else [FEATURES]
        columns |= dict.fromkeys(features, ragged(np.float16, FEATURE_SIZE))
    parts, read = _reading(raw, params, output.folder / ENCODER_NAME)
    names = {clip_path(clip): clip for clip in accepted}
    counts, found = dict.fromkeys(SPLITS, 0), 0
    with output.store(columns, rows_per_batch=_ROWS_PER_BATCH, metadata={"shape": shape}) as store:
        function = partial(read_or_find, parts, raw, read)
        results = ordered_map(function, list(names), processes=min(cores(), len(accepted)))
        for path, result in track(results, "decode", unit="clips", total=len(accepted)):
            name = names[path]
            clip, kept = (result, False) if isinstance(result, Crash) else result
            found += kept
            if not isinstance(clip, Clip):
                crashed = "the decoder crashed or hung on it"
                rule, reason = ("crashed", crashed) if isinstance(clip, Crash) else (clip.rule, str(clip))
                output.reject(id=name, file=name, rule=rule, reason=reason)
                continue
            for rule in clip.repairs:
                output.repair(rule, example=name, doubtful=rule != "shortened")
            if params.group and not groups[name] and not is_only_learned(name):
                output.repair(NO_GROUP, example=f"{name}: split by itself", doubtful=True)
            counts[splits[name]] += 1
            row = {"id": name, "split": splits[name], "length": len(clip.frames), "frames": clip.frames}
            label, group = classes.index(places[name].label), groups[name] or _own_group(places[name])
            store.append({**row, "label": label, "group": group, **clip.features})
    parts.prune()
    output.count_kept(found, len(accepted), "clips")
    output.describe({**description, "clips": counts})


def _reading(raw: Path, params: PrepareParams, weights: Path) -> tuple[KeptParts, Callable[[str], Clip | ClipError]]:
    """How a clip of the raw folder is read, by its path, and what was read before. `weights` is the encoder's file."""
    decoding = decoding_of(params)
    facts: dict[str, Any] = {"decoding": asdict(decoding), "ffmpeg": av.library_versions}
    libraries = ["av", "numpy", "pyarrow"]
    read: partial[Clip | ClipError] = partial(try_read_clip, raw, decoding)
    if params.encoded:
        import torch

        read = partial(encode_clip, raw, decoding, weights, params.mirrored, params.size)
        encoder = hashlib.sha256(weights.read_bytes()).hexdigest()
        facts |= {"encoder": encoder, "mirrored": params.mirrored, "size": params.size}
        facts |= {"processor": torch.backends.cpu.get_cpu_capability()}  # its vector units decide the last bits
        libraries.append("torch")
    modules = [read_or_find.__module__, read.func.__module__]
    return KeptParts.made_by(modules, libraries=libraries, facts=facts), read


def _group(place: Place, pattern: str) -> str | None:
    return find_group(pattern, _own_group(place)) if pattern else None


def _own_group(place: Place) -> str:
    """Its path below its class's folder without the ending: what a group is found in, or else a group of its own."""
    return str(PurePosixPath(place.name).with_suffix(""))


def _accepted(places: Mapping[str, Place], splits: Mapping[str, str], output: Preparation) -> list[str]:
    """The clips to decode; the others are rejected."""
    trained = {places[clip].label for clip, split in splits.items() if split == "train"}
    accepted = []
    for clip, place in places.items():
        if not place.label:
            reason = "not in the folder of a class; allowed: CLASS/clip.ext"
            output.reject(id=clip, file=clip, rule="no_class", reason=reason)
        elif clip not in splits:
            output.reject(id=clip, file=clip, rule="not_listed", reason="is in neither official list of this split")
        elif place.label not in trained:
            reason = f"no clip of class {place.label} is left to train on; needed: more groups"
            output.reject(id=clip, file=clip, rule="class_not_trained", reason=reason)
        else:
            accepted.append(clip)
    return accepted


def _write_encoder(params: PrepareParams, path: Path) -> dict[str, Any]:
    """Write the encoder's weights; what `description.json` says of them. Frozen, they go with every model as an asset;
    a model that goes on from them has weights of its own.
    """
    from safetensors.torch import save_file

    from ..data.pretrained import PACKAGE, SHA256, from_file, from_package

    if params.weights:
        weights = from_file(params.weights, params.weights_sha256)
        source = {"file": PurePosixPath(params.weights).name, "sha256": params.weights_sha256}
    else:
        weights, source = from_package(), {"package": PACKAGE, "sha256": SHA256}
    save_file(weights, path)
    description: dict[str, Any] = {"encoder": {"name": params.encoder, "frozen": params.frozen, **source}}
    return {**description, "assets": [path.name]} if params.frozen else description


def decoding_of(params: PrepareParams) -> Decoding:
    """How clips are decoded, as the `prepare` block says."""
    return Decoding(
        size=ENCODED_SIDE if params.encoded else params.size,
        channels=1 if params.color == "gray" else 3,
        frames=params.frames,
        min_frames=params.min_frames,
        max_decoded_frames=params.max_decoded_frames,
        max_pixels=round(params.max_megapixels * 1e6),
        max_seconds=params.max_seconds,
    )


def _split(raw: Path, groups: Mapping[str, str], params: PrepareParams) -> dict[str, str]:
    """`clip → split` from `clip → group`."""
    share, seed = params.validation_share, params.seed
    if params.split == "group":
        return split_by_group(groups, validation_share=share, test_share=params.test_share, seed=seed)
    official = read_official(raw, int(params.split.removeprefix("ucf101_")))
    # The lists name clips as CLASS/clip.avi; an archive may hold them one folder deeper.
    listed = {clip: official[name] for clip in groups if (name := "/".join(clip.split("/")[-2:])) in official}
    return split_officially(groups, listed, validation_share=share, seed=seed)
