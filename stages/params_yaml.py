"""params.yaml as YAML: its plain values, unchecked, and their dotted keys. `params.py` checks them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

PARAMS_FILE = Path("params.yaml")


class ParamsError(ValueError):
    """params.yaml holds something it may not; the message has one line a mistake."""


def read(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The file as plain mappings, unchecked. Raises ParamsError where it is no YAML mapping or names a key twice."""
    try:
        raw = _load_yaml(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file in {Path.cwd()}; run from the project's folder") from None
    if not isinstance(raw, dict):
        found = "the file is empty" if raw is None else f"found {type(raw).__name__}"
        raise ParamsError(f"{path}: {found}; allowed: a mapping from tasks to their blocks")
    return raw


def parse(text: str) -> Any:
    """A single value as params.yaml reads it: `3`, `1e-3`, `adam`, `[1, 2]`. Raises ParamsError where it is no YAML."""
    return _load_yaml(text, repr(text))


def flatten(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys: `{"train": {"seed": 1}}` becomes `{"train.seed": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def _load_yaml(content: str | bytes, name: str) -> Any:
    try:
        return yaml.load(content, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ParamsError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None


# The parser in C, where PyYAML has it: five times as fast.
class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a mapping with the same key twice: the second would silently win. What looks like a
    date and is none, and the like, is a mistake with its place.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:  # of PyYAML's constructors
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"found {str(node.value)[:100]!r}, which is not a valid {kind}: {error}", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "found a key that is neither text nor a number", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"found the key {key!r} twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads `1e-3` as text; DVC, and everybody who trains models, reads it as a number.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
