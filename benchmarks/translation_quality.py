"""What each choice in a translator is worth: one table on Multi30k, English to German.

    python -m benchmarks.translation_quality                      all rows, seven trainings; some 80 minutes
    python -m benchmarks.translation_quality "no attention"       some rows, beside the base row
    python -m benchmarks.translation_quality --quick              500 pairs, to see that it runs; numbers say nothing

Each row is a recipe with a few params changed. It is trained for as many epochs as `--minutes` allow by its own rate,
which is measured first, so that every row's learning rate has come down when its time is over. All rows are scored on
the sentences that are held back from the recipe's training file (its validation split), on which each training also
chooses its best epoch. The publisher's validation set, the recipe's test split, is not touched: it is for the recipes
themselves, `python -m benchmarks.real_data multi30k --data FOLDER`. Intervals are 95 % bootstraps, differences to the
base row paired ones.

What is done lies in `--work` and is not done again: a network is found by its data, params, minutes and code, its
translations by how they were searched for. After each row `translation_quality.md` and `.json` there have those so far.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.data.files import read_json, write_json
from stages.data.prepared import open_prepared
from stages.evaluation.bootstrap import Scores, difference, interval
from stages.evaluation.report import table_row
from stages.models.weights import load_network
from stages.paths import NETWORK_NAME
from stages.provenance.hashes import code_md5
from stages.tasks.translation.data.tokenizer import load_tokenizers
from stages.tasks.translation.evaluate.evaluate import translate_split
from stages.tasks.translation.evaluate.scoring import sentence_scores, signatures
from stages.tasks.translation.evaluate.segments import Segments, read_segments
from stages.tasks.translation.model.network import SentencePairs, build, dataset
from stages.tasks.translation.params import ModelParams, Params
from stages.training import distributed

from . import command, data
from .data import Changes
from .specification import Specification
from .training import machine
from .turns import Trainee, engine_command, in_turns

_PROBED = 2000  # pairs by which a training's rate is measured
_FIGURES = "figures.json"  # beside a network: how it was trained
_MEASURED = "validation"  # the split that rows are scored on
_TRAINING_CODE = ["stages.training.loop", "stages.tasks.translation.model.network"]
_SEARCH_CODE = ["stages.tasks.translation.model.translate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the table: what differs from the base row."""

    name: str
    changes: Changes
    recipe: str = "multi30k"


