"""Where the record of a run is written."""

from __future__ import annotations

import os
import time

from xse.errors import OptionError

SUFFIX = ".xse"


def record_path(record: str | os.PathLike[str] | bool | None, run_id: str) -> str:
    """The path of a new record, absolute; "" for none. Raises OptionError where none can be written.

    ``record``: a file that does not exist; or a directory, in which a new name is chosen; True: the working directory.
    """
    if record is None or record is False or record == "":
        return ""
    if isinstance(record, bool):
        record = "."
    if not isinstance(record, str | os.PathLike):
        raise TypeError(f"record must be a path or True, not {record!r}")
    given = os.fspath(record)
    path = os.path.abspath(given)
    if os.path.isdir(path) or given.endswith(os.sep):
        path = os.path.join(path, time.strftime("xse-%Y%m%d-%H%M%S-") + run_id[:8] + SUFFIX)
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as e:
        raise OptionError(f"record={record!r}: the directory {directory} cannot be made ({e.strerror})") from None
    if os.path.lexists(path):
        raise OptionError(f"record={record!r} exists: a record is a new file. Remove it, or name a directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OptionError(f"record={record!r}: nothing can be written in {directory}. Name another directory")
    return path


def free_path(path: str) -> str:
    """``path``, or with a number before its suffix if there is such a file already."""
    base, suffix = os.path.splitext(path)
    n = 1
    while os.path.lexists(path):
        n += 1
        path = f"{base}-{n}{suffix}"
    return path
