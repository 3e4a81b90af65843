"""What was decided about a version, by its tags and its alias: also after a kill, and as older code has left it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stages.registry.champion import ChampionMoved, LoadedModel, make_champion
from stages.registry.decision import (
    DECISION,
    OLDER_VERDICT,
    OVERRIDES_VARIABLE,
    REASON,
    Decision,
    Verdict,
    describe_verdict,
    facts,
    is_judged,
    pack,
    read_verdict,
    verdict_text,
)

COMPARED = "mae 2.6 against 3.2 of the autoets baseline"


class Killed(BaseException):
    """The process ends here."""


class Client:
    """Versions 1 and 2 of a model, of which 1 is champion. The call `broken` raises `error`, its work left undone."""

    def __init__(self, *, broken: int = -1, error: BaseException | None = None) -> None:
        self.champion: str | None = "1"
        self.tags = {"1": {DECISION: "champion", REASON: COMPARED}, "2": dict[str, str]()}
        self.descriptions = {"1": f"**champion**: {COMPARED}\n\nmae 2", "2": "mae 1"}
        self.calls, self.broken, self.error = 0, broken, error

    def _call(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.broken and self.error:
            raise self.error

    def get_model_version(self, name: str, version: str) -> Any:
        aliases = ["champion"] if self.champion == version else []
        facts: Any = {"tags": dict(self.tags[version]), "description": self.descriptions[version]}
        return SimpleNamespace(name=name, version=version, aliases=aliases, **facts)

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        return self.get_model_version(name, str(self.champion))

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self._call()
        self.champion = version

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self._call()
        self.tags[version][key] = value

    def update_model_version(self, name: str, version: str, description: str) -> None:
        self._call()
        self.descriptions[version] = description

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self.tags[version].pop(key, None)

    def read(self) -> list[Decision | None]:
        verdicts = [read_verdict(self.get_model_version("m", number)) for number in "12"]
        return [verdict.decision if verdict else None for verdict in verdicts]


CALLS = 9  # that a change of champion makes: the test below counts them


def change(client: Any) -> None:
    make_champion(
        client, LoadedModel("m", "2", None), "better", champion_version="1", tags={"unroll.decided_by": "Ada"}
    )


def test_a_new_champion_leaves_the_former_one_superseded():
    client = Client()
    change(client)
    assert client.calls == CALLS
    assert client.tags["1"] == {DECISION: "superseded", REASON: COMPARED}
    assert client.tags["2"] == {
        DECISION: "champion",
        REASON: "better",
        "unroll.previous_champion": "1",
        "unroll.decided_by": "Ada",
    }
    assert client.descriptions == {
        "1": f"**superseded**: {COMPARED}\n\nmae 2",
        "2": "**champion**: better\n\nmae 1",
    }
    with pytest.raises(ChampionMoved, match="the champion is now version 2, not version 1"):
        change(client)


@pytest.mark.parametrize("broken", range(CALLS))
def test_whatever_fails_the_champion_and_all_verdicts_stand_as_they_stood(broken):
    client = Client(broken=broken, error=OSError("the store is away for a moment"))
    with pytest.raises(OSError, match="away"):
        change(client)
    assert client.champion == "1"
    assert client.tags["1"] == {DECISION: "champion", REASON: COMPARED}
    assert client.read() == [Decision.CHAMPION, None]
    assert client.descriptions == {"1": f"**champion**: {COMPARED}\n\nmae 2", "2": "mae 1"}


@pytest.mark.parametrize("broken", range(CALLS))
def test_wherever_a_kill_comes_exactly_one_version_reads_as_champion(broken):
    client = Client(broken=broken, error=Killed())
    with pytest.raises(Killed):
        change(client)
    moved = client.champion == "2"
    assert client.read() == ([Decision.SUPERSEDED, Decision.CHAMPION] if moved else [Decision.CHAMPION, None])


@pytest.mark.parametrize(
    ("text", "decision", "reason"),
    [
        (f"champion: {COMPARED}", Decision.SUPERSEDED, COMPARED),
        ("champion: approved by Ada: good", Decision.SUPERSEDED, "approved by Ada: good"),
        ("challenger: waits for approval (mae 2)", Decision.CHALLENGER_WAITING, "waits for approval (mae 2)"),
        (
            "challenger: does not beat its baselines (mae 4)",
            Decision.CHALLENGER_LOST,
            "does not beat its baselines (mae 4)",
        ),
        ("challenger: not better than the champion", Decision.CHALLENGER_LOST, "not better than the champion"),
        ("challenger: no baseline was measured", Decision.CHALLENGER_LOST, "no baseline was measured"),
        ("challenger: had been judged before (…)", Decision.CHALLENGER_LOST, "had been judged before (…)"),
        ("challenger: trained with train.mode smoke", Decision.CHALLENGER_MODE, "trained with train.mode smoke"),
        ("rejected by Ada: slow", Decision.CHALLENGER_LOST, "rejected by Ada: slow"),
        ("rolled back to version 1 by Ada", Decision.ROLLED_BACK, "rolled back to version 1 by Ada"),
    ],
)
def test_the_text_of_older_code_is_read_as_decision_and_reason(text, decision, reason):
    older = SimpleNamespace(tags={OLDER_VERDICT: text}, aliases=[])
    assert read_verdict(older) == Verdict(decision, reason)


def test_an_older_champion_is_champion_as_long_as_it_has_the_alias():
    older: Any = SimpleNamespace(tags={OLDER_VERDICT: f"champion: {COMPARED}"}, aliases=["champion"])
    assert verdict_text(older) == f"champion: {COMPARED}"
    older.tags[DECISION] = "challenger_lost"  # of two, the decision counts
    older.aliases = []
    assert read_verdict(older) == Verdict(Decision.CHALLENGER_LOST, "")


def test_the_alias_has_the_last_word():
    waiting: Any = SimpleNamespace(tags={DECISION: "challenger_waiting", REASON: "waits"}, aliases=["champion"])
    assert verdict_text(waiting) == "champion: the alias was set by hand, or by a process that was interrupted"
    assert verdict_text(SimpleNamespace(tags={}, aliases=["challenger"])) == "not judged yet"


def test_a_decision_of_newer_code_is_named_with_those_that_are_known():
    newer: Any = SimpleNamespace(name="m", version="3", tags={DECISION: "exiled"}, aliases=[])
    with pytest.raises(ValueError, match="m version 3: unroll.decision is 'exiled'; allowed: champion, superseded, "):
        read_verdict(newer)


def test_params_of_one_run_alone_are_judged_once_they_are_those_of_params_yaml(monkeypatch):
    version: Any = SimpleNamespace(name="m", version="2", aliases=[], tags={DECISION: "challenger_overrides"})
    monkeypatch.setenv(OVERRIDES_VARIABLE, "sketch.train.epochs=3")
    assert is_judged(version)
    monkeypatch.delenv(OVERRIDES_VARIABLE)
    assert not is_judged(version)
    assert is_judged(SimpleNamespace(name="m", version="2", aliases=[], tags={DECISION: "challenger_lost"}))


def test_a_description_begins_with_the_newest_verdict_and_has_room_for_it():
    lost = Verdict(Decision.CHALLENGER_LOST, "not\n\nbetter")
    text = describe_verdict(lost, describe_verdict(Verdict(Decision.CHAMPION, "good"), "**Mine**: kept\n\nmae 1"))
    assert text == "**challenger_lost**: not better\n\n**Mine**: kept\n\nmae 1"
    assert describe_verdict(None, text) == "**Mine**: kept\n\nmae 1"
    assert len(describe_verdict(Verdict(Decision.CHAMPION, "word " * 2000), "")) < 1000


def test_hashes_are_one_tag_and_those_of_older_versions_are_read_as_well():
    tags = {"unroll.content": "abc", "unroll.receipt.weights": "1.dir", "unroll.lock.data.toy.raw": "2.dir"}
    packed = pack(tags, shown=("unroll.content", "unroll.git_commit"))
    assert list(packed) == ["unroll.content", "unroll.origin"]
    for noted in (tags, packed):
        version: Any = SimpleNamespace(tags=noted)
        assert facts(version).items() >= tags.items()
