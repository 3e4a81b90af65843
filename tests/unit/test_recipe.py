import re
import shutil
from pathlib import Path

import pytest
import yaml

from stages.params import load
from stages.params_yaml import ParamsError, read
from stages.recipe import RECIPES, apply, available, override

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copy(REPOSITORY / "params.yaml", tmp_path))


@pytest.mark.parametrize("name", [path.stem for path in sorted((REPOSITORY / RECIPES).glob("*.yaml"))])
def test_every_recipe_fits_the_params_and_changes_only_its_own_keys(params, name):
    overlay = yaml.safe_load((REPOSITORY / RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    before = read(params)
    tasks = apply(REPOSITORY / RECIPES / f"{name}.yaml", params)
    after, written = load(params), read(params)  # a task on the data of another has its blocks in `after`, too
    assert tasks == list(overlay)
    assert {task for task in before if before[task] != written[task]} == set(tasks)
    for task in tasks:
        dumped = after[task].model_dump(by_alias=True)
        for block, keys in overlay[task].items():
            for key, value in keys.items():
                found = dumped[block][key]
                assert found == value or value.items() <= found.items()
    assert "# " in params.read_text(encoding="utf-8")


def test_a_blocks_other_keys_stay_and_a_mapping_of_data_is_replaced(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    source = "{kind: quickdraw, categories: {face: raw, eye: raw}}"
    recipe.write_text(f"sketch: {{source: {source}, model: {{augmentation: {{rotation: 3.0}}}}}}")
    jitter = load(params)["sketch"].model.augmentation.jitter
    apply(recipe, params)
    recipe.write_text("sketch: {source: {categories: {pig: raw, cat: raw}}}")
    apply(recipe, params)
    sketch = load(params)["sketch"]
    assert sketch.source.categories == {"pig": "raw", "cat": "raw"}
    assert sketch.model.augmentation.rotation == 3.0
    assert sketch.model.augmentation.jitter == jitter


@pytest.mark.parametrize("name", ["pairs_5000", "pairs_20000"])
def test_settings_by_the_number_of_pairs_leave_the_source_as_it_is(params, name):
    override(["translation.source.kind=tsv", "translation.source.url=file:///data/pairs.tsv"], params)
    source = load(params)["translation"].source
    assert apply(REPOSITORY / RECIPES / f"{name}.yaml", params) == ["translation"]
    assert load(params)["translation"].source == source


def test_a_wrong_recipe_leaves_params_as_they_were(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sketch: {train: {epochs: -3}}")
    before = params.read_text(encoding="utf-8")
    with pytest.raises(ParamsError, match=r"sketch\.train\.epochs: found -3"):
        apply(recipe, params)
    assert params.read_text(encoding="utf-8") == before


def test_each_recipe_says_what_it_is(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert all(available().values())


def test_an_override_sets_single_keys_and_reads_values_as_the_file_does(params):
    tasks = override(["sketch.train.epochs=3", "sketch.train.learning_rate=1e-3", "video.train.seed=9"], params)
    after = load(params)
    assert tasks == ["sketch", "video"]
    assert (after["sketch"].train.epochs, after["sketch"].train.learning_rate) == (3, 0.001)
    assert after["video"].train.seed == 9
    assert "# " in params.read_text(encoding="utf-8")


def test_an_override_of_a_task_without_a_block_is_one_line(params):
    text = params.read_text(encoding="utf-8")
    params.write_text(re.sub(r"(?ms)^sketch:\n.*?(?=^\w)", "sketch:\n", text), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"^override: sketch: no such key: "):
        override(["sketch.train.epochs=3"], params)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("sketch", r"override: found 'sketch'; allowed: TASK\.BLOCK\.KEY=VALUE"),
        ("sketch.train=3", r"allowed: TASK\.BLOCK\.KEY=VALUE"),
        ("nothing.train.epochs=3", "override: nothing: not a task"),
        ("sketch.train.epoch=3", r"override: sketch\.train\.epoch: unknown key; allowed: .*, epochs, "),
        ("sketch.other.epochs=3", r"override: sketch\.other: unknown key; allowed: source, prepare, "),
        ("sketch.train.warmup=0.1", r"override: sketch\.train\.warmup: unknown key; renamed to train\.warmup_fraction"),
        ("drawing.source.kind=tsv", r"override: drawing\.source: unknown key; drawing uses the data of sketch"),
        ("sketch.train.epochs=-3", r"override: sketch\.train\.epochs: found -3; allowed: "),
        ("sketch.train.epochs=[1", r"'\[1': not valid YAML"),
    ],
)
def test_a_wrong_override_leaves_params_as_they_were(params, assignment, message):
    before = params.read_text(encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        override([assignment], params)
    assert params.read_text(encoding="utf-8") == before
