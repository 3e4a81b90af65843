"""The registry of the toy task: who becomes champion, one version per content, and whether what is kept is true."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.models.learned import LEARNED_NAME, Identities, Learned
from stages.registry import garbage
from stages.registry.decision import OVERRIDES_VARIABLE, facts
from stages.sources.dvc_cache import cache_path

from .conftest import Clone, commit
from .toy import MODEL, Store, make_toy

pytestmark = pytest.mark.pipeline


# What `register` does of twenty contents, without their models.
MANY = """
from stages.registry import versions
from stages.tracking import mlflow_runs
from stages.registry.champion import model_lock

client = mlflow_runs.open_client()
for number in range(20):
    content = f"content {number}"
    with model_lock("toy-classifier"):
        found = versions.find_version(client, "toy-classifier", content)
        if found is None:
            client.create_model_version("toy-classifier", "file:///nowhere", tags={versions.CONTENT: content})
            found = versions.remove_duplicates(client, "toy-classifier", content)
    print(number, found.version)
"""


# Lays a network with its signs turned beside the toy's, as if it were refit; or has the champion answer with each.
REFIT = """
from pathlib import Path
import shutil
from safetensors.torch import load_file, save_file

measured, served = Path("weights/toy/measured"), Path("weights/toy/served")
shutil.copytree(measured, served)
file = served / "weights.safetensors"
tensors = load_file(file)
file.unlink()
save_file(tensors | {name: -tensors[name] for name in ("head.weight", "head.bias")}, file)
"""
ANSWERS = """
import pandas as pd
from stages.registry.champion import load_model
from stages.tasks.protocol import Task
from stages.tracking.mlflow_runs import open_client

open_client()
rows = pd.DataFrame(Task("toy").rows().example(None, ["numbers"]))
for network in ("served", "measured"):
    print(",".join(load_model("toy-classifier", "2", network).predict(rows)["label"]))
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def store(toy: Clone, tmp_path: Path) -> Store:
    """An empty registry."""
    return Store(toy, tmp_path)


def artifact(store: Store, version: str, name: str) -> Path:
    """Where the local artifact store keeps a file of a version."""
    found = store.client.get_model_version(MODEL, version)
    folder = f"registered/{found.tags['unroll.content'][:12]}"
    return store.folder / "mlartifacts" / "toy" / str(found.run_id) / "artifacts" / folder / name


def model_folder(store: Store, version: str) -> Path:
    name = str(store.client.get_model_version(MODEL, version).source).removeprefix("models:/")
    return store.folder / "mlartifacts" / "toy" / "models" / name / "artifacts"


def kept_models(store: Store) -> list[Path]:
    """The logged models whose files are there."""
    return list((store.folder / "mlartifacts" / "toy" / "models").rglob("MLmodel"))


def test_only_what_answers_better_today_takes_the_place_of_the_champion(store):
    (verdict,) = store.variants((-1, 0.9))
    assert verdict.startswith("champion: ")  # it had to beat the baselines alone
    assert "better with a chance of 100.0%" in store.register()
    assert store.with_alias("champion") == "2"
    # As good as the champion, whatever its metrics file says, though it is less sure of itself.
    (verdict,) = store.variants((0.9, 0.999))
    assert verdict.startswith("challenger_lost: not better than the champion")
    assert (store.with_alias("champion"), store.with_alias("challenger")) == ("2", "3")
    told = json.loads(artifact(store, "2", "gate.json").read_text())
    candidate = told["comparison"]["candidate"]
    assert (told["decision"], told["comparison"]["champion"]["version"]) == ("champion", "1")
    assert candidate["low"] <= candidate["value"] <= candidate["high"]
    assert store.client.get_model_version(MODEL, "2").tags["unroll.previous_champion"] == "1"
    assert store.decisions() == {"1": "superseded", "2": "champion", "3": "challenger_lost"}


def test_the_same_weights_and_code_are_one_version_whatever_their_metrics_say(store):
    first = store.register()
    for accuracy in (0.999, 0.01):
        (verdict,) = store.variants((1, accuracy))
        assert f"{MODEL} version 1: {verdict}" == first
    assert store.numbers() == ["1"]
    measured = store.client.get_run(store.client.get_model_version(MODEL, "1").run_id).data.metrics["test_accuracy"]
    assert measured not in (0.999, 0.01)


