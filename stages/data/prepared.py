"""The folder that a preparation leaves behind, as those read it who learn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .files import read_json
from .store import FILE_NAME, SequenceStore

DESCRIPTION_NAME = "description.json"


def open_prepared(folder: Path) -> tuple[SequenceStore, dict[str, Any]]:
    """The store and the description that a Preparation left in `folder`."""
    return SequenceStore(folder / FILE_NAME), read_json(folder / DESCRIPTION_NAME)
