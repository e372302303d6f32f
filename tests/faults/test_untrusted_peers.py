"""Rows 15 and 16: what an untrusted peer sends harms nobody, gets no answer, and leaves one line in the log."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from tests.support import untrusted_peers
from tests.support.by_hand import ByHand
from tests.support.processes import process
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor, ManagerLost
from xse.wire import messages as wire

REFUSALS = (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_DISCONNECTED)


class Others:
    """Somebody else's tasks, one after the other, as long as an attack lasts."""

    def __init__(self, executor: ExtremeScaleExecutor) -> None:
        self._executor = executor
        self._over = threading.Event()
        self._n = 0
        self.lost: list[ManagerLost] = []
        self.may_lose = 0  # where it is the attacked block itself that runs one of them
        self._wrong: list[object] = []
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                if self._executor.submit(sample.double, {}, self._n).result(60) != 2 * self._n:
                    self._wrong.append(self._n)
            except ManagerLost as e:
                self.lost.append(e)
            except Exception as e:
                self._wrong.append(e)
                return
            self._n += 1

    def go_on(self) -> None:
        """Fifty more are done."""
        aim = self._n + 50
        eventually(lambda: self._wrong or self._n >= aim, "others' tasks go on", 60, lambda: self._n)
        assert not self._wrong

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert not self._wrong
        assert len(self.lost) <= self.may_lose


@pytest.fixture
def others(by_hand: ByHand) -> Iterator[Others]:
    with Others(by_hand.executor) as others:
        others.go_on()
        yield others


# ---- row 16: without the right key


def dress_as(who: str, world: ByHand) -> Callable[[Any], None]:
    fields = world.fields()
    match who:
        case "plain ZeroMQ":
            return untrusted_peers.plain
        case "a password":
            return untrusted_peers.password
        case "a key of its own":
            return untrusted_peers.key_of_its_own(fields["server_key"])
        case "another's public key":  # a pool's, which its own secret does not fit
            return untrusted_peers.with_keys(
                fields["server_key"], fields["public_key"].encode(), zmq.curve_keypair()[1]
            )
        case "the wrong server":
            return untrusted_peers.wrong_server_key(fields["public_key"], fields["secret_key"])
        case _:
            raise ValueError(who)


def turned_away(monitor: Any) -> bool:
    while monitor.poll(0):
        event = recv_monitor_message(monitor)
        assert event["event"] != zmq.EVENT_HANDSHAKE_SUCCEEDED
        if event["event"] in REFUSALS:
            return True
    return False


@pytest.mark.row(16)
@pytest.mark.parametrize(
    "who", ["plain ZeroMQ", "a password", "a key of its own", "another's public key", "the wrong server"]
)
def test_zeromq_without_the_right_key_gets_no_word_in(
    by_hand: ByHand, others: Others, context: zmq.Context[Any], who: str, took: Took
) -> None:
    dress = dress_as(who, by_hand)
    sock = context.socket(zmq.DEALER)
    sock.linger = 0
    dress(sock)
    monitor = sock.get_monitor_socket()
    if who == "another's public key":  # libzmq of that client waits for an answer that never comes
        sock.connect(by_hand.endpoint)
        sock.send(b"hello?")
    else:
        with took("turned away"):
            sock.connect(by_hand.endpoint)
            sock.send(b"hello?")
            eventually(lambda: turned_away(monitor), "the peer is turned away")
    others.go_on()
    sock.close()
    eventually(lambda: by_hand.lines("peer_refused"), "a line in the log")
    others.go_on()
    reported_once(by_hand)
    assert not by_hand.lines("message_bad")
    assert len(by_hand.lines("block_down")) == 0


def reported_once(world: ByHand) -> None:
    """A client of ZeroMQ's comes again and again, and may be turned away for one reason now and another then."""
    reasons = [line.partition("reason=")[2] for line in world.lines("peer_refused")]
    assert reasons
    assert len(set(reasons)) == len(reasons)


