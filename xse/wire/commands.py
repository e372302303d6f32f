"""What executor and interchange say to each other beside tasks and results: JSON, one dataclass each.

docs/developers/protocol.md, 2.6. Both are Python programs of one version of xse; still, what does not fit is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from xse.wire.frames import Frames

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """Request: how the interchange is to run; the first message. Keys never stand on a command line."""

    name: ClassVar[str] = "config"
    run_id: str
    local_path: str  # unix socket for blocks on this host; "": none
    xse_version: str
    python_version: str
    parent_pid: int  # it ends with this process; 0: only with its socket
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
    debug: bool = False


@dataclass(frozen=True)
class Listening:
    """The interchange is ready for pools."""

    name: ClassVar[str] = "listening"
    ports: list[int]


@dataclass(frozen=True)
class CannotListen:
    """The interchange ends, because no port is to be had."""

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
class BlockDown:
    """A block has ended. ``code``: of its BYE (docs/developers/protocol.md, 2.4); -1: lost without one."""

    name: ClassVar[str] = "block_down"
    block_id: str
    code: int
    reason: str
    n_lost: int  # tasks
    exception: str = ""  # base64, with SETUP_RAISED
    ever_ready: bool = False  # a worker of it was ready once


@dataclass(frozen=True)
class BlockInfo:
    """A connected block, as Status tells it."""

    block_id: str
    pool_id: str
    hosts: list[str]
    n_workers: int
    n_tasks: int
    idle_s: float
    held: bool
    draining: bool
    python_version: str


@dataclass(frozen=True)
class Status:
    """Request: how are you? Answered by StatusReply."""

    name: ClassVar[str] = "status"


@dataclass(frozen=True)
class StatusReply:
    name: ClassVar[str] = "status_reply"
    blocks: list[BlockInfo]
    ever_connected: list[str]
    n_queued: int
    n_dropped: int  # results that nobody waited for


@dataclass(frozen=True)
class Admit:
    """Request: a pool with this public key may connect, as this block ("": as any). Answered by Done."""

    name: ClassVar[str] = "admit"
    block_id: str
    public_key: str


@dataclass(frozen=True)
class Hold:
    """Request: no more tasks to this block (or the block of this pool). Answered by Done."""

    name: ClassVar[str] = "hold"
    block_id: str


@dataclass(frozen=True)
class Stop:
    """Request: end this block; what runs there may take ``grace_ms`` to end by itself. Answered by Done at once."""

    name: ClassVar[str] = "stop"
    block_id: str
    grace_ms: int = 0


@dataclass(frozen=True)
class Shutdown:
    """Request: end all blocks, then yourself. Answered by Done when the blocks have ended."""

    name: ClassVar[str] = "shutdown"


@dataclass(frozen=True)
class Done:
    """Reply: it is done; ``found`` says whether there was such a block."""

    name: ClassVar[str] = "done"
    found: bool = True


Request = Config | Status | Admit | Hold | Stop | Shutdown
Reply = StatusReply | Done
Event = Listening | CannotListen | BlockUp | BlockReady | BlockDown

_TYPES: dict[str, Any] = {
    t.name: t
    for t in (
        Config,
        Listening,
        CannotListen,
        BlockUp,
        BlockReady,
        BlockDown,
        Status,
        StatusReply,
        Admit,
        Hold,
        Stop,
        Shutdown,
        Done,
    )
}


def dumps(command: Request | Reply | Event) -> bytes:
    """As JSON. Not by ``asdict``, which copies all there is: a status of thousands of blocks would hold everyone up."""
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
    """From JSON. Raises ValueError for anything that is not one of ``kind`` (a union of the above is fine)."""
    try:
        fields = json.loads(data)
        made = _TYPES[fields.pop("name")](**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise ValueError(f"not a command: {e!r}") from None
    if isinstance(made, StatusReply):
        made = StatusReply(
            [BlockInfo(**b) for b in fields["blocks"]],  # the nested ones come as dicts
            made.ever_connected,
            made.n_queued,
            made.n_dropped,
        )
    if not isinstance(made, kind):
        raise ValueError(f"not the command expected here: {made.name}")
    return made
