"""Keeps the block of a PoolExecutor running: launches it, launches it anew when it is lost, and gives up with a reason.

It knows nothing of the executor, so that one that nobody holds any more can be collected. It works in the client's
events thread; ``launch_no_more`` and ``end`` are for who ends the pool.
"""

from __future__ import annotations

import base64
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xse import launch
from xse.client.client import Client
from xse.client.future import load_result
from xse.errors import BrokenPool, LaunchError, XseError
from xse.functions.segments import VARIABLE
from xse.launch.keys import BlockKeys, ServerKeys, new_block_keys
from xse.launch.options import PoolOptions
from xse.launch.placement import Placement
from xse.launch.probe import unreachable
from xse.pool.hosts import Hosts
from xse.pool.local_block import LocalBlock
from xse.wire import commands
from xse.wire.messages import Status

logger = logging.getLogger(__name__)

SHORT_LIFE_S = 10.0  # a block that was lost so soon after it was ready counts as a failed start
MOST_FAILED_STARTS = 3  # in a row: then the pool is broken
GONE_S = 5.0  # Open MPI's mpiexec takes two to end when a rank has failed, and crashes when it is told to meanwhile
LOOK_S = 10.0  # a block of several hosts that has not come up: then its hosts are asked whether they answer
RETRY_S = 1.0  # before a block that could not be started anew is tried again; then twice as long each time


@dataclass(frozen=True)
class Plan:
    """How a block of this pool is launched."""

    command: Callable[[Placement], list[str]]  # launcher and xse-pool, to which ``--connect FILE`` is added
    placement: Placement
    asked_workers: int | None  # of all ranks together; None: as many as fit
    probe: Callable[[str], list[str]] | None  # the launcher's words for one host; None: it cannot be asked
    directory: str  # for connect files
    run_id: str
    options: PoolOptions
    endpoints: Callable[[list[int]], list[str]]  # of the interchange, from its ports
    keys: ServerKeys | None  # None: not encrypted
    segments: str | None  # directory; None: there are none
    local: bool  # blocks come by the unix socket alone
    start_timeout: float | None  # seconds for a block to come up; None: it may wait in a queue


