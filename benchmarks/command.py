"""What the command lines of the benchmarks share."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.evaluation.report import format_interval, format_number, table_row

from .data import REPOSITORY

Rows = list[dict[str, Any]]  # of a table


def parser(name: str, description: str | None, *, host: str = "") -> argparse.ArgumentParser:
    """A parser with `--json`; for what reads a copy of a `host`'s files, with `--data` and `--work` as well."""
    if sys.dont_write_bytecode:  # so a process takes a second longer to start than it would for a user
        print("PYTHONDONTWRITEBYTECODE is set: start-up and imports are measured too slow", file=sys.stderr)
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", type=Path, help="write the figures to this file as well")
    if host:
        made.add_argument(
            "--work",
            type=Path,
            default=REPOSITORY / "data" / "benchmarks",
            help="folder for what is made and used again; default: %(default)s",
        )
        made.add_argument(
            "--data",
            type=_folder,
            default=REPOSITORY.parent / "shared" / "data" / host,
            help="a copy of the host with its layout, or a part of it; default: %(default)s",
        )
    return made


def _folder(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a folder that is there")
    return path


def check(parser: argparse.ArgumentParser, found: Sequence[str], allowed: Sequence[str]) -> None:
    """End with an error that names what was found and what is allowed."""
    wrong = [name for name in found if name not in allowed]
    if wrong:
        parser.error(f"found {', '.join(wrong)}; allowed: {', '.join(allowed)}")


def on_cpu() -> None:
    """Hide GPUs from this process and from those it starts: the benchmark is about the CPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def write(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON, where a path was given, below the command that measured them and the date."""
    if path:
        measured = {"command": _command_line(), "date": f"{datetime.now(UTC):%Y-%m-%d}", **figures}
        path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def _command_line() -> str:
    """This process's, without the file that the figures go to."""
    main = sys.modules["__main__"].__spec__
    assert main is not None
    written = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    written.add_argument("--json")
    _, arguments = written.parse_known_args()
    return shlex.join(["python", "-m", main.name.removesuffix(".__main__"), *arguments])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in Markdown, with all columns that any of them has."""
    head = list(dict.fromkeys(column for row in rows for column in row))
    cells = [head, ["---"] * len(head), *([_text(row.get(column, "–")) for column in head] for row in rows)]
    return "".join(f"{table_row(row)}\n" for row in cells)


def mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each column of numbers, and of each interval's value and bounds."""
    found: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, dict):
            found[name] = {part: fmean(row[name][part] for row in rows) for part in value}
        elif isinstance(value, (int, float)):
            found[name] = fmean(row[name] for row in rows)
    return found


def _text(value: Any) -> str:
    match value:
        case {"value": middle, "low": low, "high": high}:
            return format_interval(middle, low, high)
        case list() | tuple():
            return ", ".join(map(_text, value))
        case float():
            return format_number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {
        "processor": next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
        ),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": version("torch"),
    }
