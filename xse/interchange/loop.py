"""The event loop of the interchange: sockets, clock and process around ``core``. One thread, no decisions.

The loop reads messages, passes them to the core, and carries out the core's effects. It sleeps in one epoll. The
interchange ends with its executor: when the executor's socket closes, when the executor's process is gone, or when the
executor asks. SIGTERM ends the interchange alone, as SIGKILL would: the executor's futures fail with InterchangeLost,
and blocks see their sockets close.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import struct
import time
from base64 import b64decode
from typing import Any

from xse.interchange import core
from xse.interchange.control import Control
from xse.interchange.tcp.listener import Listener, Peer, PortError, address_of
from xse.record.file import RecordFile
from xse.record.recorder import Recorder
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream, listen_locally, read_buffer

logger = logging.getLogger(__name__)

AT_A_TIME = 64  # TCP messages, or connections that opened or closed, before other sockets have their turn
STOP_TIMEOUT_S = 2.0  # for blocks to send BYE after the executor is gone; for the executor to read our last message
#: A closed TCP connection may have messages that were not read yet. While other connections always have more to read,
#: the block counts as lost after this time.
UNREAD_S = 1.0

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Interchange:
    """The loop around one ``core.Core``.

    ``client`` is the stream to the executor. ``run`` returns when the interchange is over; ``terminated`` then says
    whether SIGTERM ended it.
    """

    def __init__(self, config: commands.Config, client: Stream, submits: Stream | None = None) -> None:
        """``submits``: the executor's second socket, on which single tasks come."""
        self._config = config
        self._client = client
        self._submits = submits
        self._began = time.monotonic()
        self._about = _about(config)
        self._recorder, self._record = _open_record(config, self._about)
        self._control: Control | None = None
        self._core = core.Core(
            xse_version=config.xse_version,
            python_version=config.python_version,
            heartbeat_period=config.heartbeat_period_ms / 1000,
            heartbeat_threshold=config.heartbeat_threshold_ms / 1000,
            setup=b64decode(config.setup),
            setup_codec=config.setup_codec,
            fill_order=config.fill_order,
            recorder=self._recorder,
        )
        self._local_listener: socket.socket | None = None
        self._tcp_listener: Listener | None = None
        self._local_blocks: dict[int, Stream] = {}  # connections from this host, by descriptor
        self._buffer = read_buffer()
        self._ended: dict[Peer, float] = {}  # TCP connections that have closed, and when
        self._writing: set[int] = set()  # descriptors of streams with bytes to send
        self._lifelines: list[int] = []  # descriptors that become readable when the executor ends
        self._signals = -1  # a descriptor that becomes readable at SIGTERM
        self.terminated = False
        self._poll = select.epoll()  # poll(2) would look at thousands of blocks in each turn
        self._end_by: float | None = None

    # ---- opening

    def _open(self) -> list[int]:
        """Listen on the unix socket and, with addresses, on TCP. Returns the TCP ports. Raises PortError."""
        if self._config.local_path:
            if self._config.local_fd >= 0:
                self._local_listener = socket.socket(fileno=self._config.local_fd)
            else:
                self._local_listener = listen_locally(self._config.local_path)
            self._local_listener.setblocking(False)
            self._poll.register(self._local_listener, _IN)
        self._open_control()
        self._signals = _signal_pipe()
        self._poll.register(self._signals, _IN)
        if self._config.addresses:
            self._tcp_listener = Listener(self._config)
            for fd in self._tcp_listener.filenos():
                self._poll.register(fd, _IN)
        self._watch_lifelines()
        return self._tcp_listener.ports if self._tcp_listener else []

    def _open_control(self) -> None:
        if not self._config.control_path:
            return
        try:
            self._control = Control(self._config.control_path)
        except OSError as e:  # the work goes on; nobody can ask
            logger.warning("no_control path=%s reason=%r", self._config.control_path, e.strerror)
            return
        self._poll.register(self._control.listener, _IN)

    def _watch_lifelines(self) -> None:
        """Watch for the end of the executor: by its socket, and by its pid where the kernel can (Linux 5.3).

        The socket alone is not enough: a child that the executor forked may still hold it.
        """
        self._lifelines = [self._client.fileno()]
        if self._config.parent_pid:
            try:
                self._lifelines.append(os.pidfd_open(self._config.parent_pid))
            except ProcessLookupError:
                self._stop()
            except OSError as e:
                logger.info("executor_watched_by_its_socket_only reason=%r", e.strerror)
        for fd in self._lifelines:
            self._poll.register(fd, _IN)
        if self._submits:
            self._poll.register(self._submits, _IN)

    def _executor_gone(self) -> None:
        logger.warning("executor_gone")
        for fd in self._lifelines:
            self._poll.unregister(fd)
        self._lifelines = []
        self._stop()

    def _terminate(self) -> None:
        """End at once. If we stopped the blocks first, Parsl would see them end and launch new ones."""
        logger.warning("terminated signal=SIGTERM")
        self.terminated = True
        self._end_by = time.monotonic()

    def _stop(self) -> None:
        if self._end_by is None:
            self._end_by = time.monotonic() + STOP_TIMEOUT_S
            self._core.on_request(time.monotonic(), 0, commands.Shutdown())

    # ---- out

    def _do(self, effects: list[core.Effect]) -> None:
        for effect in effects:
            match effect:
                case core.ToClient():
                    self._send(self._client, [effect.head, *effect.payload])
                case core.ToBlock():
                    self._send_to_block(effect.peer, [effect.head, *effect.payload])
                case commands.Admit():
                    if self._tcp_listener:
                        self._tcp_listener.admit(effect.block_id, effect.public_key)
                case core.Forget():
                    self._forget(effect.peer)
                case core.End():
                    self._end_by = time.monotonic()

    def _send(self, stream: Stream, parts: list[wire.Buffer]) -> None:
        if not stream.ended and not stream.send(parts) and stream.fileno() not in self._writing:
            self._writing.add(stream.fileno())
            self._poll.modify(stream, _IN | _OUT)

    def _send_to_block(self, peer: core.Peer, parts: list[wire.Buffer]) -> None:
        if isinstance(peer, Stream):
            self._send(peer, parts)
        elif isinstance(peer, Peer) and self._tcp_listener and not self._tcp_listener.send(peer, parts):
            self._ended.setdefault(peer, time.monotonic())

    def _flush(self, stream: Stream) -> None:
        if stream.flush():
            self._writing.discard(stream.fileno())
            self._poll.modify(stream, _IN)

    def _forget(self, peer: core.Peer) -> None:
        if isinstance(peer, Stream) and peer.fileno() in self._local_blocks:
            del self._local_blocks[peer.fileno()]
            self._writing.discard(peer.fileno())
            self._poll.unregister(peer)
            peer.close()
        elif isinstance(peer, Peer) and self._tcp_listener:
            self._tcp_listener.forget(peer)

    # ---- in

    def _from_client(self, messages: list[tuple[bytes, Frames]]) -> None:
        for head, payload in messages:
            now = time.monotonic()
            try:
                message = wire.decode(head, payload.length)
                match message:
                    case wire.Tasks():
                        self._core.on_tasks(message, payload)
                    case wire.Cancel():
                        self._core.on_cancel(message)
                    case wire.Request():
                        request = commands.read_request(payload)
                        if isinstance(request, commands.Status):
                            self._read_local_blocks()
                        self._core.on_request(now, message.number, request)
                    case _:
                        logger.error("message_unexpected from=executor type=%s", message.type.name)
            except ValueError as e:  # a WireError is one
                logger.error("message_bad from=executor error=%s", e)
        if self._client.error:
            logger.error("message_bad from=executor error=%s", self._client.error)
        if self._client.ended and self._lifelines:
            self._executor_gone()

    def _take_submits(self) -> None:
        """Single tasks, each sent by the thread that submitted it, when no other task was open."""
        if self._submits is None:
            return
        messages = self._submits.receive()
        if self._submits.ended or self._submits.error:
            self._poll.unregister(self._submits)
            self._submits.close()
            self._submits = None
        self._from_client(messages)

    def _accept(self) -> None:
        assert self._local_listener
        for _ in range(AT_A_TIME):
            try:
                sock, _ = self._local_listener.accept()
            except OSError:  # no more connections, or this one has closed
                return
            _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.geteuid():  # only root can pass our private directory
                logger.warning("peer_refused from='this host' reason='user %d, not ours'", uid)
                sock.close()
                continue
            stream = Stream(sock, self._buffer)
            self._local_blocks[stream.fileno()] = stream
            self._poll.register(stream, _IN)

    def _read_local_blocks(self) -> None:
        """Read what blocks of this host have sent: it counts for the answer that follows. A block may have connected,
        said why it fails, and ended before this process looked. Who sees its launcher end asks whether it came up."""
        if self._local_listener:
            self._accept()
        for fd, stream in list(self._local_blocks.items()):
            if self._local_blocks.get(fd) is stream:
                self._from_local_block(stream)

    def _from_local_block(self, stream: Stream) -> None:
        try:
            for head, payload in stream.receive():
                self._take(stream, wire.decode(head, payload.length), payload)
            if stream.error:
                raise stream.error
        except wire.WireError as e:
            self._bad(stream, "this host", e)
        else:
            if stream.ended:
                self._core.on_lost(stream, "its connection has ended")
                self._forget(stream)

    def _from_tcp(self, listener: Listener) -> None:
        """Read TCP messages, then report connections that closed: what they sent before is read first."""
        now = time.monotonic()
        for peer in listener.ended(AT_A_TIME):
            self._ended.setdefault(peer, now)
        over = [peer for peer, since in self._ended.items() if now - since > UNREAD_S]
        for _ in range(AT_A_TIME):
            received = listener.receive()
            if received is None:
                over = list(self._ended)
                break
            peer, head, payload = received
            try:
                if head is None:
                    raise wire.WireError("SHORT", "no frame at all")
                message = wire.decode(head.buffer, payload.length)
                if isinstance(message, wire.Register):
                    for other in listener.ended():  # the descriptor may be reused for this connection
                        self._ended.setdefault(other, now)
                    listener.remember(peer, head)
                self._take(peer, message, payload)
            except wire.WireError as e:
                self._bad(peer, address_of(head), e)
                if head is not None:
                    listener.send(peer, [wire.Stop(now=True).head()])  # in case it is a block of this run
                    listener.exclude(peer, head)
        for peer in over:
            del self._ended[peer]
            self._core.on_lost(peer, "its connection has ended")

    def _bad(self, peer: core.Peer, address: str, error: wire.WireError) -> None:
        """A peer that sends bytes that are no message loses its connection. Nothing else is affected."""
        logger.warning("message_bad from=%s error=%s", address, error)
        self._core.on_lost(peer, f"it sent bytes that are no message ({error})")
        self._forget(peer)

    def _take(self, peer: core.Peer, message: wire.Message, payload: Frames) -> None:
        now = time.monotonic()
        if not self._core.knows(peer):
            if isinstance(message, wire.Register):
                self._core.on_register(now, peer, message, owner=peer.owner if isinstance(peer, Peer) else "")
            else:
                self._core.on_unregistered(peer, message)
            return
        self._core.on_heard(now, peer)
        match message:
            case wire.Results():
                self._core.on_results(now, peer, message, payload)
            case wire.Credit():
                self._core.on_credit(peer, message)
            case wire.Tasks():
                self._core.on_tasks_back(peer, message, payload)
            case wire.Started():
                self._core.on_started(message)
            case wire.RankLost():
                self._core.on_rank_lost(peer, message)
            case wire.Bye():
                self._core.on_bye(peer, message, bytes(payload.one(0, payload.length)))
            case wire.Heartbeat():
                self._core.on_heartbeat(now, peer, message)
            case _:
                self._core.on_lost(peer, f"it sent {message.type.name}, which no block may send")

    # ---- people who ask

    def _accept_control(self, control: Control) -> None:
        stream = control.accept()
        if stream:
            self._poll.register(stream, _IN)

    def _serve_control(self, control: Control, stream: Stream, events: int) -> None:
        if events & _OUT:
            self._flush(stream)
        if events & ~_OUT:
            try:
                for head, payload in stream.receive():
                    number, request = Control.request_of(head, payload)
                    self._send(stream, Control.reply(number, self._answer(request)))
                if not (stream.error or stream.ended):
                    return
            except ValueError as e:
                logger.warning("message_bad from='control socket' error=%s", e)
            del control.clients[stream.fileno()]
            self._writing.discard(stream.fileno())
            self._poll.unregister(stream)
            stream.close()

    def _answer(self, request: commands.Request) -> commands.Reply:
        """Raises ValueError for a request that is not for the control socket."""
        now = time.monotonic()
        if isinstance(request, commands.EndRun):
            logger.warning("stop_asked")
            self._send_event(commands.StopAsked(os.geteuid()))
            self._stop()
            return commands.Done()
        reply = self._core.answer(now, commands.Status() if isinstance(request, commands.Look) else request)
        if isinstance(request, commands.Look) and isinstance(reply, commands.StatusReply):
            run = {**self._about, "seconds": now - self._began, "record_path": self._config.record_path}
            return commands.LookReply(run, reply)
        if reply is None:
            raise ValueError(f"{request.name} is not for the control socket")
        return reply

    # ---- the loop

    def run(self, early: list[tuple[bytes, Frames]]) -> None:
        """Run until the interchange is over. ``early``: messages that arrived together with the configuration."""
        try:
            ports = self._open()
        except PortError as e:
            self._send_event(commands.CannotListen(str(e)))
            return
        self._send_event(commands.Listening(ports))
        self._take_submits()  # what was sent there came before
        self._from_client(early)
        logger.info("listening path=%s ports=%s", self._config.local_path, ports)
        try:
            while self._end_by is None or time.monotonic() < self._end_by:
                self._turn()
        finally:
            self._close()
            logger.info("over")

    def _turn(self) -> None:
        for fd, events in self._poll.poll(self._poll_timeout_s()):
            if fd == self._client.fileno():
                self._serve(self._client, events)
            elif self._submits and fd == self._submits.fileno():
                self._take_submits()
            elif fd in self._local_blocks:
                self._serve(self._local_blocks[fd], events)
            elif self._local_listener and fd == self._local_listener.fileno():
                self._accept()
            elif self._control and fd == self._control.listener.fileno():
                self._accept_control(self._control)
            elif self._control and fd in self._control.clients:
                self._serve_control(self._control, self._control.clients[fd], events)
            elif fd == self._signals:
                self._terminate()
            elif fd in self._lifelines:
                self._executor_gone()
        if self._tcp_listener:
            self._from_tcp(self._tcp_listener)
        now = time.monotonic()
        if now >= self._core.deadline():
            self._core.on_tick(now)
        self._do(self._core.settle(now))
        if self._recorder and self._record:
            self._record.write(self._recorder.take())

    def _serve(self, stream: Stream, events: int) -> None:
        if events & _OUT:
            self._flush(stream)
        if events & ~_OUT:
            if stream is self._client:
                messages = stream.receive()
                self._take_submits()  # what was sent there came before these
                self._from_client(messages)
            else:
                self._from_local_block(stream)

    def _poll_timeout_s(self) -> float:
        if self._core.unsettled or self._ended or (self._tcp_listener and self._tcp_listener.readable()):
            return 0
        until = self._core.deadline() if self._end_by is None else min(self._core.deadline(), self._end_by)
        record_by_us = self._recorder.deadline_us() if self._recorder else None
        if record_by_us is not None:
            until = min(until, record_by_us / 1e6)
        return max(0.0, until - time.monotonic())

    def _send_event(self, event: commands.Event) -> None:
        data = commands.dumps(event)
        self._send(self._client, [wire.Event(len(data)).head(), data])

    def _let_client_read(self) -> None:
        """Wait until the client has read our last message, the reply to Shutdown, for STOP_TIMEOUT_S at most."""
        until = time.monotonic() + STOP_TIMEOUT_S
        poll = select.poll()
        poll.register(self._client, select.POLLOUT)
        while not self._client.flush() and time.monotonic() < until:
            poll.poll(max(0.0, until - time.monotonic()) * 1000)

    def _close(self) -> None:
        if self._recorder and self._record:
            self._recorder.end()
            self._record.write(self._recorder.take())
            self._record.close()
        if self._control:
            self._control.close()
        self._let_client_read()
        for stream in self._local_blocks.values():
            stream.close()
        if self._local_listener:
            self._local_listener.close()
        if self._tcp_listener:
            self._tcp_listener.close()


def _open_record(config: commands.Config, about: dict[str, Any]) -> tuple[Recorder | None, RecordFile | None]:
    """Nothing for a run that wants no record, or cannot have one: the work goes on without."""
    if not config.record_path:
        return None, None
    try:
        file = RecordFile(config.record_path)
    except OSError as e:
        logger.warning("no_record path=%s reason=%r", config.record_path, e.strerror)
        return None, None
    recorder = Recorder(lambda: time.monotonic_ns() // 1000)
    recorder.event("run", **about)
    return recorder, file


def _about(config: commands.Config) -> dict[str, Any]:
    """What a record and those who ask are told of the run."""
    return {
        "run_id": config.run_id or f"pid-{config.parent_pid}",  # Parsl gives none to an executor that runs without it
        "unix": time.time(),
        "host": socket.gethostname(),
        "user": os.geteuid(),
        "pid": config.parent_pid,
        "interchange_pid": os.getpid(),
        "xse_version": config.xse_version,
        "python_version": config.python_version,
        "log_dir": config.log_dir,
        "control_path": config.control_path,
        **config.run_info,
    }


def _signal_pipe() -> int:
    """Returns a descriptor that becomes readable at SIGTERM. SIGINT is ignored: the script gets it and stops us."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable
