"""The study of counting errors: figures are put where they belong, pixels where they may."""

import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from celltally.learn.data import read_dataset

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[1]
NAMES = ("models", "images", "places", "dots", "blank", "diameters", "worst")


@pytest.fixture
def errors(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("errors")


@pytest.fixture
def lib(errors):
    modules = ("counted", "pictures", "study", "tables")
    return SimpleNamespace(**{name: import_module(f"errors_lib.{name}") for name in modules})


@pytest.fixture
def data(dataset_folder, tmp_path):
    """A free set with dots, another licence, and counts only."""
    for name, labels, licence in (
        ("free", "dots", "CC0-1.0"),
        ("own", "dots", "not stated"),
        ("bulk", "counts", "research only"),
    ):
        folder = tmp_path / "data" / name / "val"
        dataset_folder(name, (4, 7, 0, 6), folder=folder, labels=labels, licence=licence)
    return tmp_path / "data"


@pytest.fixture
def docs(tmp_path):
    path = tmp_path / "docs" / "errors.md"
    path.parent.mkdir()
    marks = (f"<!-- errors, {n}: begin -->\nold\n<!-- errors, {n}: end -->\n" for n in NAMES)
    path.write_text("before\n" + "".join(marks) + "after\n")
    return path


@pytest.fixture
def run(errors, data, tiny, tmp_path, monkeypatch, capsys):
    """Run the program; its exit code and what it writes on either stream."""

    def start(*words, models=tiny, draw=False):
        if not draw:  # it takes longest
            monkeypatch.setattr(errors, "draw_worst", lambda *picture: None)
            monkeypatch.setattr(errors, "draw_diameter", lambda *picture: None)
        given = ["--data", data, "--models", models, "--out", tmp_path / "out", *words]
        return (errors.main([*map(str, given)]), *capsys.readouterr())

    return start


def lines(text, heading):
    """Cells of the table's lines below the heading that begins so."""
    _, found, rest = text.partition(heading)
    assert found
    table = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]


def counted_as(lib, density, dots, diameter=10.0):
    """A density of the image's pixels, and dots."""
    shape = np.shape(density)
    return lib.counted.Counted(
        np.asarray(density, np.float32), (1.0, 1.0), (-0.5, -0.5), shape, diameter,
        np.asarray(dots, float).reshape(-1, 2),
    )  # fmt: skip


def sample_of(dataset_folder, dots, **meta):
    """A data set of an empty image of 40 × 50 px with these true dots."""
    folder = dataset_folder("one", (0,), shape=(40, 50), **{"diameter_px": 10} | meta)
    table = "".join(f"{y},{x}\n" for y, x in dots)
    (folder / "dots" / "one-0.csv").write_text("y,x\n" + table)
    dataset = read_dataset(folder)
    (folder / "dataset.json").unlink()
    return dataset, dataset.samples[0]


