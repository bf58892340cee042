"""The one family of errors that a user can mend."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence: what is wrong, with which value, and what to do
    next. Faces of the program (command line, napari) show the message and never
    a traceback; anything that is *not* a ``UserError`` is a defect of ours.
    """


class OutOfMemoryError(UserError):
    """Even the smallest tile does not fit into the memory at hand."""
