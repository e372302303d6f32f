"""Row 16: keys are where they must be, and nowhere else: no command line, environment, log, traceback or worker."""

from __future__ import annotations

import codecs
import logging
import os
import stat
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.by_hand import ByHand
from tests.support.processes import ours
from tests.unit import sample
from xse import PoolExecutor, launch
from xse.errors import LaunchError
from xse.launch import keys
from xse.launch.options import PoolOptions
from xse.wire import commands

pytestmark = pytest.mark.row(16)


@pytest.fixture(scope="module")
def world(any_mpi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    """With two blocks of their own keys and one pool started by hand, and logs of every task."""
    world = ByHand(tmp_path_factory.mktemp("world"), worker_debug=True)
    try:
        for block in (None, "0", "1"):
            world.start_pool(block)
        yield world
    finally:
        world.end()


def secrets_of(world: ByHand) -> list[str]:
    assert world.executor._keys
    return [world.executor._keys.server_secret, *(world.fields(block)["secret_key"] for block in (None, "0", "1"))]


def test_each_block_has_a_key_of_its_own_in_a_file_of_its_own(world: ByHand) -> None:
    assert len(set(secrets_of(world))) == 4
    blocks = world.directory / "blocks"
    assert stat.S_IMODE(blocks.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in blocks.iterdir()} == {0o600}


def test_no_process_shows_a_secret_in_its_command_line_or_environment(world: ByHand) -> None:
    shown = b""
    for p in ours():
        for what in ("cmdline", "environ"):
            shown += Path(f"/proc/{p.pid}/{what}").read_bytes()
    assert b"xse-pool" in shown
    assert b"xse.interchange" in shown
    assert not [secret for secret in secrets_of(world) if secret.encode() in shown]


def test_no_log_holds_a_secret(world: ByHand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert world.works()
    world.executor.initialize_scaling()  # which logs the launch command
    logs = [path for path in world.directory.parent.rglob("*") if path.is_file() and path.suffix != ".connect"]
    assert {path.name for path in logs} >= {"interchange.log", "manager.log"}
    said = caplog.text + "".join(path.read_text(errors="replace") for path in logs)  # the record is binary
    assert "block_up" in said
    assert not [secret for secret in secrets_of(world) if secret in said]


def test_no_repr_shows_a_secret(world: ByHand) -> None:
    client = world.executor._client
    shown = [repr(world.executor), repr(vars(world.executor)), repr(client), repr(vars(client))]
    server = keys.new_server_keys()
    block = keys.new_block_keys(server)
    shown += [repr(server), repr(block), repr(commands.Config("", "", "", "", 0, server_secret=server.server_secret))]
    secrets = [*secrets_of(world), server.server_secret, block.secret_key]
    assert not [secret for secret in secrets if any(secret in text for text in shown)]


def with_locals(error: BaseException) -> str:
    """The traceback from the first frame of the package's on, as the more talkative tools show it."""
    tb = error.__traceback__
    while tb and "/tests/" in tb.tb_frame.f_code.co_filename:
        tb = tb.tb_next
    frames = traceback.StackSummary.extract(traceback.walk_tb(tb), capture_locals=True)
    return "".join([*frames.format(), str(error)])


def test_no_traceback_shows_a_secret_even_with_the_values_of_local_variables(
    any_mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    new_pair = keys._new_pair

    def noted() -> tuple[str, str]:
        pair = new_pair()
        made.append(pair[1])
        return pair

    monkeypatch.setattr(keys, "_new_pair", noted)
    server = keys.new_server_keys()
    block = keys.new_block_keys(server)
    texts = []
    try:
        launch.write_connect_file(
            str(tmp_path / "missing" / "c"), run="r", block="", endpoints=[], keys=block, options=PoolOptions()
        )
    except LaunchError as e:
        texts.append(with_locals(e))
    try:
        ByHand(tmp_path, address="no-such-host.invalid")
    except LaunchError as e:
        texts.append(with_locals(e))
    with PoolExecutor(1, address="no-such-host.invalid", run_dir=str(tmp_path)) as pool:
        error = pool.submit(sample.double, 1).exception(20)
        assert error
        texts.append(with_locals(error))
    assert len(texts) == 3
    assert len(made) == 4
    assert not [secret for secret in made if any(secret in text for text in texts)]


def memory_has(turned: list[str]) -> list[bool]:
    """Whether this process has them anywhere; they come turned, so that the question is not the answer."""
    wanted = [codecs.encode(text, "rot13").encode() for text in turned]
    found = [0] * len(wanted)
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(x, 16) for x in span.split("-"))
            if "r" not in rights or "[v" in line:
                continue
            memory.seek(start)
            content = memory.read(end - start)
            for i, secret in enumerate(wanted):
                found[i] += content.count(secret)
            del content
    # Our own copies of them are in ``wanted``; a canary tells how often a text is found that is nowhere else.
    return [n > found[-1] for n in found[:-1]]


def test_no_worker_has_a_secret_in_its_memory(mpi: str, tmp_path: Path) -> None:
    """Not those of its own block either: it is forked from a process that has read the connect file."""
    world = ByHand(tmp_path, workers_per_rank=1)
    try:
        connect = world.connect_file()
        world.spawn_pool()
        secret = world.fields()["secret_key"]
        canary = f"nowhere else: {os.urandom(8).hex()}"
        asked = [codecs.encode(text, "rot13") for text in (secret, sys.executable, canary)]
        has_secret, has_what_it_was_reported = world.executor.submit(memory_has, {}, asked).result(60)
        assert has_what_it_was_reported  # by the same file
        assert not has_secret
        assert secret in connect.read_text()
    finally:
        world.end()
