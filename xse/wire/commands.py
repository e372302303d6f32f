"""Commands between executor and interchange, beside tasks and results: one dataclass each, sent as JSON.

docs/developers/protocol.md, 2.6. Both are Python programs of one version of xse. Even so, anything unknown is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from xse.wire.frames import Frames

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """Request: the configuration; the first message. Keys are sent this way because others can read command lines."""

    name: ClassVar[str] = "config"
    run_id: str
    local_path: str  # unix socket for blocks on this host; "": none
    xse_version: str
    python_version: str
    parent_pid: int  # the interchange ends with this process; 0: only with its socket
    addresses: list[str] = field(default_factory=list)  # to listen on by TCP; empty: no TCP
    ports: list[int] = field(default_factory=list)  # exactly these, one each
    port_range: list[int] = field(default_factory=list)  # else one from here: [low, high)
    server_key: str = ""  # CURVE, Z85; "": not encrypted
    server_secret: str = field(default="", repr=False)
    heartbeat_period_ms: int = 30_000
    heartbeat_threshold_ms: int = 120_000
    setup: str = ""  # base64 of what each worker runs first
    setup_codec: int = 0
    fill_order: str = "even"  # see core.Core
    log_dir: str = ""  # "": stderr, warnings only
    log_config: str = ""  # base64 of a pickle: Parsl's LogConfig, which formats the log
    scratch_dirs: list[str] = field(default_factory=list)  # removed when the interchange ends: sockets, connect files
    submit_fd: int = -1  # the interchange's end of a second socket, on which single tasks come; -1: there is none
    local_fd: int = -1  # the unix socket, where the executor listens on it already; -1: the interchange is to listen
    debug: bool = False
    record_path: str = ""  # of the record of this run, a new file; "": none
    control_path: str = ""  # unix socket for people who ask about this run (xse status); "": none
    run_info: dict[str, Any] = field(default_factory=dict)  # what the record says of the run; it goes in as it is


@dataclass(frozen=True)
class Listening:
    """The interchange is ready for blocks."""

    name: ClassVar[str] = "listening"
    ports: list[int]


@dataclass(frozen=True)
class CannotListen:
    """The interchange ends, because there is no free port."""

    name: ClassVar[str] = "cannot_listen"
    reason: str


@dataclass(frozen=True)
class BlockUp:
    """A block has registered."""

    name: ClassVar[str] = "block_up"
    block_id: str
    pool_id: str
    hosts: list[str]  # one for each rank
    n_cores: list[int]
    memory: list[int]  # bytes
    n_workers: list[int]
    python_version: str


@dataclass(frozen=True)
class BlockReady:
    """A block's first worker is ready."""

    name: ClassVar[str] = "block_ready"
    block_id: str
    n_workers: int


@dataclass(frozen=True)
class RankLost:
    """A rank of a block has failed; the block goes on without it. ``reason`` names the rank and its host."""

    name: ClassVar[str] = "rank_lost"
    block_id: str
    rank: int
    reason: str


@dataclass(frozen=True)
class BlockDown:
    """A block has ended. ``code`` is that of its BYE (docs/developers/protocol.md, 2.4); -1: lost without BYE."""

    name: ClassVar[str] = "block_down"
    block_id: str
    code: int
    reason: str
    n_lost: int  # tasks
    exception: str = ""  # base64, with SETUP_RAISED
    ever_ready: bool = False  # a worker of it was ready once


@dataclass(frozen=True)
class BlockInfo:
    """A connected block in a StatusReply."""

    block_id: str
    pool_id: str
    hosts: list[str]
    n_workers: int
    n_tasks: int
    idle_s: float
    held: bool
    draining: bool
    python_version: str
    lost: list[str] = field(default_factory=list)  # ranks that have failed: why, one text each


@dataclass(frozen=True)
class Status:
    """Request: the state of queue and blocks. Answered by StatusReply."""

    name: ClassVar[str] = "status"


@dataclass(frozen=True)
class StatusReply:
    name: ClassVar[str] = "status_reply"
    blocks: list[BlockInfo]
    ever_connected: list[str]
    n_queued: int
    n_dropped: int  # results that no task in flight belongs to
    n_done: int = 0  # tasks that returned a value
    n_failed: int = 0  # that raised, or were lost
    n_cancelled: int = 0
    rate: float = 0.0  # tasks that ended a second, over the last seconds
    busy_s: float = 0.0  # worker-seconds in tasks
    available_s: float = 0.0  # worker-seconds between a block's first worker and its end
    last_error: str = ""  # why a task or a block was lost, the last time


@dataclass(frozen=True)
class Look:
    """Request at the control socket: what is this run, and how is it? Answered by LookReply."""

    name: ClassVar[str] = "look"


