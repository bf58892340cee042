"""The study of three failures: nuclei, groups, intervals, and where the figures are put."""

import json
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from celltally.learn.data import Sample
from celltally.learn.seen import image_hash
from celltally.record import TrainingSet

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[1]
NAMES = ("models", "overlap", "shape", "focus", "blur")


@pytest.fixture
def failures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("failures")


@pytest.fixture
def lib(failures):
    modules = ("cases", "images", "nuclei", "pictures", "study", "tables")
    parts = {name: import_module(f"failures_lib.{name}") for name in modules}
    return SimpleNamespace(**parts, counted=import_module("errors_lib.counted"))


def disc(shape, y, x, ry, rx=None):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - y) / ry) ** 2 + ((columns - x) / (rx or ry)) ** 2 <= 1


@pytest.fixture
def sample(tmp_path):
    """Write a mask of these objects and a dot at each of these places; returns the sample."""

    def make(objects, dots, shape=(40, 50)):
        mask = np.zeros(shape, np.uint16)
        for number, covered in objects:
            mask[covered] = number
        iio.imwrite(tmp_path / "mask.png", mask)
        iio.imwrite(tmp_path / "image.png", (mask > 0).astype(np.uint8) * 200)
        rows = "".join(f"{y},{x}\n" for y, x in dots)
        (tmp_path / "dots.csv").write_text("y,x\n" + rows)
        paths = (tmp_path / name for name in ("image.png", "dots.csv"))
        return Sample("image", *paths, mask=tmp_path / "mask.png", group="g")

    return make


def counted_as(lib, density, shape, step=(1.0, 1.0)):
    values = np.asarray(density, np.float32)
    return lib.counted.Counted(values, step, (-0.5, -0.5), shape, 10.0, np.empty((0, 2)))


def test_nuclei_that_touch_are_told_from_those_alone(lib, sample):
    shape = (40, 50)
    left, right = np.zeros(shape, bool), np.zeros(shape, bool)
    left[10:20, 5:12], right[10:20, 13:20] = True, True  # a line of one pixel between
    far = disc(shape, 30, 40, 5)
    nuclei = lib.nuclei.read_nuclei(
        sample([(7, far), (3, right), (9, left)], [(30, 40), (15, 8), (15, 16)])
    )
    assert nuclei.touching.tolist() == [False, True, True]
    assert nuclei.clump[1] == nuclei.clump[2] != nuclei.clump[0]
    assert nuclei.area_px.tolist() == [far.sum(), 70, 70]
    assert (nuclei.labels[far] == 0).all()
    assert nuclei.whole.all()


def test_two_pixels_between_do_not_touch(lib, sample):
    shape = (40, 50)
    left, right = np.zeros(shape, bool), np.zeros(shape, bool)
    left[10:20, 5:12], right[10:20, 14:20] = True, True
    nuclei = lib.nuclei.read_nuclei(sample([(1, left), (2, right)], [(15, 8), (15, 16)]))
    assert not nuclei.touching.any()
    assert len(set(nuclei.clump)) == 2


def test_diagonal_neighbours_touch_either_way(lib, sample):
    shape = (40, 50)
    objects = []
    for number, (y, x) in enumerate([(2, 2), (8, 8), (2, 38), (8, 32)], start=1):
        square = np.zeros(shape, bool)
        square[y : y + 5, x : x + 5] = True
        objects.append((number, square))
    nuclei = lib.nuclei.read_nuclei(sample(objects, [(4, 4), (10, 10), (4, 40), (10, 34)]))
    assert nuclei.touching.all()
    assert nuclei.clump[0] == nuclei.clump[1] != nuclei.clump[2] == nuclei.clump[3]


def test_an_object_without_a_dot_is_no_nucleus(lib, sample):
    shape = (40, 50)
    debris = np.zeros(shape, bool)
    debris[18:21, 27:29] = True  # would touch
    nucleus = disc(shape, 20, 20, 6)
    nuclei = lib.nuclei.read_nuclei(sample([(4, nucleus), (5, debris)], [(20, 20)]))
    assert nuclei.touching.tolist() == [False]
    assert (nuclei.parts == 0).all()
    assert (nuclei.labels[debris] == -1).all()