@pytest.mark.row(16)
def test_a_key_of_another_run_is_refused(
    by_hand: ByHand, others: Others, context: zmq.Context[Any], tmp_path: Path
) -> None:
    other_run = ByHand(tmp_path / "other")
    try:
        foreign = other_run.fields()
        dress = untrusted_peers.with_keys(
            by_hand.fields()["server_key"], foreign["public_key"].encode(), foreign["secret_key"].encode()
        )
        peer = untrusted_peers.connect(context, by_hand.endpoint, dress)
        eventually(lambda: by_hand.lines("peer_refused", "no key of this run"), "a line in the log")
        others.go_on()
        peer.close()
        assert len(by_hand.lines("peer_refused")) == 1
    finally:
        other_run.end()


@pytest.mark.row(16)
def test_a_block_may_not_call_itself_by_anothers_name(
    by_hand: ByHand, others: Others, context: zmq.Context[Any]
) -> None:
    by_hand.start_pool("0")
    for n, claimed in enumerate(("0", "2", "hand-1"), start=1):
        sock = by_hand.friend(context, "1")
        sock.send(hello(claimed).head())
        assert sock.poll(20_000)
        answer = wire.decode(sock.recv(), 0)
        assert isinstance(answer, wire.Refuse)
        assert answer.code == wire.RefuseCode.BLOCK
        assert answer.reason == f"it has the key of block 1 and registers as block {claimed}"
        assert len(by_hand.lines("block_refused")) == n
        sock.close()
    others.go_on()
    sock = by_hand.friend(context, "1")
    sock.send(hello("1").head())
    assert isinstance(decoded(sock.recv_multipart()), wire.Welcome)


@pytest.mark.row(16)
def test_a_connection_that_takes_anothers_zeromq_identity_is_not_taken_for_it(
    by_hand: ByHand, others: Others, context: zmq.Context[Any]
) -> None:
    one = by_hand.friend(context, "1", identity=b"same")
    one.send(hello("1").head())
    assert isinstance(decoded(one.recv_multipart()), wire.Welcome)
    one.send(wire.Credit(5, 0, 0).head())
    connected = lambda: {m["block_id"] for m in by_hand.executor.connected_managers()}  # noqa: E731
    assert "1" in connected()
    two = by_hand.friend(context, "2", identity=b"same")
    two.send(wire.Bye(wire.ByeCode.ASKED, "go away", 0).head())  # were it believed, block 1 would be gone
    two.send(hello("2").head())
    others.go_on()
    assert "1" in connected()
    assert not by_hand.lines("block_down block=1")


def decoded(frames: list[bytes]) -> wire.Message:
    """A message: a frame with its head, and frames with its payload."""
    head, *payload = frames
    return wire.decode(head, sum(map(len, payload)))


def hello(block: str) -> wire.Register:
    node = wire.NodeEntry(rank=0, pid=1, n_workers=0, n_cores=1, memory=0, host="somewhere")
    version = ".".join(map(str, sys.version_info[:3]))
    return wire.Register(block, "0123456789ab", xse_version(), version, "no MPI", "4.3.5", (node,))


def xse_version() -> str:
    from xse.version import VERSION

    return VERSION


@pytest.mark.row(16)
def test_a_pool_speaks_to_no_other_interchange(any_mpi: str, tmp_path: Path, context: zmq.Context[Any]) -> None:
    """One that has come to its address, say, and does not have its key."""
    world = ByHand(tmp_path, address_probe_timeout=5)
    impostor = context.socket(zmq.ROUTER)
    impostor.linger = 0
    impostor.curve_server = True
    impostor.curve_publickey, impostor.curve_secretkey = zmq.curve_keypair()
    port = impostor.bind_to_random_port("tcp://127.0.0.1")
    pool = world.spawn_pool(endpoint=f"tcp://127.0.0.1:{port}", stderr=subprocess.PIPE)
    _, said = pool.communicate(timeout=60)
    assert b"cannot reach the interchange" in said
    assert not impostor.poll(0)
    world.executor.shutdown()
    assert pool.returncode != 0


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")

