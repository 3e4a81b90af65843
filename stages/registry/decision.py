"""What was decided about a version: a decision for code (tag `unroll.decision`) and a reason for people beside it.

Code compares decisions; no code looks into a reason. The alias `champion` has the last word on who is champion, so that
a process that was killed while it moved the alias leaves nothing that contradicts itself. `read_verdict` alone reads
these tags, and the one of older code, which kept a single text for both.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ..tracking.store import found_or_none

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"  # aliases

# Params of one run alone, as text; a flow that has some sets it for all that it starts. No output depends on it.
OVERRIDES_VARIABLE = "UNROLL_OVERRIDES"

# Tags of a version.
DECISION, REASON = "unroll.decision", "unroll.reason"
METRIC = "unroll.metric."  # by the metric that it is judged by: what it reached
ORIGIN = "unroll.origin"  # what few people read, as one JSON object: see `facts`
OLDER_VERDICT = "unroll.verdict"  # of versions that were judged before there were decisions


class Decision(StrEnum):
    """Why a version is or is not the champion."""

    CHAMPION = "champion"
    SUPERSEDED = "superseded"  # was champion
    CHALLENGER_WAITING = "challenger_waiting"  # for a person's approval
    CHALLENGER_LOST = "challenger_lost"  # to a baseline, to the champion, or in the eyes of a person
    CHALLENGER_FEW_EXAMPLES = "challenger_few_examples"  # to compare it with the champion: waits for more, or a person
    CHALLENGER_OVERRIDES = "challenger_overrides"  # made with params of one run alone, see `overrides`
    CHALLENGER_MODE = "challenger_mode"  # its training was no full one
    ROLLED_BACK = "rolled_back"
    UNANSWERED = "unanswered"  # it could not answer its example, and is judged again the next time


# How the texts of older code begin, up to their reason.
_OLDER_TEXTS = (
    ("champion: ", "", Decision.CHAMPION),
    ("challenger: ", "waits for approval", Decision.CHALLENGER_WAITING),
    ("challenger: ", "trained with train.mode", Decision.CHALLENGER_MODE),
    ("challenger: ", "", Decision.CHALLENGER_LOST),
    ("", "rolled back", Decision.ROLLED_BACK),
    ("", "", Decision.CHALLENGER_LOST),  # rejected by a person
)


_DESCRIBED = re.compile(rf"\A\*\*(?:{'|'.join(Decision)})\*\*: [^\n]*\n\n")
_REASON = 900  # characters of a reason in a description, which has room for 5,000


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and the reason for it as a text for people."""

    decision: Decision
    reason: str

    def __str__(self) -> str:
        return f"{self.decision}: {self.reason}"

    def superseded(self) -> Verdict:
        """What becomes of a champion when another version takes its place; the reason is why it had become one."""
        return Verdict(Decision.SUPERSEDED, self.reason)


def read_verdict(version: ModelVersion) -> Verdict | None:
    """What was decided about a version, given with its aliases; None where it was never judged.

    Raises ValueError for a decision that this code does not know.
    """
    verdict = _tagged(version)
    if CHAMPION in version.aliases:
        if verdict and verdict.decision in (Decision.CHAMPION, Decision.SUPERSEDED):
            return Verdict(Decision.CHAMPION, verdict.reason)
        return Verdict(Decision.CHAMPION, "the alias was set by hand, or by a process that was interrupted")
    if verdict and verdict.decision is Decision.CHAMPION:
        return verdict.superseded()
    return verdict


def overrides() -> str:
    """The params that this run alone has, as `sketch.train.epochs=3 …`; empty where they are those of params.yaml."""
    return os.environ.get(OVERRIDES_VARIABLE, "")


def is_judged(version: ModelVersion) -> bool:
    """Whether registering the same content again leaves the verdict on a version as it is. Params of one run alone
    that have become those of params.yaml are judged like others.
    """
    verdict = read_verdict(version)
    if verdict is None or verdict.decision is Decision.UNANSWERED:
        return False
    return verdict.decision is not Decision.CHALLENGER_OVERRIDES or bool(overrides())


def metric_of(version: ModelVersion) -> str:
    """The metric that a version is judged by, out of its tags; empty for one that older code has made."""
    return next((tag.removeprefix(METRIC) for tag in version.tags if tag.startswith(METRIC)), "")


def facts(version: ModelVersion) -> dict[str, str]:
    """The tags of a version, those that `pack` has packed among them. Versions of older code have all as tags."""
    return dict(version.tags) | json.loads(version.tags.get(ORIGIN, "{}"))


def pack(tags: Mapping[str, str], shown: Collection[str]) -> dict[str, str]:
    """The tags that are `shown` in MLflow as they are, and the others in one."""
    origin = {key: value for key, value in tags.items() if key not in shown}
    return {key: tags[key] for key in shown if key in tags} | {ORIGIN: json.dumps(origin, sort_keys=True)}


def verdict_text(version: ModelVersion) -> str:
    """What was decided about a version, for people."""
    return str(read_verdict(version) or "not judged yet")


def write_verdict(client: MlflowClient, name: str, version: str, verdict: Verdict | None) -> None:
    """Note a verdict on a version, or that there is none: the reason first, so that no decision stands without one.
    The version's description begins with it.
    """
    if verdict is None:
        found_or_none(lambda: client.delete_model_version_tag(name, version, DECISION))
    else:
        client.set_model_version_tag(name, version, REASON, verdict.reason)
    described = client.get_model_version(name, version).description or ""
    if (described_now := describe_verdict(verdict, described)) != described:
        client.update_model_version(name, version, description=described_now)
    if verdict is None:
        return
    client.set_model_version_tag(name, version, DECISION, verdict.decision.value)


def describe_verdict(verdict: Verdict | None, description: str) -> str:
    """A version's description with this verdict as its first paragraph, in place of an earlier one."""
    rest = _DESCRIBED.sub("", description)
    if verdict is None:
        return rest
    return f"**{verdict.decision.value}**: {_shortened(verdict.reason)}\n\n{rest}"


def _shortened(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _REASON else f"{text[: _REASON - 2]} …"


def _tagged(version: ModelVersion) -> Verdict | None:
    tags = version.tags
    if DECISION in tags:
        if tags[DECISION] not in list(Decision):
            allowed = ", ".join(Decision)
            raise ValueError(
                f"{version.name} version {version.version}: {DECISION} is {tags[DECISION]!r}; allowed: {allowed}"
            )
        return Verdict(Decision(tags[DECISION]), tags.get(REASON, ""))
    text = tags.get(OLDER_VERDICT)
    if text is None:
        return None
    prefix, decision = next((p, d) for p, begin, d in _OLDER_TEXTS if text.startswith(p + begin))
    return Verdict(decision, text.removeprefix(prefix))