def test_a_crescent_belongs_to_the_dot_beside_it(lib, sample):
    shape = (40, 50)
    crescent = disc(shape, 20, 20, 10) & ~disc(shape, 20, 25, 9)
    nuclei = lib.nuclei.read_nuclei(sample([(1, crescent)], [(20, 17)]))
    assert (nuclei.labels[crescent] == 0).all()
    assert nuclei.solidity[0] < 0.7


def test_shape_and_border(lib, sample):
    shape = (60, 80)
    objects = [(1, disc(shape, 20, 20, 8)), (2, disc(shape, 40, 60, 4, 14))]
    objects.append((3, disc(shape, 59, 20, 6)))
    nuclei = lib.nuclei.read_nuclei(sample(objects, [(20, 20), (40, 60), (57, 20)], shape))
    assert nuclei.eccentricity[0] < 0.1
    assert nuclei.eccentricity[1] > 0.9
    assert (nuclei.solidity > 0.85).all()
    assert nuclei.whole.tolist() == [True, True, False]


def test_an_image_without_nuclei(lib, sample):
    nuclei = lib.nuclei.read_nuclei(sample([], []))
    assert len(nuclei.yx) == 0
    counted = counted_as(lib, np.ones((40, 50)), (40, 50))
    assert lib.nuclei.masses(counted, nuclei).shape == (0,)
    assert len(lib.study.nucleus_rows(nuclei, counted, 10.0)) == 0


@pytest.mark.parametrize(
    ("objects", "dots", "told"),
    [(None, [(5, 5)], "no mask"), ("one", [(20, 18), (20, 22)], "two dots")],
)
def test_masks_that_cannot_be_used_are_told(lib, sample, objects, dots, told):
    from dataclasses import replace

    from celltally.errors import UserError

    given = sample([(1, disc((40, 50), 20, 20, 8))], dots)
    with pytest.raises(UserError, match=told):
        lib.nuclei.read_nuclei(replace(given, mask=given.mask if objects else None))


def two_discs(lib, sample):
    shape = (40, 50)
    return lib.nuclei.read_nuclei(
        sample([(1, disc(shape, 20, 12, 6)), (2, disc(shape, 20, 36, 6))], [(20, 12), (20, 36)])
    )


def test_masses_fall_to_the_nearest_nucleus_and_add_up(lib, sample):
    nuclei = two_discs(lib, sample)
    density = np.zeros((40, 50))
    density[20, 12], density[0, 0], density[39, 49], density[20, 30] = 1, 2, 4, 8
    assert lib.nuclei.masses(counted_as(lib, density, (40, 50)), nuclei).tolist() == [3, 12]


def test_a_density_cell_of_two_parts_is_divided_by_area(lib, sample):
    nuclei = two_discs(lib, sample)
    # One row of cells of 20 px: of the middle one (20 to 40), 20 to 24 is nearer to the left.
    counted = counted_as(lib, [[0, 10, 0]], (40, 50), (40.0, 20.0))
    left = (nuclei.parts[:, 20:40] == 0).mean()
    assert 0.15 < left < 0.3
    assert lib.nuclei.masses(counted, nuclei) == pytest.approx([10 * left, 10 * (1 - left)])


def test_what_lies_beyond_the_border_is_kept(lib, sample):
    nuclei = two_discs(lib, sample)
    # Cells of 16 px reach 8 px below the image and 14 px to its right.
    counted = counted_as(lib, np.ones((3, 4)), (40, 50), (16.0, 16.0))
    assert lib.nuclei.masses(counted, nuclei).sum() == pytest.approx(12)


def test_what_the_grid_alone_makes(lib, sample):
    nuclei = two_discs(lib, sample)
    fine = lib.study.nucleus_rows(nuclei, counted_as(lib, np.zeros((40, 50)), (40, 50)), 10.0)
    assert fine["ideal"].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert fine["mass"].tolist() == [0, 0]
    coarse = counted_as(lib, np.zeros((1, 1)), (40, 50), (40.0, 50.0))
    ideal = lib.study.nucleus_rows(nuclei, coarse, 10.0)["ideal"]
    shares = np.bincount(nuclei.parts.ravel()) / nuclei.parts.size
    assert ideal.to_numpy() == pytest.approx(2 * shares)


def rows_of(mass, touching=False, group="a", **columns):
    n = len(mass)
    usual = {"whole": True, "solidity": 0.95, "eccentricity": 0.5, "ideal": 1.0}
    return pd.DataFrame(usual | columns | {"mass": mass, "touching": touching, "group": group},
                        index=range(n))  # fmt: skip