SILENT_LISTENER = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listens", flush=True)
peer, _ = server.accept()
print(len(peer.recv(100)), flush=True)
"""


@pytest.mark.row(16)
@needs_root
def test_a_pool_does_not_speak_to_another_users_unix_socket(any_mpi: str, tmp_path: Path) -> None:
    """On a host of the block somebody may have made what lies at our socket's path on the interchange's host."""
    world = ByHand(tmp_path)
    directory = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    directory.chmod(0o777)
    path = directory / "pools"
    command = [sys.executable, "-c", SILENT_LISTENER, str(path), str(untrusted_peers.user_nobody())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout
        assert listener.stdout.readline() == "listens\n"
        world.start_pool(endpoint=f"unix://{path}\nendpoint {world.endpoint}")
        assert world.works()
        assert listener.stdout.readline() == "0\n"
    assert world.end() == [0]
    path.unlink()
    directory.rmdir()


@pytest.mark.row(16)
@needs_root
def test_another_users_process_that_gets_at_the_unix_socket_is_sent_away(by_hand: ByHand, others: Others) -> None:
    scratch = Path(by_hand.executor._scratch)
    assert scratch.stat().st_mode & 0o777 == 0o700
    scratch.chmod(0o777)
    (scratch / "pools").chmod(0o777)
    code = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
print(sock.recv(1))
"""
    command = [sys.executable, "-c", code, str(scratch / "pools"), str(untrusted_peers.user_nobody())]
    assert subprocess.check_output(command, text=True, timeout=20) == "b''\n"
    others.go_on()
    assert len(by_hand.lines("peer_refused from='this host' reason='user 65534, not ours'")) == 1


# ---- row 15: bytes that are not ours


@pytest.mark.row(15)
@pytest.mark.parametrize("what", untrusted_peers.RUBBISH)
def test_rubbish_on_the_port_harms_nobody(by_hand: ByHand, others: Others, what: str) -> None:
    sock = untrusted_peers.send_rubbish(by_hand.port, untrusted_peers.RUBBISH[what])
    others.go_on()
    sock.close()
    eventually(lambda: by_hand.lines("peer_refused"), "a line in the log", seen=by_hand.log.read_text)
    others.go_on()
    assert len(by_hand.lines("peer_refused")) == 1


@pytest.mark.row(15)
def test_http_is_cut_off(by_hand: ByHand, took: Took) -> None:
    with took("HTTP is cut off"):
        sock = untrusted_peers.send_rubbish(by_hand.port, untrusted_peers.RUBBISH["http"])
        untrusted_peers.wait_until_cut_off(sock)
    sock.close()
    assert by_hand.works()


@pytest.mark.row(15)
def test_frames_of_nonsense_with_the_right_key_end_their_own_connection_alone(
    by_hand: ByHand, others: Others, context: zmq.Context[Any], took: Took
) -> None:
    for n, frames in enumerate(
        (
            [b""],
            [b"nonsense"],
            [b"xse\1" + bytes(20)],
            [b"xse\2" + bytes(20)],
            [bytes(7 * i % 251 for i in range(j, j + 100)) for j in range(30)],
            [b"xse\1\2\0\0\0\x18\0\0\0\1\0\0\0" + bytes(8)],
        ),
        start=1,
    ):
        sock = by_hand.friend(context)
        with took("who talks nonsense gets STOP"):
            for _ in range(100):
                sock.send_multipart(frames)
            assert sock.poll(20_000)
        assert wire.decode(sock.recv(), 0) == wire.Stop(now=True)
        eventually(lambda: len(by_hand.lines("message_bad from=127.0.0.1")) >= n, "a line in the log")
        others.go_on()
        sock.close()
        assert len(by_hand.lines("message_bad from=127.0.0.1")) == n