class Keeper:
    """``on_event`` is for the client to call, in its events thread. Set ``client`` before that."""

    client: Client

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._over = False
        self.blocks: dict[str, LocalBlock] = {}
        self._ports: list[int] = []
        self._ever_up: set[str] = set()
        self._gone: set[str] = set()  # blocks that were lost, or failed: their launchers end by themselves
        self._ready_since: dict[str, float] = {}
        self._n_failed_starts = 0
        self._ever_worked = False
        self._too_late: set[str] = set()  # blocks that were given up before they came up
        self.lost_ranks: list[str] = []  # why ranks have failed whose blocks went on without them
        self._hosts = Hosts(plan.placement.hosts if plan.probe else ())
        self._looking_later = False
        self._elsewhere = False  # a rank was seen on another host
        self.all_here = False  # every rank is on this host

    def on_event(self, event: commands.Event) -> None:
        """What the interchange tells of blocks."""
        match event:
            case commands.Listening():
                self._ports = event.ports
                if not self._plan.local:
                    self._launch()
            case commands.CannotListen():
                self.client.fail_all(LaunchError(event.reason))
            case commands.BlockUp():
                self._ever_up.add(event.block_id)
                self._elsewhere = self._elsewhere or any(host != os.uname().nodename for host in event.hosts)
                self.all_here = not self._elsewhere
                self._compare(event)
            case commands.BlockReady():
                self._ready_since[event.block_id] = time.monotonic()
                self._ever_worked = True
            case commands.RankLost():
                self.lost_ranks.append(event.reason)
                logger.warning("rank_lost block=%s reason=%r: the block goes on", event.block_id, event.reason)
            case commands.BlockDown():
                if not self._over:
                    self._block_down(event)

    def start(self) -> None:
        """Launch the first block. A block of this host need not wait for the interchange: the unix socket is there, and
        both start side by side. Others need the interchange's ports, and keys that it admits."""
        if self._plan.local:
            self.client.events.put(self._launch)

    def launch_no_more(self) -> None:
        """The pool is ending: a block that goes now was told to."""
        self._over = True
        for block_id, block in list(self.blocks.items()):
            if block_id not in self._ever_up:
                block.mute()

    def kill(self) -> None:
        """Kill what runs; ``end`` waits for it."""
        self.launch_no_more()
        for block in list(self.blocks.values()):
            block.kill()

    def end(self, timeout: float) -> None:
        """Wait for blocks that were told to end, and end those that do not, in ``timeout`` seconds or little more."""
        for block_id, block in list(self.blocks.items()):
            if block_id in self._gone:
                block.end(GONE_S)
            else:
                block.end(timeout if block_id in self._ever_up else 0.0)  # nobody has told one that never came up

    def _compare(self, event: commands.BlockUp) -> None:
        """A launcher may start fewer ranks than it was asked for, or all on one host, without a word."""
        asked = self._plan.asked_workers
        if self._hosts.left_out or len(self._ever_up) > 1:  # those who are missing have been told
            return
        told = self._plan.placement.shortfall(event.hosts, sum(event.n_workers), asked)
        if told:
            logger.warning("block_smaller block=%s reason=%r", event.block_id, told)

    def _launch(self) -> None:
        """Launch a block on every host that answers and has none."""
        if self._over:
            return
        placement = self._plan.placement
        if self._plan.probe:
            hosts = self._hosts.usable()
            if not hosts:
                return
            placement = placement.on(hosts)
        block_id = str(len(self.blocks))
        connect = os.path.join(self._plan.directory, f"block-{block_id}.connect")
        command = [*self._plan.command(placement), "--connect", connect]
        record = os.path.join(self._plan.directory, "environment")
        try:
            launch.write_record(record, launch.outside(os.environ))
            launch.write_connect_file(
                connect,
                run=self._plan.run_id,
                block=block_id,
                endpoints=self._plan.endpoints(self._ports),
                keys=self._new_keys(block_id),
                options=replace(self._plan.options, environment=record, ranks=placement.n_ranks),
            )
            logger.info("block_launch block=%s command=%s", block_id, shlex.join(command))
            self.blocks[block_id] = LocalBlock(
                command,
                {VARIABLE: self._plan.segments},
                one_host=self._plan.local,
                on_exit=lambda code: self.client.events.put(lambda: self._exited(block_id, code)),
            )
        except Exception as e:  # whatever it is: somebody waits for this block
            self.client.fail_all(LaunchError(f"the pool cannot be launched: {e}"))
            return
        if self._plan.probe:
            self._hosts.block_started(block_id, placement.hosts)
            self.client.events.put_later(LOOK_S, lambda: self._look_at_slow(block_id))
        if self._plan.start_timeout is not None:
            self.client.events.put_later(self._plan.start_timeout, lambda: self._too_slow(block_id))

    # ---- hosts that do not answer

    def _look(self, hosts: Sequence[str], then: Callable[[], None]) -> None:
        """Ask which of them answer, in a thread: it takes seconds."""
        probe = self._plan.probe
        assert probe

        def ask() -> None:
            found = unreachable(hosts, probe)
            self.client.events.put(lambda: self._looked(hosts, found, then))

        threading.Thread(target=ask, name="xse-hosts", daemon=True).start()

    def _looked(self, hosts: Sequence[str], found: dict[str, str], then: Callable[[], None]) -> None:
        if self._over:
            return
        lost, back = self._hosts.looked(hosts, found)
        if lost:
            reasons = "; ".join(f"{host}: {self._hosts.left_out[host]}" for host in lost)
            logger.warning("hosts_left_out hosts=%s reason=%r", ",".join(lost), reasons)
            self._look_later()
        if back:
            logger.warning("hosts_back hosts=%s", ",".join(back))
        then()

    def _look_later(self) -> None:
        """Nothing tells that a host is back: those that were left out are asked now and then."""
        seconds = self._hosts.look_again_s()
        if seconds is not None and not self._looking_later:
            self._looking_later = True
            self.client.events.put_later(seconds, self._look_again)

    def _look_again(self) -> None:
        def then() -> None:
            self._looking_later = False
            self._launch()
            self._look_later()

        if not self._over:
            self._look(list(self._hosts.left_out), then)

    def _look_at_slow(self, block_id: str) -> None:
        """A block that is long in coming: mpiexec may wait for a host that does not answer."""

        def then() -> None:
            silent = any(host in self._hosts.left_out for host in self._hosts.hosts_of(block_id))
            if silent and block_id not in self._ever_up:
                self.blocks[block_id].end(0.0)  # which _exited tells of

        if not self._over and block_id not in self._ever_up and block_id not in self._gone:
            self._look(self._hosts.hosts_of(block_id), then)

    def _failed(self, block_id: str, reason: str, otherwise: Callable[[str], None]) -> None:
        """A block was lost, or did not start. If hosts of it do not answer the pool goes on with the others."""
        self._gone.add(block_id)
        hosts = self._hosts.hosts_of(block_id)
        self._hosts.block_over(block_id)
        if not self._plan.probe:
            otherwise(reason)
            return

        def then() -> None:
            silent = [f"{host}: {self._hosts.left_out[host]}" for host in hosts if host in self._hosts.left_out]
            if not silent:
                otherwise(reason)
            elif self._hosts.all_left_out():
                otherwise("; ".join([reason, *silent]))
            else:
                self._launch()

        if any(host in self._hosts.left_out for host in hosts):  # it was ended because of that
            then()
        else:
            self._look(hosts, then)

    def _too_slow(self, block_id: str) -> None:
        """Its launcher still runs, and no pool has come: mpiexec may wait for ever for a host that does not answer."""
        if not self._over and block_id not in self._ever_up:
            self._too_late.add(block_id)
            self.blocks[block_id].end(0.0)  # which _exited tells of

    def _failed_start(self, reason: str) -> None:
        """A first block that cannot start breaks the pool. In place of one that worked others are tried, after a while:
        its node may be about to come back."""
        if not self._ever_worked:
            self.client.fail_all(BrokenPool(f"the pool is broken, for its block could not start: {reason}"))
        elif not self._too_many_failures(reason):
            seconds = RETRY_S * 2 ** (self._n_failed_starts - 1)
            logger.warning("block_failed retry_s=%g reason=%r", seconds, reason)
            self.client.events.put_later(seconds, self._launch)

    def _too_many_failures(self, reason: str) -> bool:
        self._n_failed_starts += 1
        if self._n_failed_starts < MOST_FAILED_STARTS:
            return False
        text = f"the pool is broken: {MOST_FAILED_STARTS} blocks were lost in a row, the last because {reason}"
        self.client.fail_all(BrokenPool(text))
        return True

    def _new_keys(self, block_id: str) -> BlockKeys | None:
        """The block's own, known to the interchange before the pool comes with it."""
        if self._plan.keys is None:
            return None
        keys = new_block_keys(self._plan.keys)
        self.client.request(commands.Admit(block_id, keys.public_key)).result()
        return keys

    def _block_down(self, event: commands.BlockDown) -> None:
        """A block has said BYE, or was lost. One that worked is started anew; one that never did breaks the pool."""
        since = self._ready_since.pop(event.block_id, None)
        if event.exception:
            self._gone.add(event.block_id)
            error = BrokenPool(f"the pool is broken: {event.reason}")
            _, error.__cause__ = load_result(Status.RAISED, base64.b64decode(event.exception))
            self.client.fail_all(error)
            return
        if since is None:
            self._failed(event.block_id, event.reason, self._failed_start)
            return
        logger.warning("block_lost block=%s lost_tasks=%d reason=%r", event.block_id, event.n_lost, event.reason)
        if time.monotonic() - since >= SHORT_LIFE_S:
            self._n_failed_starts = 0
            self._failed(event.block_id, event.reason, lambda _: self._launch())
        else:
            self._failed(event.block_id, event.reason, self._short_life)

    def _short_life(self, reason: str) -> None:
        if not self._too_many_failures(reason):
            self._launch()

    def _exited(self, block_id: str, code: int) -> None:
        """mpiexec has ended. If its block ever connected, the interchange has told what became of it, or will."""
        if self._over:
            return
        try:
            status = self.client.request(commands.Status()).result()
        except XseError:  # the interchange is gone: everybody has been told
            return
        assert isinstance(status, commands.StatusReply)
        if block_id not in status.ever_connected:
            tail = _reason(self.blocks[block_id].stderr_tail()) or "it wrote nothing to stderr"
            if block_id in self._too_late:
                reason = f"it had not come up after {self._plan.start_timeout:g} s (start_timeout): {tail}"
            else:
                reason = f"its launcher ended with exit code {code} before it came up: {tail}"
            self._failed(block_id, reason, self._failed_start)


def _reason(tail: str) -> str:
    """Of what launcher and ranks wrote: xse-pool's own sentences alone, where there are any, and each once."""
    own = dict.fromkeys(line for line in tail.splitlines() if line.startswith("xse-pool: "))
    return "; ".join(own) or tail
