"""Models by name: those that ship, and the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celltally.errors import UserError
from celltally.published import PUBLISHED
from celltally.record import ASIDE, PICKLED, RECORD, ModelRecord, put_back, read_record

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["DEFAULT_MODEL", "available", "find", "load", "shipped_models_dir", "user_models_dir"]

DEFAULT_MODEL = "general"


def shipped_models_dir() -> Path:
    """Folder of the models that ship: inside the package, or ``models`` of a source tree."""
    packed = Path(__file__).parent / "_models"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "models"


def user_models_dir() -> Path:
    """Folder of the user's own models (it need not exist)."""
    from platformdirs import user_data_path

    return Path(user_data_path("celltally", appauthor=False)) / "models"


def available() -> list[ModelRecord]:
    """Return the records of all models: the default, then by name, published architectures last.

    A user's model hides a shipped one of the same name. Damaged folders are left out.
    """
    records: dict[str, ModelRecord] = {}
    for directory in (shipped_models_dir(), user_models_dir()):
        for folder in _folders(directory):
            try:
                if (folder / RECORD).is_file():
                    records[folder.name] = read_record(folder)
            except (UserError, OSError):
                # `find` takes it all the same, so that loading tells what is wrong with it.
                records.pop(folder.name, None)
    return sorted(
        records.values(), key=lambda r: (r.name != DEFAULT_MODEL, r.network in PUBLISHED, r.name)
    )


def _folders(directory: Path) -> list[Path]:
    """List what may be models in a directory; hidden ones are being written or replaced."""
    if not directory.is_dir():
        return []
    for old in directory.glob(f".*{ASIDE}"):
        put_back(directory / old.name[1 : -len(ASIDE)])
    return sorted(path for path in directory.iterdir() if not path.name.startswith("."))


def find(name_or_path: str | Path) -> Path:
    """Folder of a model by name, or a path as it is.

    Raises
    ------
    UserError
        When there is none; the sentence lists the names.
    """
    text = str(name_or_path)
    for directory in (user_models_dir(), shipped_models_dir()):
        if text and Path(text).name == text:
            put_back(directory / text)
            if (directory / text / RECORD).is_file():
                return directory / text
    path = Path(text)
    put_back(path)
    if text and (path.is_dir() or path.suffix in PICKLED):
        return path
    names = ", ".join(record.name for record in available()) or "none"
    raise UserError(
        f"there is no model {text!r}; give one of these names: {names}, or a model folder's path"
    )


def load(name_or_path: str | Path = DEFAULT_MODEL) -> Model:
    """Load a model by name or from a folder.

    Raises
    ------
    UserError
        When there is none, or its folder is damaged.
    """
    from celltally.model import Model

    return Model.load(find(name_or_path))