@pytest.mark.row(15)
def test_a_frame_over_the_limit_takes_no_memory(by_hand: ByHand, others: Others) -> None:
    """Of somebody who has not proved anything yet, and goes on sending."""
    pid = by_hand.executor._client.interchange_pid  # type: ignore[union-attr]
    before = resident(pid)
    frame = b"\x06" + (1 << 34).to_bytes(8, "big")
    sock = untrusted_peers.send_rubbish(by_hand.port, untrusted_peers.GREETING + frame)
    with pytest.raises(OSError):  # noqa: PT011, whichever way the connection is cut
        for _ in range(1024):
            sock.sendall(bytes(1 << 20))
    sock.close()
    others.go_on()
    assert resident(pid) - before < 64 << 20


def resident(pid: int | None) -> int:
    """Bytes."""
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) << 10


CROWD = 10_000


@pytest.mark.row(15)
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CROWD + 500, reason=f"needs {CROWD + 500} descriptors a process"
)
def test_ten_thousand_connections_that_say_nothing_keep_nobody_out(by_hand: ByHand, others: Others, took: Took) -> None:
    crowd = untrusted_peers.Crowd(by_hand.port, CROWD)
    try:
        crowd.wait("open")
        with took("10,000 who say nothing are cut off"):
            others.go_on()
            by_hand.start_pool()
            others.go_on()
            crowd.wait("closed")
    finally:
        crowd.end()
    others.go_on()

    def reported() -> int:
        counted = re.findall(r"peers_refused more=(\d+)", by_hand.log.read_text())
        return len(by_hand.lines("peer_refused")) + sum(map(int, counted))

    eventually(lambda: reported() == CROWD, "all of them are logged", 40, reported)
    assert len(by_hand.lines("peer_refused")) < CROWD / 100


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("name", "tamper"),
    [
        ("replayed", lambda frames: [frames[0], frames[0], frames[1]]),
        ("reordered", lambda frames: frames[::-1]),
        ("altered", lambda frames: [untrusted_peers.altered(frames[0]), frames[1]]),
        ("left out", lambda frames: [b"\0\0", frames[1]]),
    ],
)
def test_a_connection_whose_frames_are_tampered_with_ends(
    by_hand: ByHand, others: Others, name: str, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    others.may_lose = 1
    between = untrusted_peers.Middleman(by_hand.port)
    try:
        by_hand.start_pool(endpoint=between.endpoint)
        assert len(by_hand.executor.connected_managers()) == 2
        between.tamper(tamper)
        futures = [by_hand.executor.submit(sample.double, {}, i) for i in range(100)]
        while not between.tampered.wait(0.01):
            futures += [by_hand.executor.submit(sample.double, {}, i) for i in range(100)]
        eventually(lambda: len(by_hand.executor.connected_managers()) == 1, "its block is lost")
        for i, future in enumerate(futures):
            error = future.exception(20)
            assert isinstance(error, ManagerLost) or future.result() == 2 * (i % 100)
    finally:
        between.end()
    eventually(lambda: by_hand.lines("block_down", "code=-1"), "a line in the log")
    by_hand.pools.pop().wait(20)
    assert len(by_hand.lines("block_down", "code=-1")) == 1


@pytest.mark.row(16)
def test_a_whole_conversation_cannot_be_had_again(by_hand: ByHand, others: Others) -> None:
    others.may_lose = 1
    between = untrusted_peers.Middleman(by_hand.port)
    try:
        by_hand.start_pool(endpoint=between.endpoint)
        assert all(by_hand.works() for _ in range(20))
        with socket.create_connection(("127.0.0.1", by_hand.port)) as again:
            again.sendall(between.recorded)
            again.shutdown(socket.SHUT_WR)
            again.settimeout(30)
            while again.recv(65_536):  # its greeting, and then the end
                pass
        others.go_on()
        assert len(by_hand.executor.connected_managers()) == 2
        eventually(lambda: by_hand.lines("peer_refused"), "a line in the log")
        assert len(by_hand.lines("peer_refused")) == 1
    finally:
        between.end()
        by_hand.pools[-1].wait(20)
    assert process(by_hand.pools[0].pid)