def test_errors_of_two_groups(lib):
    table = pd.concat(
        [rows_of([1.1, 0.9, 1.3]), rows_of([0.5, 0.7], True, ideal=0.9)], ignore_index=True
    )
    odd = table["touching"].to_numpy()
    figures = lib.study.compare(table, ~odd, odd)
    assert figures["usual"].value == pytest.approx(0.1)
    assert figures["usual size"].value == pytest.approx(0.5 / 3)
    assert figures["odd"].value == pytest.approx(-0.4)
    assert figures["odd grid"].value == pytest.approx(0.1)
    assert figures["usual grid"].value == 0
    assert figures["difference"].value == pytest.approx(-0.5)
    assert figures["size difference"].value == pytest.approx(0.4 - 0.5 / 3)


def test_the_interval_is_over_groups_not_over_nuclei(lib):
    # All that differs differs between two groups: a thousand nuclei are still two.
    groups = [rows_of([1.0] * 500, group="a"), rows_of([2.0] * 500, group="b")]
    table = pd.concat([*groups, rows_of([1.0] * 4, True)], ignore_index=True)
    odd = table["touching"].to_numpy()
    figure = lib.study.compare(table, ~odd, odd)["usual"]
    assert (figure.value, figure.low, figure.high) == (0.5, 0, 1)
    alike = pd.concat([rows_of([1.5] * 9, group=g) for g in "abcd"], ignore_index=True)
    figure = lib.study.compare(alike, ~alike["touching"].to_numpy(), np.zeros(36, bool))["usual"]
    assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)


def test_a_group_without_nuclei_has_no_figure(lib):
    table = rows_of([1.0, 2.0])
    figures = lib.study.compare(table, np.ones(2, bool), np.zeros(2, bool))
    assert np.isnan([figures["odd"].value, figures["difference"].value]).all()
    text = lib.tables.overlap_table({("m", "f"): (figures, figures["odd"])})
    assert text.splitlines()[-1] == "| m | f | +50 % | 50 % (0 %) | – | – (–) | – | – |"


def test_shapes_are_of_whole_nuclei_alone(lib):
    n = 20
    solidity, eccentricity = np.linspace(0.8, 0.99, n), np.linspace(0.9, 0.1, n)
    eccentricity[10], eccentricity[0] = 0.99, 0.1
    table = rows_of([1.0] * n, solidity=solidity, eccentricity=eccentricity)
    groups = lib.study.groups_by_shape(table)
    assert np.flatnonzero(groups["irregular"]).tolist() == [0, 1]
    # 1 is the second in elongation, and irregular.
    assert np.flatnonzero(groups["elongated"]).tolist() == [10]
    assert not groups["round"][:10].any()
    assert groups["round"][11:].all()
    table.loc[[0, 15], "touching"] = True
    table.loc[[1, 16], "whole"] = False
    groups = lib.study.groups_by_shape(table)
    assert not np.any([rows[[0, 1, 15, 16]] for rows in groups.values()])


def images_of(alone, touching, error):
    table = pd.DataFrame({"alone": alone, "touching": touching, "error": error})
    return table.assign(group=range(len(table)))


def test_whole_images_tell_what_touching_costs(lib):
    alone, touching = np.array([50, 80, 20, 60]), np.array([10, 5, 40, 70])
    found = lib.study.from_images(images_of(alone, touching, 0.02 * alone - 0.1 * touching))
    assert found.value == pytest.approx(-0.12)
    assert (found.low, found.high) == (pytest.approx(-0.12), pytest.approx(-0.12))
    # The same share of touching nuclei everywhere tells nothing.
    same = lib.study.from_images(images_of([10, 20, 30], [5, 10, 15], [1, 2, 3]))
    assert np.isnan(same.value)


def test_errors_by_level(lib):
    images = pd.DataFrame(
        {
            "level": ["F1", "F1", "F48"],
            "true": [10.0, 30.0, 20.0],
            "error": [1.0, -3.0, 5.0],
            "group": ["a", "b", "a"],
        }
    )
    found = lib.study.by_level(images, ["F1", "F48"])
    assert (found["F1"]["mae"].value, found["F1"]["bias"].value) == (2, -1)
    assert found["F1"]["mae share"].value == pytest.approx(0.1)
    assert found["F1"]["more"].value == 0
    assert found["F48"]["bias share"].value == pytest.approx(0.25)
    assert found["F48"]["more"].value == pytest.approx(0.15)
    line = lib.tables.focus_table({("m", "f"): found}).splitlines()[-1]
    assert line.startswith("| m | f | 2.00 (-1.00) | 5.00 (+5.00) | ")
    assert "+15 %" in line


