"""What the README shows works: its Python, its commands, its links."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "src" / "celltally" / "_napari" / "samples" / "u2os-hoechst-1.tif"


def test_the_python_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    shutil.copy(SAMPLE, tmp_path / "field_01.tif")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"\d+ cells \(\d+–\d+, [a-z ]+\)\n", result.stdout)
    assert (tmp_path / "field_01.csv").stat().st_size > 0


def test_the_commands_exist():
    shown = set(re.findall(r"(?:`|^)celltally ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"count", "models", "info", "train", "evaluate"} <= shown
    program = Path(sys.executable).with_name("celltally")
    listed = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert sorted(shown - set(re.findall(r"[a-z]+", listed))) == []


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test"} <= shown
    assert sorted(shown - set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))) == []


def leads_somewhere(target):
    name, _, heading = target.partition("#")
    path = ROOT / (name or "README.md")
    if not heading:
        return path.exists()
    titles = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return heading in {title.lower().replace(" ", "-") for title in titles}


def test_the_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not leads_somewhere(target)] == []
