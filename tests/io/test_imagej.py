"""Debian's ImageJ opens what is exported: the same points, in the same places, the same sum.

Its macros need menus, so that there has to be a screen, if only Xvfb's; no window is opened.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from celltally.io import read_dots, write_density, write_dots
from celltally.types import Dots, Grid, Prediction

JAR = Path("/usr/share/java/ij.jar")
SCREEN = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a"]

pytestmark = [
    pytest.mark.skipif(not JAR.exists(), reason="ImageJ is not installed (Debian: imagej)"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
    pytest.mark.skipif(
        bool(SCREEN) and shutil.which("xvfb-run") is None, reason="there is no screen for ImageJ"
    ),
]

SELECTIONS = """
setBatchMode(true);
newImage("stack", "8-bit black", 600, 600, 1);
roiManager("open", getArgument());
for (i = 0; i < roiManager("count"); i++) {
    roiManager("select", i);
    Roi.getCoordinates(x, y);
    Roi.getPosition(c, z, t);
    for (k = 0; k < x.length; k++)
        print(Roi.getName + "|" + t + "|" + z + "|" + d2s(y[k], 6) + "|" + d2s(x[k], 6));
}
"""

PIXELS = """
setBatchMode(true);
newImage("field", "32-bit black", 20, 20, 1);
for (y = 0; y < 20; y++) for (x = 0; x < 20; x++) setPixel(x, y, 100 * y + x);
open(getArgument());
Roi.getCoordinates(x, y);
for (k = 0; k < x.length; k++) {
    makePoint(x[k], y[k]);
    getStatistics(area, mean);
    print(mean);
}
"""

AGAIN = """
setBatchMode(true);
newImage("field", "8-bit black", 600, 600, 1);
files = split(getArgument(), "|");
open(files[0]);
saveAs("selection", files[1]);
"""

DENSITY = """
setBatchMode(true);
open(getArgument());
getDimensions(width, height, channels, slices, frames);
getPixelSize(unit, pixelWidth, pixelHeight);
print(bitDepth() + "|" + width + "|" + height + "|" + channels);
print(unit + "|" + pixelWidth + "|" + pixelHeight);
for (c = 1; c <= channels; c++) {
    Stack.setChannel(c);
    sum = 0;
    for (y = 0; y < height; y++) for (x = 0; x < width; x++) sum += getPixel(x, y);
    print(d2s(sum, 6));
}
"""


@pytest.fixture
def imagej(tmp_path):
    """Run a macro on a file, and return the lines that it prints."""

    def run(macro, file):
        path = tmp_path / "macro.ijm"
        path.write_text(macro)
        done = subprocess.run(
            [*SCREEN, "java", "-Xmx256m", f"-Duser.home={tmp_path}", "-cp", str(JAR), "ij.ImageJ",
             "-batch", str(path), str(file)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Exception" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_set_of_selections(imagej, tmp_path):
    rng = np.random.default_rng(0)
    dots = Dots.new(
        rng.uniform(0, 599, (200, 2)),
        t=rng.integers(0, 2, 200),
        z=rng.integers(0, 3, 200),
        label=rng.choice(["cell", "dead"], 200),
    )
    write_dots(tmp_path / "dots.zip", dots, format="imagej")
    found = [line.split("|") for line in imagej(SELECTIONS, tmp_path / "dots.zip")]
    assert len(found) == 200
    wanted = sorted(
        zip(dots.label.tolist(), dots.t.tolist(), dots.z.tolist(), *dots.yx.T.tolist(), strict=True)
    )
    got = sorted(
        (name.split()[0], int(t) - 1, int(z) - 1, float(y), float(x)) for name, t, z, y, x in found
    )
    assert [row[:3] for row in got] == [row[:3] for row in wanted]
    np.testing.assert_allclose(
        [row[3:] for row in got], [row[3:] for row in wanted], rtol=0, atol=1e-4
    )


def test_whole_numbers_are_the_pixels_that_they_name(imagej, tmp_path):
    write_dots(tmp_path / "a.roi", Dots.new([[0, 0], [7, 5], [19, 19]]), format="imagej-roi")
    assert [float(v) for v in imagej(PIXELS, tmp_path / "a.roi")] == [0, 705, 1919]


def test_a_selection_that_imagej_saved_again(imagej, tmp_path):
    before = Dots.new([[1.5, 2.25], [3, 4], [5, 6]], z=[0, 2, 2], label=["a:b", "cell", "a:b"])
    write_dots(tmp_path / "a.roi", before, format="imagej-roi")
    imagej(AGAIN, f"{tmp_path / 'a.roi'}|{tmp_path / 'b.roi'}")
    after = read_dots(tmp_path / "b.roi")
    assert (tmp_path / "b.roi").read_bytes() != (tmp_path / "a.roi").read_bytes()
    assert after.yx.tolist() == before.yx.tolist()
    assert after.label.tolist() == before.label.tolist()
    assert after.z.tolist() == before.z.tolist()


@pytest.mark.parametrize("classes", [("cell",), ("alive", "dead")])
def test_a_density(imagej, tmp_path, classes):
    density = np.random.default_rng(1).random((len(classes), 30, 40)).astype(np.float32)
    found = Prediction(
        density=density, variance=density, grid=Grid((30, 40), (2, 4)), image_shape=(60, 160),
        diameter_px=10, model="general", model_sha256="ab", classes=classes,
    )  # fmt: skip
    write_density(tmp_path / "d.tif", found, (0.5, 0.25))
    kind, size, *sums = imagej(DENSITY, tmp_path / "d.tif")
    assert kind == f"32|40|30|{len(classes)}"
    unit, width, height = size.split("|")
    assert (unit, float(width), float(height)) == ("µm", 1, 1)
    wanted = density.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose([float(s) for s in sums], wanted, rtol=0, atol=1e-5)