@dataclass(frozen=True)
class LookReply:
    """``run``: as the record has it, with ``record_path`` and ``seconds`` since the run began."""

    name: ClassVar[str] = "look_reply"
    run: dict[str, Any]
    status: StatusReply


@dataclass(frozen=True)
class Explain:
    """Request at the control socket: where is this task? Answered by Explained."""

    name: ClassVar[str] = "explain"
    task_id: int


@dataclass(frozen=True)
class Explained:
    """``n_before``: tasks that the queue gives out before it; None: it does not wait there. ``block``: has the task."""

    name: ClassVar[str] = "explained"
    status: StatusReply
    n_before: int | None = None
    block: BlockInfo | None = None


@dataclass(frozen=True)
class EndRun:
    """Request at the control socket: end the run, as ``xse stop`` does. Answered by Done."""

    name: ClassVar[str] = "end_run"


@dataclass(frozen=True)
class StopAsked:
    """Somebody has asked at the control socket for the run to end, and the interchange ends."""

    name: ClassVar[str] = "stop_asked"
    user: int  # whose number that is


@dataclass(frozen=True)
class NameFunction:
    """Request: how the function of this digest (hexadecimal) is called, for the record. Not answered."""

    name: ClassVar[str] = "name_function"
    digest: str
    function: str


@dataclass(frozen=True)
class Admit:
    """Request: accept a block with this public key, as this block id ("": as any). Answered by Done."""

    name: ClassVar[str] = "admit"
    block_id: str
    public_key: str


@dataclass(frozen=True)
class Hold:
    """Request: send no more tasks to the block with this block id or pool id. Answered by Done."""

    name: ClassVar[str] = "hold"
    block_id: str


@dataclass(frozen=True)
class Stop:
    """Request: end this block. Running tasks have ``grace_ms`` to end. Answered by Done at once."""

    name: ClassVar[str] = "stop"
    block_id: str
    grace_ms: int = 0


@dataclass(frozen=True)
class Shutdown:
    """Request: end all blocks, then the interchange. Answered by Done when the blocks have ended."""

    name: ClassVar[str] = "shutdown"


@dataclass(frozen=True)
class Done:
    """Reply: done. ``found`` says whether there was such a block."""

    name: ClassVar[str] = "done"
    found: bool = True


Request = Config | Status | Look | Explain | EndRun | NameFunction | Admit | Hold | Stop | Shutdown
Reply = StatusReply | LookReply | Explained | Done
Event = Listening | CannotListen | BlockUp | BlockReady | RankLost | BlockDown | StopAsked

_TYPES: dict[str, Any] = {
    t.name: t
    for t in (
        Config,
        Listening,
        CannotListen,
        BlockUp,
        BlockReady,
        RankLost,
        BlockDown,
        Status,
        StatusReply,
        Look,
        LookReply,
        Explain,
        Explained,
        EndRun,
        StopAsked,
        NameFunction,
        Admit,
        Hold,
        Stop,
        Shutdown,
        Done,
    )
}


def dumps(command: Request | Reply | Event) -> bytes:
    """The command as JSON. Not by ``asdict``: it copies everything, and a status has thousands of blocks."""
    return json.dumps({"name": command.name, **vars(command)}, default=vars).encode()


def read_request(payload: Frames) -> Request:
    """Raises ValueError."""
    return loads(bytes(payload.one(0, payload.length)), Request)  # type: ignore[arg-type]


def read_reply(payload: Frames) -> Reply:
    """Raises ValueError."""
    return loads(bytes(payload.one(0, payload.length)), Reply)  # type: ignore[arg-type]


def read_event(payload: Frames) -> Event:
    """Raises ValueError."""
    return loads(bytes(payload.one(0, payload.length)), Event)  # type: ignore[arg-type]


def loads(data: bytes, kind: type[T]) -> T:
    """A command from JSON. Raises ValueError for anything that is not one of ``kind``, which may be a union."""
    try:
        fields = json.loads(data)
        made = _nested(_TYPES[fields.pop("name")](**fields))
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise ValueError(f"not a command: {e!r}") from None
    if not isinstance(made, kind):
        raise ValueError(f"not the command expected here: {made.name}")
    return made


def _status_of(fields: dict[str, Any]) -> StatusReply:
    return StatusReply(**{**fields, "blocks": [BlockInfo(**b) for b in fields["blocks"]]})


def _nested(made: Any) -> Any:
    """What lies in it came as dicts."""
    if isinstance(made, StatusReply):
        return _status_of(vars(made))
    if isinstance(made, LookReply):
        return replace(made, status=_status_of(vars(made)["status"]))
    if isinstance(made, Explained):
        fields = vars(made)
        block = BlockInfo(**fields["block"]) if fields["block"] else None
        return replace(made, status=_status_of(fields["status"]), block=block)
    return made