@pytest.mark.slow
def test_a_fix_of_the_serving_code_becomes_champion_though_it_was_measured_badly(store):
    store.register()
    predictor = store.clone.folder / "stages" / "tasks" / "toy" / "serve" / "predictor.py"
    before = predictor.read_text(encoding="utf-8")
    try:
        predictor.write_text(f"{before}\n\nFIXED = True\n", encoding="utf-8")
        (verdict,) = store.variants((1, 0.01))
    finally:
        predictor.write_text(before, encoding="utf-8")
    assert verdict == "champion: the same weights and on 100 test examples the same answers as version 1"
    assert store.with_alias("champion") == "2"
    assert "gate      version 2 reached" in (shown := store.registry("show", "toy"))
    assert "test examples: the same answers" in shown
    assert "differs" not in store.registry("verify", "toy/2").partition("this checkout")[0]


@pytest.mark.slow
def test_a_version_that_was_refit_is_judged_by_its_measured_network_and_answers_with_the_served_one(store):
    store.register()
    try:
        store.run("-c", REFIT)
        said = store.register()
        shown = store.registry("verify", "toy/2")
    finally:
        shutil.rmtree(store.clone.folder / "weights" / "toy" / "served")
    assert said.startswith(f"{MODEL} version 2: champion: ")  # by the served one it would have lost
    assert said.endswith("on 100 test examples the same answers as version 1")
    assert "ok       weights: measured and served" in shown
    assert "ok       weights: measured\n" in store.registry("verify", "toy/1", status=1)  # the checkout is of version 2
    served, measured = store.run("-c", ANSWERS).splitlines()[-2:]
    assert served != measured
    shutil.rmtree(model_folder(store, "1"))
    lines = [line for line in store.registry("list", "toy").splitlines() if MODEL in line]
    assert [" refit " in lines[0], " gone " in lines[1]] == [True, True]
    assert "proven: " in store.registry("prove", "toy/2")


def test_params_of_one_run_alone_make_a_challenger_that_params_yaml_or_a_person_may_promote(store, monkeypatch):
    with monkeypatch.context() as run:
        run.setenv(OVERRIDES_VARIABLE, "toy.train.epochs=1")
        assert store.register().startswith(
            f"{MODEL} version 1: challenger_overrides: trained with params set for this run only"
        )
        assert store.register().startswith(f"{MODEL} version 1: challenger_overrides: ")
    assert store.with_alias("challenger") == "1"
    assert store.decisions() == {"1": "challenger_overrides"}
    assert store.register().startswith(f"{MODEL} version 1: champion: ")


@pytest.mark.slow
def test_a_champion_that_has_learned_the_test_examples_is_not_asked_them(store):
    store.register()
    learned = store.clone.folder / "weights" / "toy" / "measured" / LEARNED_NAME
    before = learned.read_bytes()
    ids = [str(number) for number in range(0, 160, 4)]  # forty of the hundred test examples
    learned.unlink()  # DVC may have linked it to its cache
    try:
        Learned.of(Identities(ids)).save(learned.parent)
        (few,) = store.variants((0.9, 0.9))
        assert few.startswith("challenger_lost: ")
        assert "on 60 test examples that neither has learned from, out of 100, " in few
        Learned.of(Identities([*ids, *map(str, range(160, 240, 4))])).save(learned.parent)
        (fewer,) = store.variants((0.9, 0.9))
        assert fewer.startswith("challenger_few_examples: 40 examples to compare on; register.min_examples is 50 (")
    finally:
        learned.write_bytes(before)
    assert store.with_alias("champion") == "1"


@pytest.mark.slow
def test_a_champion_that_cannot_be_asked_does_not_stand_in_the_way(store):
    store.register()
    shutil.rmtree(model_folder(store, "1"))
    (verdict,) = store.variants((0.9, 0.9))
    assert verdict.startswith("champion: ")
    assert "the previous champion did not answer: version 1: " in verdict


def test_a_version_whose_judging_was_cut_short_is_judged_by_the_next_run(store):
    store.register()
    store.client.delete_model_version_tag(MODEL, "1", "unroll.decision")
    store.client.delete_registered_model_alias(MODEL, "champion")
    assert store.register().startswith(f"{MODEL} version 1: champion: ")
    assert store.with_alias("champion") == "1"


