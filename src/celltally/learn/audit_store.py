"""Audits on disk: every answer is a line of a file that only grows, written at once.

The first line tells what is audited, with the seed that all draws come from; each further one
is a region that was counted or left out, or an image that could not be shown. A later line
on the same region replaces an earlier one, so that an answer can be changed and nothing is
ever rewritten. A line that was cut off when the program died is dropped.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.intervals.recalibrate import Audit
from celltally.record import canonical_json

__all__ = ["AuditSession", "AuditStore", "audits_dir", "store_path"]

FORMAT = 1


@dataclass(frozen=True)
class AuditSession:
    """What is audited, and how.

    Attributes
    ----------
    model, model_sha256, calibration_sha256
        The model, its identity, and the hash of its calibration ("" without one).
    source
        Where the images are: a folder, or names of layers.
    units
        What is independent: ``images`` or ``wells``.
    diameter_px
        Cell diameter in pixels; None where it is estimated image by image.
    channel
        As typed; None where it is guessed.
    seed
        Of all draws.
    """

    model: str
    model_sha256: str
    calibration_sha256: str
    source: str
    units: str = "images"
    diameter_px: float | None = None
    channel: str | None = None
    seed: int = 0


def audits_dir() -> Path:
    """Folder of the user's audits (it need not exist)."""
    from platformdirs import user_data_path

    return Path(user_data_path("celltally", appauthor=False)) / "audits"


def store_path(session: AuditSession) -> Path:
    """File of a session: the same for the same images, model and settings.

    Neither the seed nor the calibration matters: what was counted stays worth as much when
    the model is calibrated anew.
    """
    other = ("seed", "calibration_sha256")
    told = {name: value for name, value in asdict(session).items() if name not in other}
    digest = hashlib.sha256(canonical_json(told)).hexdigest()[:12]
    word = re.sub(r"[^A-Za-z0-9]+", "-", Path(session.source).name).strip("-")[:32] or "images"
    return audits_dir() / f"{word}-{digest}.jsonl"


class AuditStore:
    """The audits of one session.

    Parameters
    ----------
    path
        Its file; an earlier session there is gone on with, its seed included.
    session
        What is audited. The seed is for a new file; 0 draws one.

    Raises
    ------
    UserError
        When the file is something else, damaged, or cannot be written.
    """

    def __init__(self, path: Path, session: AuditSession) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, int], dict[str, Any]] = {}
        entries = _read(path)
        if not entries:
            seed = session.seed or secrets.randbelow(2**31 - 1) + 1
            told = {"entry": "session", "format": FORMAT, **asdict(session), "seed": seed}
            self._write({**told, "when": _now()}, fresh=True)
            entries = [told]
        self.session = _session(path, entries[0])
        for number, entry in enumerate(entries[1:], start=2):
            if entry["entry"] == "counted" and not _is_audit(entry):
                raise _damaged(path, number)
            if entry["entry"] != "failed":  # what failed then may be mended by now
                self._take(entry)

    def counted(
        self, audit: Audit, draw: int, dots: Sequence[Sequence[float]] = (), **more: object
    ) -> None:
        """Keep a count; ``dots`` are the (y, x) that were clicked, in image pixels.

        Raises
        ------
        UserError
            When the file cannot be written; nothing is kept then.
        """
        self._keep({"entry": "counted", **asdict(audit), "draw": draw, "dots": dots, **more})

    def left_out(self, image: str, draw: int, reason: str) -> None:
        """Keep that a person left a region out, and why; see ``counted``."""
        self._keep({"entry": "skipped", "image": image, "draw": draw, "reason": reason})

    def failed(self, image: str, message: str) -> None:
        """Keep that an image cannot be audited, and why; see ``counted``."""
        self._keep({"entry": "failed", "image": image, "draw": -1, "reason": message})

    @property
    def answers(self) -> list[dict[str, Any]]:
        """Newest line on every region, in the order in which they were first answered."""
        with self._lock:
            return [dict(entry) for entry in self._answers.values()]

    @property
    def audits(self) -> list[Audit]:
        """What was counted."""
        return [_as_audit(entry) for entry in self.answers if entry["entry"] == "counted"]

    @property
    def done(self) -> set[tuple[str, int]]:
        """(image, number of the draw) of every region that was answered."""
        return {(e["image"], e["draw"]) for e in self.answers if e["entry"] != "failed"}

    @property
    def unusable(self) -> dict[str, str]:
        """Why images cannot be audited, by name."""
        return {e["image"]: e["reason"] for e in self.answers if e["entry"] == "failed"}

    @property
    def sha256(self) -> str:
        """Hash of the file as it is now."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def _keep(self, entry: dict[str, Any]) -> None:
        self._write({**entry, "when": _now()})
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._answers[entry["image"], entry["draw"]] = entry

    def _write(self, entry: Mapping[str, Any], *, fresh: bool = False) -> None:
        line = (json.dumps(_finite(entry), ensure_ascii=False) + "\n").encode()
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if not fresh:
                    _drop_cut_line(self.path)
                with self.path.open("wb" if fresh else "ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"the audit cannot be saved to {self.path} ({str(error.strerror).lower()}); "
                "mend that and press Next again"
            ) from None


def _read(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a file; none where there is no file, or not one whole line."""
    try:
        text = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); mend that") from None
    entries = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            entries.append({"image": "", "draw": -1, **entry})
            kept = entry["entry"] in ("session", "counted", "skipped", "failed")
            if not kept or (entry["entry"] == "session") != (number == 1):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise _damaged(path, number) from None
    return entries


def _damaged(path: Path, number: int) -> UserError:
    return UserError(
        f"{path} is damaged in line {number}; move it away to begin anew, or take that line out"
    )


def _as_audit(entry: Mapping[str, Any]) -> Audit:
    """Make an audit from its line; figures that could not be taken are left out."""
    names = {f.name for f in fields(Audit)}
    kept = {k: _frozen(v) for k, v in entry.items() if k in names}
    for looks in ("statistics", "appearance"):
        kept[looks] = {k: v for k, v in kept.get(looks, {}).items() if _is_number(v)}
    return Audit(**kept)


def _is_audit(entry: Mapping[str, Any]) -> bool:
    """Whether a line has what an ``Audit`` is made from."""
    figures = ("predicted", "variance", "counted", "image_predicted", "image_variance")
    looks = (entry.get(name, {}) for name in ("statistics", "appearance"))
    return (
        isinstance(entry.get("group"), str)
        and all(_is_number(entry.get(name)) for name in figures)
        and all(
            isinstance(one, dict) and all(v is None or _is_number(v) for v in one.values())
            for one in looks
        )
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _session(path: Path, entry: Mapping[str, Any]) -> AuditSession:
    try:
        if entry["format"] != FORMAT:
            raise UserError(
                f"{path} has format {entry['format']}, this program reads {FORMAT}; update "
                "celltally, or move the file away to begin anew"
            )
        return AuditSession(**{f.name: entry[f.name] for f in fields(AuditSession)})
    except KeyError as error:
        raise UserError(
            f"{path} tells no {error.args[0]} of its session; move it away to begin anew"
        ) from None


def _drop_cut_line(path: Path) -> None:
    """Cut off what is left of a line that was being written when the program died."""
    with path.open("rb+") as file:
        text = file.read()
        end = text.rfind(b"\n") + 1
        if end < len(text):
            file.truncate(end)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """Give plain Python values; figures that do not exist are null."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
