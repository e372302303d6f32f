"""A link that can be cut: passes bytes between whoever comes to its port and another port of this host.

``python relay.py TO``: prints its own port, then obeys lines from stdin: ``cut WHICH`` (it stands, and nothing
passes), ``drop WHICH`` (it ends), ``heal`` (all); WHICH, from 0 to 1, chooses a connection. Ends with stdin.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

MOST_BYTES = 1 << 20  # that wait here; whoever sends more has to wait, as with a real link


class End:
    """One socket of a connection, and what waits to go out of it."""

    def __init__(self, sock: socket.socket, link: Link) -> None:
        self.sock = sock
        self.link = link
        self.waiting = bytearray()

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def other(self) -> End:
        a, b = self.link.ends
        return b if self is a else a


class Link:
    """A connection through here."""

    def __init__(self, a: socket.socket, b: socket.socket) -> None:
        self.ends = (End(a, self), End(b, self))
        self.is_cut = False


class Relay:
    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: list[Link] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Until stdin ends."""
        while True:
            for key, events in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is sys.stdin:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self._obey(line.split())
                elif isinstance(key.fileobj, End) and key.fileobj.link in self._links:
                    self._serve(key.fileobj, events)

    def _accept(self) -> None:
        a, _ = self._listener.accept()
        try:
            b = socket.create_connection(("127.0.0.1", self._to_port))
        except OSError:  # nobody listens there: so nobody does here
            a.close()
            return
        for sock in (a, b):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(a, b)
        self._links.append(link)
        self._watch(link)

    def _obey(self, order: list[str]) -> None:
        whole = [link for link in self._links if not link.is_cut]
        match order:
            case ["heal"]:
                for link in self._links:
                    link.is_cut = False
                    self._watch(link)
            case ["cut", which] if whole:
                link = whole[int(float(which) * len(whole))]
                link.is_cut = True
                self._watch(link)
            case ["drop", which] if whole:
                self._end(whole[int(float(which) * len(whole))])

    def _watch(self, link: Link) -> None:
        """For what can be done with this connection now."""
        for end in link.ends:
            events = 0
            if not link.is_cut:
                events |= selectors.EVENT_READ if len(end.other.waiting) < MOST_BYTES else 0
                events |= selectors.EVENT_WRITE if end.waiting else 0
            known = end.fileno() in self._selector.get_map()
            if events:
                (self._selector.modify if known else self._selector.register)(end, events)
            elif known:
                self._selector.unregister(end)

    def _serve(self, end: End, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = end.sock.recv(MOST_BYTES)
                if not data:
                    self._end(end.link)
                    return
                end.other.waiting += data
            for each in end.link.ends:
                if each.waiting:
                    del each.waiting[: each.sock.send(each.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._end(end.link)
            return
        self._watch(end.link)

    def _end(self, link: Link) -> None:
        self._links.remove(link)
        for end in link.ends:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.sock.close()


if __name__ == "__main__":
    relay = Relay(int(sys.argv[1]))
    print(relay.port, flush=True)
    relay.run()