@pytest.mark.slow
def test_what_was_rolled_back_stays_so_when_it_is_registered_again(store):
    store.variants((-1, 0.9))
    store.register()
    printed = store.registry("rollback", "toy", "--by=Ada", "--reason=it answers backwards")
    assert f"{MODEL} version 1 is champion again; version 2 is not" in printed
    assert store.register() == f"{MODEL} version 2: rolled_back: rolled back to version 1 by Ada: it answers backwards"
    assert store.decisions() == {"1": "champion", "2": "rolled_back"}
    assert store.with_alias("champion") == "1"
    again = store.registry("rollback", "toy", status=1)
    assert again.strip() == f"unroll: registry: {MODEL} version 1 is the first champion; no earlier champion exists"


@pytest.mark.slow
def test_a_rollback_to_a_version_that_does_not_answer_changes_nothing(store):
    store.variants((-1, 0.9))
    store.register()
    shutil.rmtree(model_folder(store, "1"))
    assert "version 1 does not answer" in store.registry("rollback", "toy", status=1)
    assert store.with_alias("champion") == "2"
    assert store.decisions() == {"1": "superseded", "2": "champion"}


def test_a_version_that_does_not_answer_is_marked_and_judged_again_the_next_time(store):
    example = store.clone.folder / "stages" / "tasks" / "toy" / "rows.py"
    before = example.read_text(encoding="utf-8")
    try:
        example.write_text(f"{before}\n\ndef example(folder, columns):\n    return [{{}}]\n", encoding="utf-8")
        assert "version 1 does not answer: " in store.run("-m", "stages.register", "toy", status=1)
    finally:
        example.write_text(before, encoding="utf-8")
    assert store.decisions() == {"1": "unanswered"}
    assert f"{MODEL} version 1 does not answer: " in store.client.get_model_version(MODEL, "1").tags["unroll.reason"]
    assert store.register().startswith(f"{MODEL} version 1: champion: ")
    assert store.decisions() == {"1": "champion"}


@pytest.mark.parametrize(
    "machines",
    [pytest.param(("", ""), id="one machine"), pytest.param(("", "2"), id="two machines", marks=pytest.mark.slow)],
)
def test_two_registrations_at_once_make_one_version_and_one_champion(store, machines):
    processes = [store.start("-m", "stages.register", "toy", machine=machine) for machine in machines]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    (number,) = store.numbers()
    assert store.with_alias("champion") == number
    assert all(printed.startswith(f"{MODEL} version {number}: champion: ") for printed, _ in said)
    assert len(kept_models(store)) == 1


@pytest.mark.parametrize(
    "machines",
    [
        pytest.param(("", "", ""), id="one machine"),
        pytest.param(("", "2", "3"), id="three machines", marks=pytest.mark.slow),
    ],
)
def test_however_often_some_register_at_once_each_content_is_one_version(store, machines):
    store.run(
        "-c",
        "from stages.tracking import mlflow_runs; mlflow_runs.open_client().create_registered_model('toy-classifier')",
    )
    processes = [store.start("-c", MANY, machine=machine) for machine in machines]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert said[0][0] == said[1][0] == said[2][0]
    assert len(store.numbers()) == 20


def test_tampered_weights_are_found(store):
    store.register()
    assert "differs" not in store.registry("verify", "toy")
    weights = model_folder(store, "1") / "artifacts" / "toy" / "measured" / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    for verb in ("verify", "prove"):
        assert "differs  weights: found " in store.registry(verb, "toy@champion", status=1)


@pytest.mark.slow
def test_a_data_md5_leads_to_the_versions_that_came_from_it(store):
    store.register()
    version = store.client.get_model_version(MODEL, "1")
    md5 = facts(version)["unroll.lock.data.toy.raw"]
    listed = store.registry("list", "--data", md5.removesuffix(".dir"))
    assert f"{MODEL} 1 @challenger" in listed
    assert "measured" in listed  # the network that answers: it was not refit
    assert store.registry("list", "--data", "0123456789").strip() == "no version was made from data 0123456789"


@pytest.mark.slow
def test_a_version_of_uncommitted_code_is_proven_with_its_patch(store, tmp_path):
    clone = store.clone
    evaluate = clone.folder / "stages" / "tasks" / "toy" / "evaluate" / "evaluate.py"
    before = evaluate.read_text(encoding="utf-8")
    helper = evaluate.with_name("extra.py")
    try:
        helper.write_text("EXTRA = 0.25\n", encoding="utf-8")  # git does not know it
        evaluate.write_text(
            f'{before}    from .extra import EXTRA\n\n    report.add_metrics({{"extra": EXTRA}})\n', encoding="utf-8"
        )
        store.run("-m", "dvc", "repro", "register@toy")
    finally:
        evaluate.write_text(before, encoding="utf-8")
        helper.unlink()
        clone.run("git", "checkout", "--quiet", "dvc.lock")
        clone.run("dvc", "checkout", "--quiet", "evaluate@toy", "register@toy")
    # As in a checkout that has gone on: the data are in DVC's cache alone.
    printed = store.registry("prove", "toy")
    assert "ok       extra: 0.25" in printed
    assert printed.strip().endswith("proven: the registered weights reach the recorded metrics")


