"""Environments of their own for what we are compared with, below the work folder; each from a file of requirements."""

from __future__ import annotations

import subprocess
from pathlib import Path


def python_of(name: str, work: Path) -> Path:
    """The Python of `WORK/NAME`, which has `requirements-NAME.txt` installed; made anew where that has changed."""
    requirements = Path(__file__).with_name(f"requirements-{name}.txt")
    folder = work / name
    python, made_from = folder / "bin" / "python", folder / requirements.name
    if not made_from.is_file() or made_from.read_bytes() != requirements.read_bytes():
        print(f"making {folder}", flush=True)
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", str(folder)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*install, "-r", str(requirements)], check=True)
        made_from.write_bytes(requirements.read_bytes())
    return python
