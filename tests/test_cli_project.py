"""``celltally project``: from an empty file to sheets, a methods paragraph and a data set."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import openpyxl
import pandas as pd
import pytest

from celltally import zoo
from celltally.cli import run
from celltally.project.counts import latest_counts
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.images import all_images
from celltally.project.store import Store
from celltally.project.work import record
from celltally.types import Dots, Region

COMMANDS = (
    *("new", "add", "find", "plate", "count", "table", "log", "methods", "check", "lock"),
    *("unlock", "recount", "dataset", "finetune"),
)
#: Those that only look: they must work while another program has the project open.
READ = (
    ["table", "FILE"],
    ["table", "FILE", "--by", "condition"],
    ["log", "FILE"],
    ["methods", "FILE"],
    ["check", "FILE"],
    ["plate", "FILE", "--pattern", "{well}_s{site}.png", "--dry-run"],
    ["dataset", "FILE", "--out", "OUT"],
)


@pytest.fixture(autouse=True)
def _own_models(tiny, monkeypatch):
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tiny.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tiny.parent / "none")


@pytest.fixture
def project(tmp_path, draw_cells, capsys):
    """A project of four fields in two wells, counted."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for i, name in enumerate(("A01_s1", "A01_s2", "B01_s1", "B01_s2")):
        cells = [(15 + 3 * i, 15), (40, 50), (20, 60)][: 1 + i]
        iio.imwrite(folder / f"{name}.png", draw_cells(cells, (64, 72)))
    path = tmp_path / "study.celltally"
    assert run(["project", "new", str(path)]) == 0
    assert run(["project", "add", str(path), str(folder)]) == 0
    assert run(["project", "count", str(path), "--model", "tiny", "--device", "cpu"]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def celltally(project, tmp_path, capsys):
    """Run a sub-command: status, what it printed, what it said."""

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        status = run(["project", command, str(project), *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def review(path, index: int = 0) -> None:
    """Let somebody review an image, with two dots in it."""
    with Store(path, author="Grace") as store:
        number = all_images(store)[index].id
        corners = np.array([(-1, -1), (-1, 72), (64, 72), (64, -1)])
        dots = Dots.new([(5, 5), (30, 30)], state="added", source="Grace")
        changes = diff_dots(Dots.new(), dots) + diff_regions((), [Region(corners, "reviewed")])
        record(store, number, Edit("review", changes))


# ---- help and usage ----


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run(["project", command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"Example: celltally project {command}\b", text)


def test_the_commands_are_listed(capsys):
    assert run(["project", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert "Example: celltally project new" in text
    assert run(["project"]) == 2


def test_names_of_files_command_no_terminal(celltally, tmp_path, draw_cells):
    try:
        iio.imwrite(tmp_path / "fields" / "x\x1b[2J.png", draw_cells([(15, 15)], (64, 72)))
    except OSError:
        pytest.skip("this file system has no such names")
    celltally("add", tmp_path / "fields")
    _, printed, said = celltally("count", "--model", "tiny", "--device", "cpu")
    (tmp_path / "fields").rename(tmp_path / "moved")
    _, found, told = celltally("find", tmp_path / "moved")
    assert "[2J" in printed
    assert "[2J" in found
    assert "\x1b" not in printed + said + found + told


def test_looking_loads_no_torch(project):
    code = (
        "import sys; from celltally.cli import run; run(sys.argv[1:]);"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", code, "project", "table", str(project)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "False"
    assert "A01_s1.png" in result.stdout


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"new"}))
def test_a_project_that_is_not_there_is_not_made(command, tmp_path, capsys):
    path = tmp_path / "none.celltally"
    rest = {"add": ["a.png"], "find": [str(tmp_path)], "plate": ["--pattern", "{well}.tif"]}
    rest["dataset"] = rest["finetune"] = ["--out", str(tmp_path / "set")]
    rest["recount"] = ["--leave"]
    (tmp_path / "a.png").write_bytes(b"")
    rest["add"] = [str(tmp_path / "a.png")]
    assert run(["project", command, str(path), *rest.get(command, [])]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("command", READ)
def test_looking_works_while_another_program_has_it_open(command, project, tmp_path, capsys):
    review(project)
    words = {"FILE": str(project), "OUT": str(tmp_path / "set")}
    with Store(project):
        assert run(["project", *(words.get(word, word) for word in command)]) == 0
        capsys.readouterr()
        assert run(["project", "lock", str(project)]) == 2
        assert "is open in another program" in capsys.readouterr().err


# ---- filling ----


def test_a_project_is_made_once(tmp_path, capsys):
    assert run(["project", "new", str(tmp_path / "study")]) == 0
    assert (tmp_path / "study.celltally").is_file()
    assert run(["project", "new", str(tmp_path / "study.celltally")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["project", "new", str(tmp_path / "none" / "study")]) == 2


def test_images_are_added_once_and_bad_ones_named(celltally, project, tmp_path):
    assert celltally("add", tmp_path / "fields")[2] == "Added 0 images; 4 images were known.\n"
    new, bad = tmp_path / "new.png", tmp_path / "bad.png"
    iio.imwrite(new, np.zeros((9, 9), np.uint8))
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    status, _, said = celltally("add", new, bad)
    assert status == 1
    assert "bad.png" in said.splitlines()[0]
    assert said.splitlines()[-1] == "Added 1 image."
    with Store(project, read_only=True) as store:
        entry = all_images(store)[-1]
    assert (entry.name, entry.shape, entry.path) == ("new.png", (9, 9), new)


def test_moved_files_are_found_again(celltally, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "fields" / "A01_s1.png").rename(moved / "renamed.png")
    assert "1 of them not in their places" in celltally("check")[2]
    assert celltally("find", tmp_path / "fields")[0] == 1
    status, printed, said = celltally("find", moved)
    assert (status, printed.strip()) == (0, f"renamed.png\t{moved / 'renamed.png'}")
    assert said.startswith("Found 1 image; 0 images still missing.")
    assert celltally("find", tmp_path / "none")[0] == 2


def test_names_and_a_plate_map_tell_of_images(celltally, project, tmp_path):
    table = tmp_path / "map.csv"
    table.write_text("well,condition,dose\nA1,drug,5\nH12,none,0\n")
    status, printed, said = celltally("plate", "--pattern", "{well}_s{site}.png", "--dry-run")
    assert (status, printed.splitlines()[0]) == (0, "image\twell\tsite")
    with Store(project, read_only=True) as store:
        assert all_images(store)[0].well == ""
    status, _, said = celltally("plate", table, "--pattern", "{well}_s{site}.png")
    assert status == 0
    assert "No image of the project fits H12 (line 3)." in said
    with Store(project, read_only=True) as store:
        first, *_ = all_images(store)
    assert (first.well, first.condition, first.further) == ("A01", "drug", {"dose": "5"})
    assert celltally("plate")[0] == 2
    assert celltally("plate", "--pattern", "{well")[0] == 2


# ---- counting ----


def test_what_was_counted_is_not_counted_again(celltally, project):
    assert celltally("count")[2] == f"Counted 0 images with tiny ({sha256_of(project)}).\n"
    status, printed, said = celltally("count", "--image", "A01_s1", "--again")
    assert (status, len(printed.splitlines())) == (0, 1)
    assert printed.startswith("A01_s1.png\t0 new, 0 gone")
    assert "Counted 1 image" in said
    status, _, said = celltally("count", "--image", "nothing")
    assert (status, said.count("\n")) == (2, 1)
    assert "has no image 'nothing'; it has A01_s1.png, " in said


def sha256_of(project) -> str:
    with Store(project, read_only=True) as store:
        return latest_counts(store)[0].model_sha256[:8]


def test_an_image_that_fails_ends_with_1(celltally, tmp_path):
    (tmp_path / "fields" / "A01_s1.png").unlink()
    status, printed, said = celltally("count", "--again")
    assert status == 1
    assert len(printed.splitlines()) == 3
    assert said.startswith("Error: ")
    assert "A01_s1.png is missing" in said


# ---- looking ----


def test_the_table_is_printed_and_written(celltally, project, tmp_path):
    review(project)
    celltally("plate", "--pattern", "{well}_s{site}.png")
    status, printed, _ = celltally("table")
    lines = [line.split("\t") for line in printed.splitlines()]
    assert (status, lines[0][0], len(lines)) == (0, "image", 5)
    assert lines[1] == ["A01_s1.png", "A01", "", "", "2.0", "2.0–2.0 (exact)", "2", "100 %", "", ""]
    assert celltally("table", "--out", tmp_path / "t.csv") == (
        *(0, "", f"Wrote {tmp_path / 't.csv'}.\n"),
    )
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["image"].iloc[0] == "A01_s1.png"
    assert (table["count"][0], table["last_edit_by"][0]) == (2, "Grace")
    assert celltally("table", "--out", tmp_path / "t.xlsx")[0] == 0
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    assert book["counts"].max_row == 5
    assert book["log"].max_row > 5
    assert "One" in book["methods"]["A2"].value
    status, _, said = celltally("table", "--out", tmp_path / "t.ods")
    assert (status, "ends in .csv or .xlsx" in said) == (2, True)


def test_the_table_is_json_for_programs(celltally, project):
    review(project)
    rows = json.loads(celltally("table", "--json")[1])
    assert rows[0]["count"] == 2
    assert rows[0]["interval_kind"] == "exact"


def test_groups_are_of_wells(celltally):
    celltally("plate", "--pattern", "{well}_s{site}.png")
    status, printed, _ = celltally("table", "--by", "well")
    lines = [line.split("\t") for line in printed.splitlines()]
    assert status == 0
    assert [line[:2] for line in lines[1:]] == [["A01", "1 well"], ["B01", "1 well"]]
    (group,) = json.loads(celltally("table", "--by", "condition", "--json")[1])
    assert (group["n"], group["unit"], group["images"]) == (2, "well", 4)
    status, _, said = celltally("table", "--by", "colour")
    assert (status, "there are plate, well, site" in said) == (2, True)
    assert celltally("table", "--value", "mass")[0] == 2


def test_the_log_tells_who_did_what(celltally, project):
    review(project)
    status, printed, _ = celltally("log")
    lines = [line.split("\t") for line in printed.splitlines()]
    assert (status, lines[0]) == (0, ["when", "who", "image", "what", "changes"])
    assert lines[-1][1:] == ["Grace", "A01_s1.png", "review", "3"]
    assert len(celltally("log", "--last", "2")[1].splitlines()) == 3
    of_image = celltally("log", "--image", "A01_s2.png")[1].splitlines()
    assert [line.split("\t")[3] for line in of_image[1:]] == ["count"]
    told = json.loads(celltally("log", "--json")[1])
    assert told[-1]["author"] == "Grace"


def test_methods_are_a_paragraph(celltally, project):
    review(project)
    status, printed, _ = celltally("methods")
    assert (status, printed.count("\n")) == (0, 1)
    assert printed.startswith("Cells were counted in four images with Celltally")
    assert "Two dots were added by one person." in printed


def test_a_whole_file_is_whole_and_a_damaged_one_is_told(celltally, project, tmp_path, capsys):
    status, _, said = celltally("check")
    assert (status, "is whole: 4 images" in said) == (0, True)
    content = bytearray(project.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    broken = tmp_path / "broken.celltally"
    broken.write_bytes(bytes(content))
    assert run(["project", "check", str(broken)]) in (1, 2)
    assert "broken.celltally" in capsys.readouterr().err


# ---- the lock ----


def test_a_lock_marks_what_was_counted_otherwise(celltally, project):
    status, _, said = celltally("lock", "--diameter", "30", "--threshold", "as-counted")
    assert status == 0
    assert re.fullmatch(
        r"Locked to tiny \(\w{8}\), diameter 30 px, threshold as counted, intervals of 95 %; "
        r"4 counts were made otherwise\.\n",
        said,
    )
    assert "other diameter" in celltally("table")[1]
    assert celltally("count")[2].startswith("Counted 4 images with tiny")  # as the lock says
    assert "other diameter" not in celltally("table")[1]
    assert celltally("unlock")[2].startswith("Unlocked; it was locked to tiny")
    assert celltally("unlock")[2] == "It was not locked.\n"
    actions = [entry["action"] for entry in json.loads(celltally("log", "--json")[1])]
    assert actions.count("lock study") == actions.count("unlock study") == 1


def test_what_cannot_be_locked_is_refused(celltally, tmp_path, capsys):
    for wrong in (["--diameter", "wide"], ["--threshold", "x"], ["--level", "2"]):
        status, _, said = celltally("lock", *wrong)
        assert (status, said.count("\n")) == (2, 1)
    assert celltally("lock", "--model", "nosuch")[0] == 2
    empty = str(tmp_path / "empty.celltally")
    assert run(["project", "new", empty]) == 0
    assert run(["project", "lock", empty]) == 2
    assert "name the model with --model" in capsys.readouterr().err
    assert run(["project", "lock", empty, "--model", "tiny"]) == 0


# ---- for learning ----


def test_what_was_reviewed_becomes_a_data_set(celltally, project, tmp_path):
    assert celltally("dataset", "--out", tmp_path / "set")[0] == 2
    review(project)
    review(project, 1)
    status, _, said = celltally("dataset", "--out", tmp_path / "set", "--name", "mine")
    assert (status, said) == (0, f"Wrote {tmp_path / 'set'}: 2 planes, 2 regions, 4 dots.\n")
    assert json.loads((tmp_path / "set" / "dataset.json").read_text())["name"] == "mine"
    (tmp_path / "fields" / "A01_s1.png").unlink()
    status, _, said = celltally("dataset", "--out", tmp_path / "other")
    assert (status, "A01_s1.png is missing" in said) == (1, True)
