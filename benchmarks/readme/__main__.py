"""Makes the pictures of README.md, light and dark, and the file its numbers come from, in docs/figures/readme/.

    python -m benchmarks.readme                    all of them, some five minutes on two cores
    python -m benchmarks.readme numbers            the samples' metrics, for the tables of README.md and docs/
    python -m benchmarks.readme tasks              the picture of all tasks, half a minute
    python -m benchmarks.readme prefect mlflow     the pages of real servers; `demo` needs Gradio (`make demo`)

`numbers` and `tasks` are of this checkout: `make repro` first. The others are photographed in a browser
(Chromium) from servers over a temporary copy of the checkout and its cache.
`tests/unit/test_readme.py` says what is stale.
"""

from __future__ import annotations

import io

from PIL import Image

from .. import command
from . import record
from .record import LARGEST, PICTURES, REPOSITORY


def main() -> None:
    """The command line."""
    parser = command.parser("readme", __doc__)
    parts = ("numbers", *PICTURES)
    parser.add_argument("parts", nargs="*", help=f"some of: {', '.join(parts)}; all if none")
    args = parser.parse_args()
    command.check(parser, args.parts, parts)
    chosen = [name for name in parts if name in args.parts or not args.parts]
    (REPOSITORY / record.FOLDER).mkdir(parents=True, exist_ok=True)
    sizes: dict[str, int] = {}
    if "numbers" in chosen:
        record.note_numbers()
    if "tasks" in chosen:
        sizes |= _save("tasks", _tasks())
    if pages := [name for name in chosen if name not in ("numbers", "tasks")]:
        from . import screens

        for name, pictures in screens.photographs(pages):
            sizes |= _save(name, pictures)
    command.write(args.json, sizes)


def _tasks() -> dict[str, bytes]:
    from . import panels

    pictures = {}
    for theme, figure in panels.figures().items():
        figure.savefig(content := io.BytesIO(), format="png")
        pictures[theme] = content.getvalue()
    return pictures


def _save(name: str, pictures: dict[str, bytes]) -> dict[str, int]:
    """Write a PNG a theme, of 256 colours, and note what they show; returns the sizes in bytes."""
    sizes = {}
    for theme, path in zip(record.THEMES, record.files(name), strict=True):
        with Image.open(io.BytesIO(pictures[theme])) as image:
            few = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(REPOSITORY / path, optimize=True)
        sizes[path.name] = (REPOSITORY / path).stat().st_size
        print(f"{path}: {few.width} × {few.height}, {sizes[path.name] / 1000:.0f} kB", flush=True)
        if sizes[path.name] > LARGEST:
            raise SystemExit(f"unroll: readme: {path}: found {sizes[path.name]:,} bytes; allowed: {LARGEST:,}")
    record.note(name)
    return sizes


if __name__ == "__main__":
    main()
