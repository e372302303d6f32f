"""Large payloads within one host: written once into shared memory and read from there, not sent through four sockets.

A segment is a file in a directory of the run's own, in memory. Who maps it removes its name, so that its memory goes
with the last view of it; what nobody came to map is removed by who wrote it, or goes with the directory
(docs/decisions/0007).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import weakref
from collections.abc import Sequence

from xse import directories
from xse.wire.messages import Buffer

SHARED_MEMORY = "/dev/shm"
VARIABLE = "XSE_SEGMENTS"  # tells workers the directory
ALIGNMENT = 64  # bytes; arrays may lie in the segment
_MAP_FIXED = 0x10  # <linux/mman.h>; the mmap module does not have it
_MOST_PARTS = 512  # in one writev; the kernel's limit is 1024


def make_directory() -> str | None:
    """A new directory, mode 0700, for the segments of a run. None: there is no shared memory to be had."""
    try:
        directories.sweep(SHARED_MEMORY)
        return directories.make(SHARED_MEMORY)
    except OSError:
        return None


class Segments:
    """Writes segments into ``directory``."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        _keep_spare()

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


class Segment:
    """One that was written elsewhere and is ours now: its memory goes with the last view of it.

    ``stream``: the parts as one. ``arrays``: views that may be written to.
    """

    __slots__ = ("arrays", "stream")

    def __init__(self, path: str, sizes: Sequence[int]) -> None:
        """``sizes``: of the parts together, and of each array. Raises OSError."""
        fd = _open(path)
        try:
            view = _view(fd)
        finally:
            os.close(fd)
            _keep_spare()
        remove(path)  # not before: what cannot be mapped now may be mapped when it is asked for again
        at = 0
        found = []
        for size in sizes:
            at += -at % ALIGNMENT
            found.append(view[at : at + size])
            at += size
        self.stream, *self.arrays = found


_spares: list[int] = []  # a descriptor to do without when there is no other: segments are opened one at a time


def _keep_spare() -> None:
    if not _spares:
        with contextlib.suppress(OSError):
            _spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        if e.errno != errno.EMFILE or not _spares:
            raise
    os.close(_spares.pop())
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _view(fd: int) -> memoryview:
    """All of a file, mapped; or copied, where no more can be mapped (vm.max_map_count). Raises OSError."""
    size = os.fstat(fd).st_size
    try:
        return memoryview(_map(fd, size))
    except OSError as e:
        if e.errno != errno.ENOMEM:
            raise
    copy = memoryview(bytearray(size))
    at = 0
    while at < size:
        n = os.preadv(fd, [copy[at:]], at)
        if n == 0:
            raise OSError(errno.EIO, "a segment is shorter than it was")
        at += n
    return copy


def _map(fd: int, size: int) -> mmap.mmap:
    """The file, mapped. An ``mmap.mmap`` of a file keeps a descriptor for as long as it lives, of which there are 1,024
    on many systems. (From Python 3.13 on it can be told not to.) So memory without a file is mapped, and then the file
    over it. Raises OSError."""
    view = mmap.mmap(-1, size)
    import ctypes  # only where there are segments: it takes some milliseconds

    place = ctypes.addressof(ctypes.c_char.from_buffer(view))
    arguments = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    map_it = ctypes.CFUNCTYPE(ctypes.c_void_p, *arguments, use_errno=True)(("mmap", ctypes.CDLL(None)))
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if map_it(place, size, protection, mmap.MAP_SHARED | _MAP_FIXED, fd, 0) != place:
        raise OSError(ctypes.get_errno(), "a segment cannot be mapped")
    return view


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
