"""The embedded sample: dates of many locales and their ISO 8601 form, written as the TSV that users' own pairs come in.

A source is a text with its locale as a mark before it, such as `<en_US> March 5, 1999`; its target is `1999-03-05`. In
Canadian English both orders of day and month are in use, so that `<en_CA> 3/5/99` means two dates and no translator can
know which: such sources go into a second file, from which the best possible score follows.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from ..data.readers import AMBIGUOUS
from .dates import FIRST, LAST, LOCALES, date_formats, possible_dates

PAIRS = "dates.tsv"


def write_sample(folder: Path, *, pairs: int, seed: int) -> None:
    """Write `pairs` different pairs, drawn evenly from the days, the locales and a locale's formats.

    Raises ValueError where so many different pairs do not exist.
    """
    drawn = draw_pairs(pairs, seed)
    lines = (f"{source}\t{target}\n" for source, target in drawn)
    (folder / PAIRS).write_text("".join(lines), encoding="utf-8", newline="\n")
    with (folder / AMBIGUOUS).open("w", encoding="utf-8", newline="\n") as file:
        for source in dict.fromkeys(source for source, _ in drawn):
            possible = possible_targets(source)
            if len(possible) > 1:
                file.writelines(f"{source}\t{target}\t{share:.6f}\n" for target, share in possible.items())


def draw_pairs(pairs: int, seed: int) -> list[tuple[str, str]]:
    """Different `(source, target)` pairs in the order they were drawn."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    days = (LAST - FIRST).days + 1
    found: dict[tuple[str, str], None] = {}
    while len(found) < pairs:
        before = len(found)
        draws = zip(
            generator.integers(days, size=pairs).tolist(),
            generator.integers(len(LOCALES), size=pairs).tolist(),
            generator.random(pairs).tolist(),
            strict=True,
        )
        for offset, number, fraction in draws:
            locale, day = LOCALES[number], FIRST + timedelta(days=offset)
            formats = date_formats(locale)
            written = formats[int(fraction * len(formats))].format(day)
            found[f"<{locale}> {written}", day.isoformat()] = None
        if len(found) - before < pairs // 1000:
            raise ValueError(f"source.pairs: found {pairs}; the sample has only about {len(found)}")
    return list(found)[:pairs]


def possible_targets(source: str) -> dict[str, float]:
    """Every target that the sample may give to a source, with its probability, the likeliest first, then by date.

    Exact, over all days and formats.
    """
    mark, _, text = source.partition(" ")
    counts = possible_dates(mark.strip("<>"), text)
    total = counts.total()
    return {day.isoformat(): n / total for day, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