def test_bold_is_what_zero_is_not_in(lib):
    figure, write = lib.study.Figure, lib.tables._interval
    assert write(figure(0.1, -0.1, 0.3)) == "+10 % (-10 % to +30 %)"
    assert write(figure(-0.1, -0.3, -0.05)) == "**-10 % (-30 % to -5 %)**"


def test_blurring_keeps_the_dtype_and_the_light(lib):
    pixels = np.zeros((41, 41), np.uint16)
    pixels[20, 20] = 60000
    said = lib.study.blurred(pixels, 3)
    assert said.dtype == np.uint16
    assert said.sum() == pytest.approx(60000, rel=0.01)
    assert said[20, 20] == pytest.approx(60000 / (2 * np.pi * 9), rel=0.02)
    assert lib.study.blurred(pixels, 0) is pixels


@pytest.fixture
def data(tmp_path):
    """Images with masks, where two nuclei always touch, and images at levels of focus."""
    rng = np.random.default_rng(0)
    masks = tmp_path / "data" / "bbbc039" / "val"
    levels = tmp_path / "data" / "bbbc005" / "val"
    for folder in (masks, levels):
        for name in ("images", "dots", "masks"):
            (folder / name).mkdir(parents=True)
    for i in range(3):
        shape = (64, 72)
        objects = [disc(shape, 16, 14, 6), disc(shape, 16, 28, 6), disc(shape, 48, 20, 6)]
        objects += [disc(shape, 46, 52, 4 + i, 9) & ~disc(shape, 42, 52, 5)]
        pixels, mask = rng.normal(20, 2, shape), np.zeros(shape, np.uint16)
        for number, covered in enumerate(objects, start=1):
            mask[covered] = number
            pixels[covered] += 150 + 10 * i
        stem, values = f"IXMtest_A0{i}_s1", pixels.clip(0, 255).astype(np.uint8)
        iio.imwrite(masks / "images" / f"{stem}.png", values)
        iio.imwrite(masks / "masks" / f"{stem}.png", mask)
        places = [np.argwhere(covered).mean(axis=0) for covered in objects]
        rows = "".join(f"{y},{x}\n" for y, x in places)
        (masks / "dots" / f"{stem}.csv").write_text("y,x\n" + rows)
        for focus in ("F1", "F48"):
            iio.imwrite(levels / "images" / f"A_{focus}_s0{i}_w1.png", values)
    names = sorted(path.name for path in (levels / "images").iterdir())
    counts = "".join(f"{name},4\n" for name in names)
    (levels / "counts.csv").write_text("image,count\n" + counts)
    for folder in (masks, levels):
        meta = {"name": folder.parent.name, "diameter_px": 12, "licence": "CC0-1.0"}
        (folder / "dataset.json").write_text(json.dumps(meta))
    return tmp_path / "data"


@pytest.fixture
def docs(tmp_path):
    path = tmp_path / "docs" / "failures.md"
    path.parent.mkdir()
    marks = (f"<!-- failures, {n}: begin -->\nold\n<!-- failures, {n}: end -->\n" for n in NAMES)
    path.write_text("before\n" + "".join(marks) + "after\n")
    return path


@pytest.fixture
def run(failures, data, tiny, tmp_path, monkeypatch, capsys):
    """Run the program; its exit code and what it writes on either stream."""

    def start(*words, models=f"bbbc039={tiny},bbbc005={tiny}", draw=False):
        if not draw:  # it takes longest
            for name in ("draw_overlap", "draw_shape", "draw_focus"):
                monkeypatch.setattr(failures, name, lambda case: "")
        given = ["--data", data, "--parts", "val", "--models", models, "--out", tmp_path / "out"]
        return (failures.main([*map(str, given), *map(str, words)]), *capsys.readouterr())

    return start