BASE_CHANGES: Changes = {
    "model": {"attention": "general", "input_feeding": False, "scheduled_sampling": 0.0, "label_smoothing": 0.1},
    "evaluate": {"beam_size": 5},
}
BASE = Row(name="general attention, beam 5", changes={})
ROWS = (
    BASE,
    Row(name="no attention", changes={"model": {"attention": "none"}}),
    Row(name="additive attention", changes={"model": {"attention": "additive"}}),
    Row(name="input feeding", changes={"model": {"input_feeding": True}}),
    Row(name="beam 1", changes={"evaluate": {"beam_size": 1}}),
    Row(name="beam 10", changes={"evaluate": {"beam_size": 10}}),
    Row(name="scheduled sampling", changes={"model": {"scheduled_sampling": 0.25}}),
    Row(name="no label smoothing", changes={"model": {"label_smoothing": 0.0}}),
    Row(name="transformer", changes={}, recipe="multi30k_transformer"),
)
_TINY: Changes = {
    "model": {"embedding_size": 32, "hidden_size": 32},
    "train": {"batch_size": 32},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one row came to."""

    facts: dict[str, Any]
    segments: Segments
    scores: dict[str, Scores]


def row_params(row: Row, source: Path, work: Path, *, quick: bool) -> tuple[Path, Params]:
    """The prepared data of a row, and its params."""
    task, recipe = data.recipe_params(row.recipe, source, work)
    assert isinstance(recipe, Params)
    own = recipe
    for changes in (BASE_CHANGES if row.recipe == BASE.recipe else {}, row.changes, _TINY if quick else {}):
        own = data.changed(own, changes)
    return data.prepared(task, own, work), own


def trained(folder: Path, params: Params, minutes: float, work: Path) -> Path:
    """The folder of a network that was trained on the prepared data of `folder`; trained now where there is none."""
    facts = {
        "data": folder.name,
        "code": code_md5(_TRAINING_CODE),
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "minutes": minutes,
    }
    home = work / "networks" / data.digest(facts)
    if not (home / _FIGURES).is_file():
        examples = dataset(folder, "train", params, augment=True)
        epochs = _epochs_within(60 * minutes, len(examples), folder, params, work)
        trainee = _in_turn(folder, _for_epochs(params, epochs), work, saved=home)
        tokens = sum(len(examples.target(pair)) + 1 for pair in range(len(examples)))  # the end tokens, too
        figures = {
            "epochs": epochs,
            "best_epoch": read_json(home / NETWORK_NAME)["training"]["best_epoch"] + 1,
            "training_seconds": round(sum(answer["turn_seconds"] for answer in trainee.answers), 1),
            "target_tokens_a_second": round(epochs * tokens / sum(answer["seconds"] for answer in trainee.answers)),
            "weights": trainee.ready["weights"],
        }
        write_json(home / _FIGURES, figures)
    return home


def _epochs_within(seconds: float, examples: int, folder: Path, params: Params, work: Path) -> int:
    """How many epochs of so many examples take `seconds`, measuring after each included; one or more.

    By the second of two passes over a part of the pairs: the first one warms up, and in the last one a training with
    scheduled sampling is slowest.
    """
    trainee = _in_turn(folder, _for_epochs(params, 2), work, examples=_PROBED)
    training, both = (trainee.answers[1][name] for name in ("seconds", "turn_seconds"))
    return max(1, int(seconds / (training * examples / trainee.ready["examples"] + both - training)))


def _in_turn(folder: Path, params: Params, work: Path, *, examples: int = 0, saved: Path | None = None) -> Trainee:
    """A training in the ranks that the params ask for, from its first epoch to its last."""
    specification = Specification.of("translation", folder, params, measured=_MEASURED, examples=examples, saved=saved)
    path = specification.write(work / "specifications" / "translation.json")
    with Trainee("translation", engine_command(path, params.train.ranks), epochs=params.train.epochs) as trainee:
        in_turns([trainee])
    return trainee


def _for_epochs(params: Params, epochs: int) -> Params:
    """Params of a training that takes all its epochs."""
    return data.changed(params, {"train": {"epochs": epochs, "patience": epochs}})


def translations(home: Path, folder: Path, params: Params, work: Path) -> dict[str, Any]:
    """`translations`, one a segment, and the `seconds` that they took; searched for now where they are not there."""
    facts = {"network": home.name, "code": code_md5(_SEARCH_CODE), "evaluate": params.evaluate.model_dump()}
    path = work / "translations" / f"{data.digest(facts)}.json"
    if not path.is_file():
        distributed.configure(seed=params.train.seed, threads=params.train.ranks * params.train.threads)
        network, description = load_network(home, build, ModelParams)
        store, _ = open_prepared(folder)
        pairs, segments = SentencePairs(store, _MEASURED), read_segments(store, description, _MEASURED)
        sources = [pairs.source(example) for example in segments.examples.tolist()]
        started = time.perf_counter()
        found = translate_split(network, sources, params.evaluate, params.evaluate.beam_size)
        seconds = time.perf_counter() - started
        _, target = load_tokenizers(folder, description)
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [target.decode(answer.tokens) for answer in found]
        write_json(path, {"translations": texts, "seconds": seconds})
    found_before: dict[str, Any] = read_json(path)
    return found_before


def measured(row: Row, source: Path, work: Path, *, minutes: float, quick: bool) -> Measured:
    """One row's figures, from what is there of it, and the rest made."""
    folder, params = row_params(row, source, work, quick=quick)
    home = trained(folder, params, minutes, work)
    answers = translations(home, folder, params, work)
    segments = read_segments(*open_prepared(folder), _MEASURED)
    texts = answers["translations"]
    scores = sentence_scores(texts, segments.references, segments.groups)
    facts = {
        "row": row.name,
        **{name: _with_interval(scores[name]) for name in ("bleu", "chrf")},
        **read_json(home / _FIGURES),
        "sentences_a_second": round(len(texts) / answers["seconds"], 1),
        "signatures": signatures(texts, segments.references),
    }
    return Measured(facts, segments, scores)


def table(rows: Sequence[Row], source: Path, work: Path, *, minutes: float, quick: bool) -> dict[str, Any]:
    """All rows, each with its difference to the base row; written after each."""
    result: dict[str, Any] = {"machine": machine(), "minutes": minutes, "quick": quick, "split": _MEASURED, "rows": []}
    base = measured(BASE, source, work, minutes=minutes, quick=quick)
    result["segments"] = len(base.segments)
    for row in rows:
        found = base if row is BASE else measured(row, source, work, minutes=minutes, quick=quick)
        if found.segments.references != base.segments.references:
            raise ValueError(f"{row.name}: its recipe holds other sentences back; allowed are those of {BASE.recipe}")
        facts = dict(found.facts)
        if row is not BASE:
            facts["bleu_difference"] = _rounded(asdict(difference(found.scores["bleu"], base.scores["bleu"])))
            facts["chrf_difference"] = _rounded(asdict(difference(found.scores["chrf"], base.scores["chrf"])))
        result["rows"].append(facts)
        print(json.dumps(facts), flush=True)
        write_json(work / "translation_quality.json", result)
        (work / "translation_quality.md").write_text(markdown(result), encoding="utf-8")
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """The table as people read it."""
    head = [
        "",
        "BLEU",
        "chrF",
        "BLEU less the first row's",
        "p",
        "epochs",
        "training",
        "target tokens/s",
        "sentences/s",
    ]
    lines = [table_row(head), table_row(["---"] * len(head))]
    for row in result["rows"]:
        apart = row.get("bleu_difference")
        lines.append(
            table_row(
                [
                    row["row"],
                    "{:.1f} [{:.1f}, {:.1f}]".format(*row["bleu"]),
                    f"{row['chrf'][0]:.1f}",
                    f"{apart['value']:+.1f} [{apart['low']:+.1f}, {apart['high']:+.1f}]" if apart else "",
                    f"{apart['p']:.3f}" if apart else "",
                    f"{row['epochs']}, best {row['best_epoch']}",
                    f"{row['training_seconds'] / 60:.1f} min",
                    f"{row['target_tokens_a_second']:,}",
                    f"{row['sentences_a_second']:,.0f}",
                ]
            )
        )
    first = result["rows"][0]
    said = "; ".join(f"{name} {signature}" for name, signature in first["signatures"].items())
    return "\n".join([*lines, "", f"{result['segments']:,} sentences held back from training; {said}", ""])


def small_copy(source: Path, folder: Path) -> Path:
    """The first pairs of a copy of the host, as a host of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.gz")):
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        (folder / path.name).write_bytes(gzip.compress(b"".join(lines[: 500 if path.name.startswith("train") else 50])))
    return folder


def _with_interval(scores: Scores) -> list[float]:
    return [round(value, 3) for value in (scores.value(), *interval(scores))]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def main() -> None:
    """The command line."""
    parser = command.parser("translation_quality", __doc__, host="multi30k")
    names = [row.name for row in ROWS]
    parser.add_argument("rows", nargs="*", metavar="ROW", help="; ".join(names[1:]))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training a row; default: %(default)g")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    chosen = parser.parse_args()
    command.allowed(parser, chosen.rows, names)
    rows = [row for row in ROWS if row is BASE or row.name in (chosen.rows or names)]
    work, source, minutes = chosen.work.resolve(), chosen.data, chosen.minutes
    if chosen.quick:
        work, minutes = work / "quick", 0.05
        source = small_copy(source, work / "multi30k")
    result = table(rows, source, work, minutes=minutes, quick=chosen.quick)
    print(markdown(result))
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
