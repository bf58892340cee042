"""Which model was made from which: trees of versions, from the models' records alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from celltally.errors import UserError
from celltally.record import Learned, ModelRecord, read_base

__all__ = ["Version", "errors_of", "lineages", "origin_of"]


@dataclass(frozen=True)
class Version:
    """A model in a lineage.

    Attributes
    ----------
    sha256
        Its identity.
    record
        Its record; None for a parent of which nothing but the identity is known.
    there
        Whether it is among the models at hand. The record of one that is not is that of the
        copy which a child keeps as its base.
    children
        Versions that were made from it, the oldest first; also its copies, which were
        calibrated anew and have the same identity.
    """

    sha256: str
    record: ModelRecord | None
    there: bool
    children: tuple[Version, ...] = ()


def lineages(records: Iterable[ModelRecord]) -> tuple[Version, ...]:
    """Give the trees of versions, in the order in which the first of each tree comes.

    Parameters
    ----------
    records
        Of the models at hand, such as ``zoo.available()`` gives. Parents that are no longer
        there stand above what was made from them.
    """
    nodes = [_Node(record.sha256, record, there=True) for record in records]
    first: dict[str, _Node] = {}
    for node in sorted(nodes, key=lambda node: _is_copy(node.record)):
        first.setdefault(node.sha256, node)
    for parent in [p for node in nodes for p in _parents_inside(node.record)]:
        if parent.sha256 not in first:
            first[parent.sha256] = _Node(parent.sha256, parent, there=False)
            nodes.append(first[parent.sha256])
    for node in nodes:
        above = _above(node, first)
        if above is not None and node not in above.line:  # records that name each other
            node.above = above
            above.below.append(node)
    roots = dict.fromkeys(node.line[-1] for node in nodes)
    return tuple(root.version() for root in roots)


def origin_of(record: ModelRecord) -> str:
    """Say in words what a model learned from."""
    learned = record.learned
    if learned is None:
        if _is_copy(record):
            return f"calibrated from {record.training['calibrated from']}"
        images, sets = sum(s.images for s in record.training_data), len(record.training_data)
        if not sets:
            return "trained on nothing: its weights are random"
        return f"trained on {images} image{'s' * (images != 1)} of {_some(sets, 'data set')}"
    words = f"{_some(learned.regions, 'region')}, {_some(learned.dots, 'dot')}"
    if learned.stated:
        words += f", {_some(learned.stated, 'stated count')}"
    project = f" of {learned.project}" if learned.project else ""
    by = f", by {', '.join(learned.by)}" if learned.by else ""
    return f"{words}{project}{by}"


def errors_of(learned: Learned) -> tuple[float | None, float] | None:
    """Mean absolute error of a region's count before and after, in cells.

    On the audited regions, which decide whether it helped, or else on the reviewed ones that
    taught nothing; None where neither was there. A model from nothing is compared with none,
    and has no error before.
    """
    for kind in ("audit_mae", "mae"):
        before, after = (learned.metrics.get(f"{kind}_{when}") for when in ("before", "after"))
        if after is not None:
            return before, after
    return None


@dataclass(eq=False)
class _Node:
    """A version while its tree is put together."""

    sha256: str
    record: ModelRecord | None
    there: bool
    above: _Node | None = None
    below: list[_Node] = field(default_factory=list)

    @property
    def line(self) -> list[_Node]:
        """The node itself and all above it, up to the root."""
        line = [self]
        while line[-1].above is not None:
            line.append(line[-1].above)
        return line

    def version(self) -> Version:
        below = sorted(self.below, key=lambda node: _age(node.record))
        return Version(self.sha256, self.record, self.there, tuple(n.version() for n in below))


def _above(node: _Node, first: dict[str, _Node]) -> _Node | None:
    """Return what a version stands below: of a copy the original, else its parent."""
    if first[node.sha256] is not node:
        return first[node.sha256]
    if node.record is None or node.record.parent is None:
        return None
    parent = node.record.parent
    return first.setdefault(parent, _Node(parent, None, there=False))


def _parents_inside(record: ModelRecord | None) -> Iterator[ModelRecord]:
    """Give records of parents that a model keeps as its base, and these as theirs."""
    with suppress(UserError):  # it is told when the model is loaded
        while record is not None:
            base = read_base(record)
            if base is not None and base.sha256 == record.parent:
                yield base
            record = base


def _is_copy(record: ModelRecord | None) -> bool:
    """Whether a model is a copy of another with another calibration."""
    return record is not None and "calibrated from" in record.training


def _age(record: ModelRecord | None) -> tuple[str, str]:
    if record is None:
        return "", ""
    return (record.learned.date if record.learned else record.created), record.name


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