def test_everything_stands_in_the_document(run, docs, tmp_path):
    code, said, told = run("--docs", docs)
    assert code == 0, told
    text = docs.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    for name in NAMES:
        between = text.split(f"failures, {name}: begin -->\n\n")[1].split("\n<!--")[0]
        assert between.strip() in said
        assert "tiny" in between
    assert "Nuclei of 3 images: 6 alone, 6 touching." in text
    assert "| 3 (0) | 6 (0) |" in text
    nuclei = pd.read_csv(tmp_path / "out" / "nuclei.csv")
    blurs = pd.read_csv(tmp_path / "out" / "blurs.csv")
    sharp = blurs[blurs["level"] == 0].set_index("image")["count"]
    masses = nuclei.groupby("image")["mass"].sum()
    assert masses.clip(lower=0).to_dict() == pytest.approx(sharp.to_dict(), abs=1e-4)
    assert set(pd.read_csv(tmp_path / "out" / "focus.csv")["level"]) == {"F1", "F48"}


def test_pictures(run, docs, lib):
    code, _, told = run("--docs", docs, draw=True)
    assert code == 0, told
    folder = docs.parent / "images" / "failures"
    links = re.findall(r"!\[(.*?)\]\(images/failures/(.*?)\)", docs.read_text())
    assert {name for _, name in links} == {path.name for path in folder.iterdir()}
    assert {"overlap.png", "shape.png"} <= {name for _, name in links}
    assert any("2 nuclei that touch" in caption for caption, _ in links)
    for path in folder.iterdir():
        assert iio.imread(path).shape[1] > 300


def test_pixels_that_are_not_free_are_not_drawn(run, data, docs):
    meta = data / "bbbc039" / "val" / "dataset.json"
    meta.write_text(meta.read_text().replace("CC0-1.0", "research only"))
    assert run("--docs", docs, draw=True)[0] == 0
    assert not (docs.parent / "images").exists()
    assert "![" not in docs.read_text()


def test_the_clump_and_the_nucleus_with_the_largest_error_are_drawn(lib, data, tiny, monkeypatch):
    from celltally.learn.data import read_dataset

    dataset = read_dataset(data / "bbbc039" / "val")
    counter = lib.counted.Counter(tiny, data / "kept", "cpu")
    images = lib.images.Images("bbbc039", tuple((dataset, s) for s in dataset.samples),
                               {"tiny": counter})  # fmt: skip
    case = lib.cases.Case(images, ["tiny"], "cpu", data)
    # Exact everywhere but: image 0 has 1.2 too few in its clump, image 1 an odd nucleus too
    # few and, blurred, none at all, image 2 more than one too many, as odd ones have by and large.
    wrong = np.ones((3, 4))
    wrong[0, :2], wrong[1, 3], wrong[2, 3] = 0.4, 0.2, 2.5
    wrong[2, :2] = 1.1
    blurry = wrong.copy()
    blurry[1] = 0
    rows = images.nucleus_table
    images.nucleus_table["mass"] = wrong[rows["at"], rows["nucleus"]]
    monkeypatch.setattr(lib.study, "ODD", 0.5)  # all three crescents
    monkeypatch.setattr(
        lib.cases.Case, "masses", lambda self, at, sigma_px=0: (blurry if sigma_px else wrong)[[at]]
    )
    drawn = {}
    monkeypatch.setattr(lib.cases, "draw", lambda rows, view, caption, path: drawn.update(
        {path.stem: (caption, view.chosen.tolist(), [len(row) for row in rows])}
    ))  # fmt: skip
    monkeypatch.setattr(lib.cases.Case, "saliencies", lambda self, at, sigma_px=0: [None])
    for name in ("overlap", "shape", "focus"):
        assert getattr(lib.cases, f"draw_{name}")(case) == drawn[name][0]
    assert "IXMtest_A00" in drawn["overlap"][0]
    assert drawn["overlap"][1] == [True, True, False, False]
    assert "IXMtest_A02" in drawn["shape"][0]
    assert drawn["shape"][1] == [False, False, False, True]
    assert "IXMtest_A01" in drawn["focus"][0]
    assert drawn["focus"][1] == [True] * 4
    assert [found[2] for found in drawn.values()] == [[2, 2], [2, 2], [2, 2, 2]]


def test_a_crop_stays_in_the_image(lib):
    crop = lib.pictures.crop_round(np.array([[2.0, 45.0]]), (40, 50), 20, 0)
    assert crop == (-0.5, 29.5, 19.5, 49.5)
    wide = lib.pictures.crop_round(np.array([[20.0, 5.0], [20.0, 40.0]]), (60, 60), 10, 3)
    assert wide == (-0.5, 2, 40.5, 43)


