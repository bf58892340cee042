"""docs/networks.md and the README say of every network what is so."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from celltally.networks import build, parse_settings
from celltally.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "networks.md"
TEXT, README = PAGE.read_text("utf-8"), (ROOT / "README.md").read_text("utf-8")
SECTIONS = {
    heading.strip(): body
    for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
}


def rows(text):
    """Cells of the tables' rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def size(network, settings):
    """Number of weights, without fetching or keeping any."""
    known = {**settings}
    known.pop("pretrained", None)
    with torch.device("meta"):
        return sum(p.numel() for p in build(network, known).parameters())


def test_every_family_is_described():
    described = [row[0] for row in rows(TEXT) if row[0].startswith("[`")]
    names = [re.match(r"\[`(\w+)`\]", cell)[1] for cell in described]
    assert sorted(names) == sorted(["tally", *PUBLISHED])
    assert names[0] == "tally"
    assert list(SECTIONS) == ["Tally", *(PUBLISHED[name].title for name in names[1:])]


@pytest.mark.parametrize("network", PUBLISHED)
def test_a_published_one_is_described_as_in_the_program(network):
    architecture = PUBLISHED[network]
    (row,) = (row for row in rows(TEXT) if row[0].startswith(f"[`{network}`]"))
    assert row[1] == architecture.reference
    assert row[4] == f"{architecture.parameters / 1e6:.1f} M"
    assert row[5] == architecture.use
    section = SECTIONS[architecture.title]
    assert section.split("\n\n")[1].startswith(architecture.paper)
    assert f"- **When to use it.** {architecture.use}\n" in section
    (told,) = (row for row in rows(README) if f"[{architecture.title}]" in row[1])
    assert architecture.reference in told[1]
    assert told[2] == architecture.use


@pytest.mark.parametrize("title", SECTIONS)
def test_the_commands_train_it_at_full_size_and_small(title):
    (block,) = re.findall(r"```sh\n(.*?)```", SECTIONS[title], re.DOTALL)
    found = []
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:3] == ["celltally", "train", "my_cells/"]
        options = list(zip(words[3::2], words[4::2], strict=True))
        assert {name for name, _ in options} <= {"--network", "--setting", "--minutes", "--out"}
        network = dict(options).get("--network", "tally")
        settings = parse_settings(value for name, value in options if name == "--setting")
        assert settings.get("pretrained") in (None, True)
        found.append((network, size(network, settings)))
    (network, full), (other, small) = found
    assert network == other
    assert full == size(network, {})
    assert small < full / 2
    if network in PUBLISHED:
        assert PUBLISHED[network].title == title


def test_links_and_pictures_are_there():
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    anchors = {f"#{title.lower().replace(' ', '-')}" for title in SECTIONS}
    assert {f"images/networks-{name}.png" for name in ("tally", *PUBLISHED)} <= set(targets)
    dead = [
        t for t in targets if t not in anchors and not (PAGE.parent / t.partition("#")[0]).exists()
    ]
    assert dead == []
