"""One bar: by tqdm where it is installed, else a line on stderr. Nothing is drawn where nobody can see it."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

AGAIN_S = 0.1  # between two drawings


class Bar:
    """Counts up to ``total`` (None: not known). ``stream``: by default stderr, looked up when the bar is made."""

    def __init__(self, total: int | None, what: str = "tasks", stream: TextIO | None = None) -> None:
        self.total = total
        self.n = self.failed = 0
        self._what = what
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._drawn = -AGAIN_S
        self._width = 0
        notebook = _in_a_notebook()
        self._seen = notebook or self._stream.isatty()
        self._tqdm = _tqdm(total, what, self._stream, notebook) if self._seen else None

    def add(self, *, failed: bool = False) -> None:
        """One more is done."""
        self.n += 1
        self.failed += failed
        if self._tqdm is not None:
            if failed:
                self._tqdm.set_postfix(failed=self.failed, refresh=False)
            self._tqdm.update()
        elif self._seen:
            now = time.monotonic()
            if now - self._drawn >= AGAIN_S:
                self._drawn = now
                self._draw(self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """What the line says after so many seconds."""
        rate = self.n / seconds if seconds > 0 else 0.0
        parts = [f"{self.n:,} {self._what}", f"{rate:,.1f}/s"]
        if self.total:
            parts[0] = f"{self.n:,} of {self.total:,} {self._what} ({self.n * 100 // self.total} %)"
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.total and rate and self.n < self.total:
            parts.append(f"{_duration((self.total - self.n) / rate)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """The last state stays on the screen. May be called again."""
        if self._tqdm is not None:
            self._tqdm.close()
        elif self._seen:
            self._draw(self.line(time.monotonic() - self._began))
            self._stream.write("\n")
            self._stream.flush()
        self._tqdm, self._seen = None, False

    def _draw(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)


def _tqdm(total: int | None, what: str, stream: TextIO, notebook: bool) -> Any:
    try:
        if notebook:
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm
        return tqdm(total=total, unit=f" {what}", file=None if notebook else stream)
    except ImportError:  # it is not installed; or, in a notebook, what draws it is not
        return None


def _in_a_notebook() -> bool:
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get is not None and type(get()).__name__ == "ZMQInteractiveShell"


def _duration(seconds: float) -> str:
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    return f"{s // 60} min {s % 60:02} s" if s < 3600 else f"{s // 3600} h {s // 60 % 60:02} min"