def save(tiny_model, folder, **record):
    """Save a model of the folder's name with changes to its record."""
    from dataclasses import replace

    changed = replace(tiny_model.record, name=folder.name, **record)
    replace(tiny_model, record=changed).save(folder)
    return folder


def test_a_model_is_judged_where_it_has_learned(run, tiny_model, tmp_path, docs):
    trained = (TrainingSet("bbbc005", 3, "free", "0"),)
    folder = save(tiny_model, tmp_path / "simulated", training_data=trained)
    docs.write_text(docs.read_text().replace("overlap", "other"))
    code, said, told = run(models=folder)
    assert code == 0, told
    assert "bbbc005: 6 images with simulated" in told
    assert "bbbc039" not in said


def test_images_that_taught_a_model_judge_none(run, data, tiny, tiny_model, tmp_path):
    from celltally.learn.data import read_dataset

    first, second, _ = read_dataset(data / "bbbc039" / "val").samples
    folder = save(
        tiny_model,
        tmp_path / "knowing",
        taught_by=(image_hash(first),),
        chosen_by=(image_hash(first), image_hash(second)),
    )
    code, said, told = run(models=f"bbbc039={tiny},bbbc039={folder}")
    assert code == 0, told
    assert "bbbc039: 2 images with tiny, knowing" in told
    assert re.search(r"`knowing` \(\w*\) \| `tally` \| .*? \| 2 \(1\) \|", said)
    taught = tuple(image_hash(s) for s in read_dataset(data / "bbbc039" / "val").samples)
    folder = save(tiny_model, tmp_path / "all", taught_by=taught)
    code, _, told = run(models=f"bbbc039={folder}")
    assert code == 2
    assert "every image of bbbc039 in val has taught" in told


def test_three_families_are_shown_at_most(failures):
    def of(*families):
        return {
            f"{family}-{i}": SimpleNamespace(record=SimpleNamespace(network=family))
            for i, family in enumerate(families)
        }

    counters = of("tally", "tally", "csrnet", "countxplain", "decoupled")
    assert failures._shown("", counters) == ["tally-0", "csrnet-2", "countxplain-3"]
    assert failures._shown("csrnet-2,tally-1", counters) == ["csrnet-2", "tally-1"]


@pytest.mark.parametrize(
    ("models", "words", "told"),
    [
        ("nobody", [], "no model 'nobody'"),
        ("{tiny}", [], "learned from none: put bbbc039= or bbbc005="),
        ("vgg={tiny}", [], "names no set that can judge it"),
        ("bbbc039={tiny}", ["--show", "general"], "'general', which does not count bbbc039"),
        ("bbbc039={tiny},bbbc039={other}", [], "are both called 'tiny'"),
    ],
)
def test_wrong_arguments_are_told(run, lib, tiny, tiny_model, tmp_path, monkeypatch, models, words,
                                  told):  # fmt: skip
    tiny_model.save(tmp_path / "tiny")
    monkeypatch.setattr(lib.counted.Counter, "_predict", None)
    code, out, said = run(*words, models=models.format(tiny=tiny, other=tmp_path / "tiny"))
    assert (code, out) == (2, "")
    assert re.search(told, said)


def test_a_stopped_run_goes_on(run, lib, monkeypatch):
    whole, done = lib.counted.Counter._predict, []

    def stopping(self, pixels, diameter):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(diameter)
        return whole(self, pixels, diameter)

    monkeypatch.setattr(lib.counted.Counter, "_predict", stopping)
    code, _, said = run()
    assert (code, "goes on" in said) == (130, True)
    again = []
    monkeypatch.setattr(lib.counted.Counter, "_predict", lambda *a: again.append(a[2]) or whole(*a))
    code, first, _ = run()
    # Four blurs of three images; those at two levels of focus have the same pixels.
    assert (code, len(done) + len(again)) == (0, 4 * 3)
    monkeypatch.setattr(lib.counted.Counter, "_predict", None)
    assert run()[:2] == (0, first)


def test_the_docs_have_their_marks():
    text = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    for name in NAMES:
        begin, end = f"<!-- failures, {name}: begin -->", f"<!-- failures, {name}: end -->"
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)
    for link in re.findall(r"\((images/failures/.*?)\)", text):
        assert (ROOT / "docs" / link).is_file()
