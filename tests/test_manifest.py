"""The manifest that napari reads: valid, and every name in it exists."""

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from npe2 import PluginManifest

import celltally

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = Path(celltally.__file__).parent / "napari.yaml"
COMMANDS = PluginManifest.from_file(MANIFEST).contributions.commands or []


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "--imports", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_npe2_accepts_it():
    result = validate(MANIFEST)
    assert result.returncode == 0, result.stdout + result.stderr


def test_npe2_would_notice_a_name_that_does_not_exist(tmp_path):
    broken = tmp_path / "napari.yaml"
    text = MANIFEST.read_text(encoding="utf-8")
    name = COMMANDS[0].python_name
    broken.write_text(text.replace(str(name), f"{name}_gone"), encoding="utf-8")
    assert validate(broken).returncode != 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.id)
def test_every_command_resolves(command):
    module, _, name = command.python_name.partition(":")
    value = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    assert callable(value)
    assert command.id.startswith("celltally.")


def test_every_widget_has_its_name_and_its_place_in_the_layers_menus():
    contributions = PluginManifest.from_file(MANIFEST).contributions
    widgets = {widget.command: widget.display_name for widget in contributions.widgets}
    assert widgets == {
        "celltally.tally": "Tally",
        "celltally.explain": "Explain",
        "celltally.learn": "Learn",
        "celltally.calibrate": "Calibrate for my microscope",
        "celltally.study": "Study",
    }
    items = {item.command for menu in contributions.menus.values() for item in menu}
    assert items == {*widgets, "celltally.import"}


def test_every_contribution_names_a_command():
    manifest = PluginManifest.from_file(MANIFEST)
    contributions = manifest.contributions
    known = {command.id for command in COMMANDS}
    used = {
        contribution.command
        for kind in ("readers", "writers", "widgets", "sample_data")
        for contribution in getattr(contributions, kind) or []
        if getattr(contribution, "command", None)
    }
    used |= {
        item.command
        for items in (contributions.menus or {}).values()
        for item in items
        if getattr(item, "command", None)
    }
    assert used
    assert used <= known


def test_napari_finds_it():
    (entry,) = [e for e in entry_points(group="napari.manifest") if e.name == "celltally"]
    assert entry.value == "celltally:napari.yaml"
    assert PluginManifest.from_file(MANIFEST).display_name == "Cell Tally"


def test_the_one_at_the_top_is_the_packaged_one():
    assert (ROOT / "napari.yaml").resolve() == MANIFEST.resolve()
