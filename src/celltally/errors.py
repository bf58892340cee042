"""The one family of errors that a user can mend, and what is said of the others."""

import logging
from pathlib import Path

_log = logging.getLogger(__name__)
#: Where a face of the program may have put a file for the traceback of a defect.
_root = logging.getLogger("celltally")


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence: what is wrong, with which value, and what to do
    next. Faces of the program (command line, napari) show the message and never
    a traceback; anything that is *not* a ``UserError`` is a defect of ours.
    """


class TryAgainError(UserError):
    """Something could not be done now that can be done later, as it is: the disk is full."""


class OutOfMemoryError(UserError):
    """Even the smallest tile does not fit into the memory at hand."""


def failure(error: Exception, image: Path) -> str:
    """Say in one sentence with the image's name why it could not be counted.

    What is no ``UserError`` is a defect of ours, most likely, but the other images of
    the night must be counted: it is logged and named.
    """
    if isinstance(error, UserError):
        sentence = str(error)
    elif isinstance(error, MemoryError):
        sentence = f"{image} needs more memory than there is; count a part of it"
    else:
        _log.error("%s failed", image, exc_info=error)
        files = [h.baseFilename for h in _root.handlers if isinstance(h, logging.FileHandler)]
        report = "please report this" + (f" with the file {files[0]}" if files else "")
        sentence = f"{image}: unexpected {type(error).__name__}: {error}; {report}"
    return " ".join((sentence if image.name in sentence else f"{image.name}: {sentence}").split())
