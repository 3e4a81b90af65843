"""What the command lines of several benchmarks share."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .data import REPOSITORY


def parser(name: str, description: str | None, *, host: str) -> argparse.ArgumentParser:
    """A parser with `--work`, where what is made is kept, `--data`, a copy of what a `host` offers, and `--json`."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--work", type=Path, default=REPOSITORY / "data" / "benchmarks", help="default: %(default)s")
    made.add_argument(
        "--data",
        type=_folder,
        default=REPOSITORY.parent / "shared" / "data" / host,
        help="a copy of the host with its layout, or a part of it; default: %(default)s",
    )
    made.add_argument("--json", type=Path, help="write the result there")
    return made


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a folder that is there")
    return path


def allowed(parser: argparse.ArgumentParser, found: Sequence[str], names: Sequence[str]) -> None:
    """End with an error that names what was found and what is allowed."""
    wrong = [name for name in found if name not in names]
    if wrong:
        parser.error(f"found {', '.join(wrong)}; allowed: {', '.join(names)}")


def in_parts(
    parts: Sequence[str],
    measure: Callable[[str], dict[str, Any]],
    target: Path | None,
    **result: Any,
) -> None:
    """Measure part after part and print it all, with what is known before; `target` holds what there is after each."""
    for part in parts:
        print(f"{part}:", flush=True)
        started = time.perf_counter()
        figures = measure(part)
        result[part] = {**figures, "took_seconds": time.perf_counter() - started}
        if target:
            target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
