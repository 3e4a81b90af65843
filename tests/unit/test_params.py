import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.command import main
from stages.params import RENAMED, load
from stages.params_yaml import ParamsError, flatten
from stages.paths import search_path
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copy(REPOSITORY / "params.yaml", tmp_path))


def edited(path: Path, before: str, after: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_the_files_own_params_are_valid_and_complete():
    assert tuple(sorted(load(REPOSITORY / "params.yaml"))) == Task.names()


def test_an_unknown_key_is_one_line_that_names_it(params):
    (line,) = mistakes(edited(params, "sketch:\n", "sketch:\n  surprise: 1\n"))
    assert line.endswith("sketch.surprise: unknown key; found 1")


def test_a_mistyped_key_is_asked_about(params):
    lines = mistakes(edited(params, "    patience: ", "    pateince: "))
    assert any("train.pateince: unknown key; found 10; did you mean patience?" in line for line in lines)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_key_is_one_line_that_says_its_new_name(params, old, new):
    old_key, new_key = old.partition(".")[2], new.partition(".")[2]
    (line,) = mistakes(edited(params, f"    {new_key}: ", f"    {old_key}: "))
    assert line.endswith(f".{old}: unknown key; renamed to {new}")


def test_a_wrong_type_is_one_line_with_value_and_what_is_allowed(params):
    (line,) = mistakes(edited(params, "    epochs: ", "    epochs: many #"))
    assert "train.epochs: found 'many'; allowed: a whole number" in line


def test_a_value_out_of_range_is_one_line(params):
    (line,) = mistakes(edited(params, "    warmup_fraction: ", "    warmup_fraction: 7 #"))
    assert "train.warmup_fraction: found 7; allowed: less than or equal to 1" in line


def test_a_missing_key_is_one_line(params):
    (line,) = mistakes(edited(params, "    patience: ", "    # patience: "))
    assert line.endswith("train.patience: missing; every key must stand in params.yaml")


def test_all_mistakes_are_said_at_once(params):
    edited(params, "    patience: ", "    patience: no #")
    edited(params, "    epochs: ", "    epochs: -1 #")
    assert len(mistakes(params)) == 2


def test_a_key_that_stands_twice_is_refused(params):
    (line,) = mistakes(edited(params, "sketch:\n", "sketch: {}\nsketch:\n"))
    assert "stands twice" in line


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2020-02-30", "found '2020-02-30', which is no timestamp: day "),
        ("!!int x", "found 'x', which is no int: "),
        ("!!float ''", "found '', which is no float: "),
        ("!!bool x", "found 'x', which is no bool: "),
        ("1:" + ":".join(["59"] * 250) + ".5", "found '1:59:59:"),
        ("!!map [1]", "expected a mapping node, but found sequence"),
        ("{[1]: 2}", "a key is no word or number"),
        ("{{a: 1}: 2}", "a key is no word or number"),
    ],
)
def test_what_yaml_itself_cannot_read_is_one_line_with_its_place(params, value, found):
    (line,) = mistakes(edited(params, "    epochs: ", f"    epochs: {value} #"))
    assert f"{params}: not valid YAML: {found}" in line
    assert re.search(r" line \d+, column \d+$", line)


def test_an_unknown_task_and_a_missing_one_are_named(params):
    lines = mistakes(edited(params, "sketch:\n", "drawings:\n"))
    assert any(f"drawings: not a task; a task is one of {', '.join(Task.names())}" in line for line in lines)
    assert any("sketch: missing" in line for line in lines)


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "", "\x00"])
def test_a_file_that_is_no_mapping_is_one_line(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    assert len(mistakes(tmp_path / "params.yaml")) == 1


def test_numbers_may_be_written_as_people_who_train_models_write_them(params):
    edited(params, "    learning_rate: ", "    learning_rate: 1e-3 #")
    assert load(params)["sketch"].train.learning_rate == 0.001


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "params.yaml").write_text("")
    assert "the file is empty" in mistakes(tmp_path / "params.yaml")[0]


def test_flatten_by_hand():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@host/x.zip",
        "s3://key:hunter2@bucket/x",
        "https://host/x.zip?X-Amz-Algorithm=A&X-Amz-Signature=hunter2",
        "https://host/x?token=hunter2",
        "https://host/x?a=1&key=hunter2",
        "https://host/x?api-key=hunter2",
        "https://host/x?auth=hunter2",
        "https://host/x?sign=hunter2",
        "${HOST}/x?key=hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_shown(params, address):
    (line,) = mistakes(edited(params, '    url: ""', f'    url: "{address}"'))
    assert "source.url: holds a password or a signature; allowed: ${NAME} in its place" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "address",
    [
        "https://host/x?${SIGNATURE}",
        "https://me:${PASSWORD}@host/x?token=${TOKEN}&key=${KEY}",
        "https://bob@host/x?keyword=rail&key_id=3",
    ],
)
def test_an_address_may_name_variables_of_the_environment(params, address):
    load(edited(params, '    url: ""', f'    url: "{address}"'))


def test_what_must_be_beaten_is_measured(params):
    before = "    must_beat: [naive, seasonal_naive, autoets, autotheta]"
    (line,) = mistakes(edited(params, before, "    must_beat: [naive, prophet]"))
    measured = "lightgbm, ridge, naive, seasonal_naive, autoets, autotheta"
    assert line.endswith(
        f"forecast: allowed: register.must_beat of the baselines that are measured ({measured}); found prophet"
    )
    edited(params, "    must_beat: [naive, prophet]", before)
    (line,) = mistakes(edited(params, "    baselines: [frame, moments]", "    baselines: [moments]"))
    assert line.endswith("of the baselines that are measured (majority, moments); found frame")
    edited(params, "    baselines: [moments]", "    baselines: [frame, moments]")
    (line,) = mistakes(edited(params, "    must_beat: [majority, frame]", "    must_beat: []"))
    assert "video.register.must_beat: found []; allowed: List should have at least 1 item" in line


def test_columns_that_no_covariate_uses_are_noted_by_params_and_by_preprocess(params, monkeypatch, capsys):
    edited(
        edited(params, "    known_columns: []", "    known_columns: [price]"), '    holidays: ""', "    holidays: US"
    )
    edited(params, "covariates: [day_of_week, day_of_year]", "covariates: [day_of_week, holidays]")
    note = (
        "forecast.prepare.known_columns: found ['price'], which the network would not use, since "
        "model.covariates does not name known_columns"
    )
    assert load(params)["forecast"].notes() == [note.removeprefix("forecast.")]
    monkeypatch.chdir(params.parent)
    monkeypatch.setenv("PYTHONPATH", search_path())
    said = subprocess.run([sys.executable, "-m", "stages.params"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[1:] == [f"params.yaml: note: {note}"]
    monkeypatch.setattr("sys.argv", ["preprocess", "forecast"])
    main("preprocess", "", lambda task, params: None)
    assert capsys.readouterr().err.splitlines() == [f"unroll: {note}"]
    monkeypatch.setattr("sys.argv", ["train", "forecast"])
    main("train", "", lambda task, params: None)
    assert capsys.readouterr().err == ""


def test_params_as_they_are_shipped_need_no_note():
    assert [block.notes() for block in load(REPOSITORY / "params.yaml").values()] == [[]] * len(Task.names())
