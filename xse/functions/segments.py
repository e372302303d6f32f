"""Large payloads within one host: written once into shared memory and read from there, not sent through four sockets.

A segment is a file in a directory of the run's own, in memory. Who maps it removes its name, so that its memory goes
with the last view of it; what nobody came to map is removed by who wrote it, or goes with the directory
(docs/decisions/0007).
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence

from xse.wire.messages import Buffer

SHARED_MEMORY = "/dev/shm"
VARIABLE = "XSE_SEGMENTS"  # tells workers the directory
ALIGNMENT = 64  # bytes; arrays may lie in the segment
_MOST_PARTS = 512  # in one writev; the kernel's limit is 1024


def make_directory() -> str | None:
    """A new directory, mode 0700, for the segments of a run. None: there is no shared memory to be had."""
    try:
        return tempfile.mkdtemp(prefix="xse-", dir=SHARED_MEMORY)
    except OSError:
        return None


class Segments:
    """Writes segments into ``directory``."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def put(self, parts: Sequence[Buffer], arrays: Sequence[Buffer] = ()) -> Reference | None:
        """A new segment: ``parts`` one after the other, then each of ``arrays`` at the next multiple of ``ALIGNMENT``.
        None: there is no room for it."""
        path = os.path.join(self._directory, f"{os.getpid()}-{next(self._numbers)}")
        pieces = list(parts)
        n = sum(map(len, pieces))
        sizes = [n, *map(len, arrays)]
        for array in arrays:
            pieces += [bytes(-n % ALIGNMENT), array]
            n += -n % ALIGNMENT + len(array)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(fd, [memoryview(piece) for piece in pieces if len(piece)])
            finally:
                os.close(fd)
        except OSError:
            remove(path)
            return None
        return Reference(path, sizes)

    def keep(self, data: Buffer) -> Kept | None:
        """Bytes that are read more than once. None: there is no room for them."""
        reference = self.put([data])
        return Kept(reference.path, len(data)) if reference else None


def _write(fd: int, pieces: list[memoryview]) -> None:
    pieces.reverse()
    while pieces:
        written = os.writev(fd, pieces[: -_MOST_PARTS - 1 : -1])
        while pieces and written >= len(pieces[-1]):
            written -= len(pieces.pop())
        if written:
            pieces[-1] = pieces[-1][written:]


def remove(path: str) -> None:
    """It will not be mapped; or it was."""
    with contextlib.suppress(OSError):
        os.unlink(path)


_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_MOST_MAPS = 128  # each holds a descriptor, of which a process may have 1024; what comes beyond them is copied


def _mapped(path: str) -> memoryview:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        mapped = mmap.mmap(fd, 0)
    finally:
        os.close(fd)
    _maps.add(mapped)
    return memoryview(mapped)


def _copied(path: str) -> memoryview:
    with open(path, "rb", buffering=0) as f:
        data = bytearray(os.fstat(f.fileno()).st_size)
        view = memoryview(data)
        at = 0
        while at < len(data):
            at += f.readinto(view[at:]) or len(data)
    return view


class Segment:
    """One that was written elsewhere and is ours now: its memory goes with the last view of it.

    ``stream``: the parts as one. ``arrays``: views that may be written to.
    """

    __slots__ = ("arrays", "stream")

    def __init__(self, path: str, sizes: Sequence[int]) -> None:
        """``sizes``: of the parts together, and of each array. Raises OSError."""
        view = _mapped(path) if len(_maps) < _MOST_MAPS else _copied(path)
        os.unlink(path)  # only now: without a descriptor to be had it can be read later
        at = 0
        found = []
        for size in sizes:
            at += -at % ALIGNMENT
            found.append(view[at : at + size])
            at += size
        self.stream, *self.arrays = found


class Reference:
    """Travels in place of what a segment holds: pickled, it is unpickled as that ``Segment``, once."""

    BEGINNING = b"\x80\x02cxse.functions.segments\nSegment\n"  # of its pickle, in protocol 2

    def __init__(self, path: str, sizes: list[int]) -> None:
        self.path = path
        self._sizes = sizes

    def __reduce__(self) -> tuple[type[Segment], tuple[str, list[int]]]:
        return Segment, (self.path, self._sizes)


class Kept:
    """Bytes that several processes of this host read, and that stay until nobody holds this object.

    ``where``: path and size, for ``read_kept``.
    """

    __slots__ = ("__weakref__", "where")

    def __init__(self, path: str, size: int) -> None:
        self.where = (path, size)
        weakref.finalize(self, remove, path).atexit = False  # the directory goes with the pool


def read_kept(where: tuple[str, int]) -> memoryview:
    """The bytes of a ``Kept`` of another process. Raises OSError."""
    path, size = where
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ)) if size else memoryview(b"")
    finally:
        os.close(fd)