@pytest.mark.slow
def test_a_version_is_proven_with_data_from_the_remote(store, tmp_path):
    store.register()
    cache, away = store.clone.folder / ".dvc" / "cache", tmp_path / "away"
    store.clone.run("dvc", "remote", "add", "--force", "--local", "--default", "test", str(tmp_path / "remote"))
    store.clone.run("dvc", "push", "--quiet", "evaluate@toy", "preprocess@toy", "download@toy")
    cache.rename(away)
    try:
        assert "proven: " in store.registry("prove", "toy")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        away.rename(cache)
        store.clone.run("dvc", "remote", "remove", "--local", "test")
    metrics = artifact(store, "1", "metrics.json")
    metrics.write_text(metrics.read_text().replace("accuracy", "accurace"))
    assert "its metrics.json is missing or differs from the one recorded" in store.registry("prove", "toy", status=1)


@pytest.mark.slow
def test_what_is_collected_is_not_needed_and_not_forgotten(store):
    store.variants((-1, 0.8), (-0.9, 0.81), (-0.8, 0.82))
    store.register()
    before = store.registry("gc", "--keep=1")
    assert "would delete: toy-classifier version 2 and its files" in before
    assert store.numbers() == ["1", "2", "3", "4"]
    store.registry("gc", "--keep=1", "--cache", "--yes")
    assert store.numbers() == ["1", "4"]  # 1: a rollback would go back to it
    assert len(kept_models(store)) == 2
    assert "proven: " in store.registry("prove", "toy")
    # Nothing was forgotten of what is gone.
    (verdict,) = store.variants((-0.9, 0.81))
    assert verdict.startswith(
        "challenger_lost: this content was judged before, as a version that `gc` deleted (version 2: challenger_lost: "
    )
    assert store.with_alias("champion") == "4"


def test_a_cleared_cache_keeps_what_versions_stand_on(tmp_path, monkeypatch):
    cache = tmp_path / ".dvc" / "cache" / "files" / "md5"
    clone = Clone(tmp_path)
    clone.run("git", "init", "--quiet")
    clone.run("dvc", "init", "--quiet")

    def put(content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + suffix
        cache_path(cache, md5).parent.mkdir(parents=True, exist_ok=True)
        cache_path(cache, md5).write_bytes(content)
        return md5

    row = put(b"1,2")
    data = put(json.dumps([{"md5": row, "relpath": "a.csv"}]).encode(), ".dir")
    weights, idle = put(b"weights"), put(b"idle")
    for name in ("user.name", "user.email"):
        clone.run("git", "config", name, "test")
    commit(clone)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        garbage, "_needed", lambda store, temporary: {data, weights, "0123456789abcdef0123456789abcdef"}
    )
    store = MlflowClient(f"sqlite:///{tmp_path / 'unused.db'}")
    garbage.collect_cache(store, delete=False)
    assert all(cache_path(cache, md5).is_file() for md5 in (row, data, weights, idle))
    garbage.collect_cache(store, delete=True)
    assert [cache_path(cache, md5).is_file() for md5 in (row, data, weights, idle)] == [True, True, True, False]


@pytest.mark.parametrize(
    "verbs",
    [
        ("list", "rollback toy", "sync"),
        pytest.param(("show toy", "verify toy", "prove toy", "gc"), marks=pytest.mark.slow),
    ],
)
def test_a_store_that_is_away_is_one_line(verbs, store, monkeypatch):
    monkeypatch.setattr(Store, "uri", "http://me:hunter2@127.0.0.1:9")
    for verb in verbs:
        (line,) = (
            line for line in store.registry(*verb.split(), status=1).splitlines() if "no receipt yet" not in line
        )
        assert line.startswith("unroll: registry: MLflow at http://127.0.0.1:9: it cannot be reached: ")
    (line,) = store.run("-m", "stages.register", "toy", status=1).splitlines()
    assert line.startswith("unroll: register toy: MLflow at http://127.0.0.1:9: it cannot be reached: ")