def test_everything_stands_in_the_document(run, docs, tmp_path, tiny):
    code, said, _ = run("--docs", docs)
    assert code == 0
    text = docs.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`tiny` (" in text
    assert "counted bulk, free, own" in text
    for name in NAMES:
        between = text.split(f"errors, {name}: begin -->\n\n")[1].split("\n<!--")[0]
        assert between.strip()
        assert between in said
    table = pd.read_csv(tmp_path / "out" / "images.csv")
    assert table.groupby("set")["true"].sum().to_dict() == {"bulk": 17, "free": 17, "own": 17}
    assert (table["missed"].isna() == (table["set"] == "bulk")).all()


def test_pictures_of_free_images_only(run, docs, lib):
    run("--docs", docs, draw=True)
    folder = docs.parent / "images" / "errors"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["diameter.png", *(f"worst-free-{i}.png" for i in (1, 2, 3))]
    assert set(re.findall(r"\(images/errors/(.*?)\)", docs.read_text())) == set(names)
    assert "![free, free-0: counted" in docs.read_text()
    for path in folder.iterdir():
        assert path.stat().st_size <= lib.pictures.LIMIT
        assert iio.imread(path).shape[1] > 500


def test_the_worst_come_first(run, docs):
    run("--docs", docs)
    worst = [cells for cells in lines(docs.read_text(), "| set | image | counted") if cells]
    assert [cells[0] for cells in worst] == ["bulk"] * 3 + ["free"] * 3 + ["own"] * 3
    sizes = [abs(float(cells[-1].removesuffix(" %"))) for cells in worst if cells[0] == "own"]
    assert sizes == sorted(sizes, reverse=True)


def test_a_stopped_run_goes_on(run, lib, monkeypatch):
    whole, done = lib.counted.Counter._predict, []

    def stopping(self, pixels, diameter):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(diameter)
        return whole(self, pixels, diameter)

    monkeypatch.setattr(lib.counted.Counter, "_predict", stopping)
    code, _, said = run()
    assert (code, "goes on" in said) == (130, True)
    again = []
    monkeypatch.setattr(lib.counted.Counter, "_predict", lambda *a: again.append(a[2]) or whole(*a))
    code, first, _ = run()
    # 8 diameters of 12 images, of which the three sets share the pixels of 4; 4 blank fields.
    assert (code, len(done) + len(again)) == (0, 8 * 4 + 4)
    monkeypatch.setattr(lib.counted.Counter, "_predict", None)
    assert run()[:2] == (0, first)


@pytest.mark.parametrize("change", ["model", "image", "diameter"])
def test_what_a_count_depends_on(lib, tiny, tiny_model, tmp_path, change):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    tiny_model.save(tmp_path / "other")
    kept = tmp_path / "kept"
    lib.counted.Counter(tiny, kept, "cpu").count(pixels, 12.0)
    second = lib.counted.Counter(tmp_path / "other" if change == "model" else tiny, kept, "cpu")
    second.count(pixels + (change == "image"), 13.0 if change == "diameter" else 12.0)
    assert len(list(kept.iterdir())) == 2


def test_what_is_kept_is_what_was_counted(lib, tiny, draw_cells, tmp_path):
    from celltally import zoo
    from celltally.predict import predict

    pixels = draw_cells([(20, 20), (30, 50)], (64, 72))
    counter = lib.counted.Counter(tiny, tmp_path / "kept", "cpu")
    said = predict(zoo.load(tiny), pixels, diameter_px=9.0, device="cpu")
    counter.count(pixels, 9.0)
    again = counter.count(pixels, 9.0)
    assert again.count == pytest.approx(said.count)
    assert (again.step, again.origin, again.image_shape) == (
        said.grid.step, said.grid.origin, said.image_shape,
    )  # fmt: skip
    assert again.diameter_px == 9.0


def test_border_and_inner_part(lib, dataset_folder):
    density = np.zeros((40, 50))
    density[20, 25], density[9, 25], density[10, 25], density[20, 40] = 1, 2, 4, 8
    true = [(20, 25), (9.4, 25), (9.6, 25), (20, 39.4), (20, 39.6), (0, 0)]
    row = lib.study.study(*sample_of(dataset_folder, true), counted_as(lib, density, []))
    assert (row["border_true"], row["inner_true"]) == (3, 3)
    assert (row["border_count"], row["inner_count"]) == (2 + 8, 1 + 4)
    assert (row["true"], row["count"], row["error"], row["relative"]) == (6, 15, 9, 1.5)


def test_a_density_cell_on_the_line_is_divided(lib, dataset_folder):
    counted = lib.counted.Counted(
        np.ones((10, 10), np.float32), (4.0, 5.0), (-0.5, -0.5), (40, 50), 10.0, np.empty((0, 2))
    )
    row = lib.study.study(*sample_of(dataset_folder, []), counted)
    # From 10 to 30 of 40 px, and from 10 to 40 of 50.
    assert row["inner_count"] == pytest.approx(100 * (20 / 40) * (30 / 50))
    assert row["border_count"] == pytest.approx(100 - 30)
    assert row["border_area"] == pytest.approx(0.7)


def test_an_image_smaller_than_two_cells_is_all_border(lib, dataset_folder):
    sample = sample_of(dataset_folder, [(20, 25)], diameter_px=21)
    row = lib.study.study(*sample, counted_as(lib, np.ones((40, 50)), []))
    assert (row["border_area"], row["inner_true"], row["inner_count"]) == (1, 0, 0)


def test_missed_beside_and_false(lib, dataset_folder):
    true = [(10, 10), (30, 30), (10, 40)]
    # A match; its second dot; one too far off; debris.
    found = [(11, 10), (13, 10), (30, 38), (38, 5)]
    row = lib.study.study(
        *sample_of(dataset_folder, true), counted_as(lib, np.zeros((40, 50)), found)
    )
    assert (row["missed"], row["beside"], row["false"]) == (2, 2, 1)


def test_without_a_true_dot_all_found_are_false(lib, dataset_folder):
    counted = counted_as(lib, np.zeros((40, 50)), [(10, 10), (30, 30)])
    row = lib.study.study(*sample_of(dataset_folder, []), counted)
    assert (row["missed"], row["beside"], row["false"]) == (0, 0, 2)


def images_of(true, counts, name="s", stems=None, diameters=10.0):
    stems = stems or [f"{i}.png" for i in range(len(true))]
    table = pd.DataFrame({"set": name, "image": stems, "true": true, "count": counts})
    table["error"] = table["count"] - table["true"]
    return table.assign(diameter_px=diameters)


def test_thirds_and_their_share_of_the_error(lib):
    images = images_of([30, 2, 20, 1, 10, 3.0], [36, 2, 21, 1, 8, 4.0])
    table = lines(lib.tables.by_image(images), "| set |")
    assert [cells[1:3] for cells in table] == [
        ["all", "6"],
        ["fewest cells (1–2)", "2"],
        ["medium (3–10)", "2"],
        ["most cells (20–30)", "2"],
    ]
    assert [cells[-1] for cells in table] == ["100 %", "0 %", "30 %", "70 %"]
    assert table[3][3:7] == ["25.0", "3.50", "+3.50", "12 %"]


def test_sizes_where_they_differ(lib):
    images = images_of([5] * 3, [5] * 3, diameters=[30.0, 10.0, 20.0])
    named = {name: list(some["image"]) for name, some in lib.study.subgroups(images)}
    assert named["small cells (10–10 px)"] == ["1.png"]
    assert named["large cells (30–30 px)"] == ["0.png"]
    same = [name for name, _ in lib.study.subgroups(images.assign(diameter_px=10.0))]
    assert not [name for name in same if "px" in name]


def test_focus_is_read_from_the_stem(lib):
    stems = ["A_F48_s1.png", "A_F1_s1.png", "A_F23_s1.png", "B_F1_s2.png"]
    images = images_of([5] * 4, [5] * 4, "bbbc005", stems)
    groups = [(name, len(some)) for name, some in lib.study.subgroups(images) if "focus" in name]
    assert groups == [("focus F1", 2), ("focus F23", 1), ("focus F48", 1)]
    assert "focus" not in lib.tables.by_image(images.assign(set="idcia"))


def test_places_and_dots_are_summed_up(lib):
    images = images_of([4, 6], [5, 6]).assign(
        border_area=0.25, border_true=[1, 3],
        border_count=[2.0, 4.0], inner_true=[3, 3], inner_count=[3.0, 1.5],
        missed=[1, 0], beside=[0, 2], false=[3, 1],
    )  # fmt: skip
    (places,) = lines(lib.tables.by_place(images), "| set |")
    assert places == ["s", "25 %", "2.00", "+1.00", "+50 %", "3.00", "-0.75", "-25 %"]
    (dots,) = lines(lib.tables.dot_table(images), "| set |")
    assert dots == ["s", "5.00", "0.50 (10 %)", "1.00 (20 %)", "2.00 (40 %)"]


def test_errors_by_factor(lib):
    factors = lib.study.FACTORS
    trials = pd.DataFrame(
        {"set": "s", "factor": f, "true": true, "count": true * f + add}
        for f in factors
        for true, add in ((10, 1), (30, -1))
    )
    errors = lib.tables.diameter_errors(trials)
    assert errors.loc[("s", 1.0)].tolist() == [pytest.approx(0.05), pytest.approx(0)]
    assert errors.loc[("s", 0.5)].tolist() == [pytest.approx(0.5), pytest.approx(-0.5)]
    (cells,) = lines(lib.tables.diameter_table(errors), "| set |")
    assert cells[1] == "50 % (-50 %)"
    assert len(cells) == 1 + len(factors)


def test_a_right_diameter_is_not_counted_again(run, lib, monkeypatch):
    asked = []
    whole = lib.counted.Counter._predict
    monkeypatch.setattr(lib.counted.Counter, "_predict", lambda *a: asked.append(a[2]) or whole(*a))
    run("--sets", "free", "--diameter", "auto")
    assert asked.count(None) == 4
    assert len(asked) == 4 * 8 + 4


def test_blank_fields_count_nothing(run, lib, docs):
    run("--docs", docs, "--sets", "own")
    (cells,) = lines(docs.read_text(), "| model |")
    assert len(cells) == 1 + len(lib.study.blank_fields())
    assert set(cells[1:]) == {"0.00"}


def test_a_set_may_have_a_model_of_its_own(run, tiny, tiny_model, tmp_path, docs):
    tiny_model.save(tmp_path / "special")
    models = f"{tiny},own={tmp_path / 'special'}"
    code, _, said = run("--docs", docs, models=models)
    assert code == 0
    assert "own: 4 images with special" in said
    assert re.search(r"counted bulk, free; `special` \(\w+\) counted own\.", docs.read_text())
    assert len(lines(docs.read_text(), "| model |")) == 2


def test_a_free_set_of_counts_only(run, data, docs):
    (data / "bulk" / "val" / "dataset.json").write_text('{"diameter_px": 12, "licence": "CC0"}')
    assert run("--docs", docs, "--sets", "bulk", draw=True)[0] == 0
    assert (docs.parent / "images" / "errors" / "worst-bulk-1.png").is_file()
    assert lines(docs.read_text(), "| set | true cells") == []


def test_even_distances(lib):
    assert lib.study.even(tuple(range(101)), 5) == [0, 25, 50, 75, 100]
    assert lib.study.even((1, 2), 5) == [1, 2]


@pytest.mark.parametrize(
    ("words", "models", "told"),
    [
        (["--sets", "nowhere"], None, "nowhere"),
        (["--split", "test"], None, "no folder in .* has a part 'test'"),
        ([], "nobody", "no model 'nobody'"),
        ([], "own=general", "must name one model without a set"),
        ([], "general,general2", "must name one model without a set"),
        (["--sets", "own"], "general,free=general", "'free', which is not counted"),
    ],
)
def test_wrong_arguments_are_told(run, lib, tiny, monkeypatch, words, models, told):
    monkeypatch.setattr(lib.counted.Counter, "_predict", None)
    code, out, said = run(*words, models=models or tiny)
    assert (code, out) == (2, "")
    assert re.search(told, said)


def test_a_document_without_marks_is_named(run, docs):
    docs.write_text("no marks")
    code, _, said = run("--docs", docs, "--sets", "free")
    assert code == 2
    assert "put <!-- errors, models: begin -->" in said
    assert docs.read_text() == "no marks"


def test_the_docs_have_their_marks():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for name in NAMES:
        begin, end = f"<!-- errors, {name}: begin -->", f"<!-- errors, {name}: end -->"
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)
