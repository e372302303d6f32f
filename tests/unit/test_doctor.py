"""``xse doctor``: what a fact means, which checks are made whatever happens to others, and the command around it."""

from __future__ import annotations

import io
import re
import threading

import pytest

from tests.unit.test_launch import MPICH
from xse.cli import doctor as command
from xse.cli import xse as program
from xse.doctor import facts, look
from xse.doctor.diagnosis import Level, Line, exit_code, line_of, summary
from xse.errors import LaunchError
from xse.version import VERSION

GIB = 1 << 30

#: A fact, its level, and a part of its line.
DIAGNOSES = [
    (facts.Interpreter("3.11.7", "/v/bin/python", "1.0", "/v/xse"), Level.OK, "3.11.7, /v/bin/python; xse 1.0, /v/xse"),
    (facts.Job("Slurm", "77", "node[01-04]"), Level.OK, "within its job 77, nodes: node[01-04]"),
    (facts.Job("PBS", "77.head", ""), Level.OK, "within its job 77.head"),
    (facts.FoundPool(MPICH, "1"), Level.OK, "1 for MPICH 4.0.2"),
    (
        facts.FoundPool(MPICH, "2"),
        Level.WRONG,
        "xse-pool is version 1, and the executor's xse is 2: install the same in",
    ),
    (facts.Launcher(("mpiexec", "-n", "1"), "MPICH 4.0.2", False), Level.OK, "mpiexec -n 1 (of MPICH 4.0.2)"),
    (facts.Launcher(("srun", "-n", "a b"), "MPICH 4.0.2", True), Level.OK, "srun -n 'a b' (as given)"),
    (facts.ZeroMQ("26.0", "4.3.5", True), Level.OK, "pyzmq 26.0 with libzmq 4.3.5 and CURVE"),
    (facts.ZeroMQ("26.0", "4.3.5", False), Level.WRONG, "cannot encrypt"),
    (facts.Scratch("/tmp", GIB), Level.OK, "in /tmp, 1.0 GiB free"),
    (facts.Scratch("/tmp", 4096), Level.WARNING, "4.0 KiB free: connect files need some; set TMPDIR"),
    (facts.Memory("/dev/shm", 20 * GIB), Level.OK, "in /dev/shm, 20 GiB free"),
    (facts.Memory("/dev/shm", 100), Level.WARNING, "100 bytes free"),
    (facts.Memory("/dev/shm", None), Level.WARNING, "nothing can be made in /dev/shm"),
    (facts.Descriptors(1024, 4096, 8), Level.OK, "1024 for a process; when it asks for more, 4096"),
    (facts.Descriptors(-1, -1, 8), Level.OK, "no limit for a process"),
    (facts.Descriptors(256, 4096, 128), Level.OK, "256 for a process; when it asks for more, 4096"),
    (facts.Descriptors(256, 300, 128), Level.WARNING, "ulimit -n 320"),
    (facts.Descriptors(128, 128, 8), Level.WARNING, "each block takes one"),
    (facts.Addresses(("10.0.0.1", "127.0.0.1")), Level.OK, "10.0.0.1, 127.0.0.1"),
    (facts.Addresses(("127.0.0.1", "::1")), Level.WARNING, "none that another host can reach"),
    (facts.Addresses(None), Level.LEFT_OUT, "psutil"),
    (facts.Parsl("2026.1.5"), Level.OK, "2026.1.5"),
    (facts.Parsl(None), Level.LEFT_OUT, "pip install 'xse[parsl]'"),
    (
        facts.Answer("node01", 0.84, None),
        Level.OK,
        "answered on node01 in 0.8 s, including the start; its block connected by a unix",
    ),
    (facts.Answer("node01", 0.84, "10.0.0.1"), Level.OK, "its block connected by encrypted TCP at 10.0.0.1"),
    (
        facts.Answer("node01", 0.84, None, ("rank 3 on node07: no worker can be started",)),
        Level.WARNING,
        "1 ranks have failed, and the block went on without them: rank 3 on node07",
    ),
    (facts.Wrong("a task", "no mpiexec"), Level.WRONG, "no mpiexec"),
    (facts.LeftOut("a task", "not run"), Level.LEFT_OUT, "not run"),
]


@pytest.mark.parametrize(("fact", "level", "reported"), DIAGNOSES)
def test_a_fact_is_well_or_not_and_reported_in_a_line(fact: facts.Fact, level: Level, reported: str) -> None:
    line = line_of(fact)
    assert line.level is level
    assert reported in line.text
    assert "\n" not in line.shown(colour=False)
    assert line.check in line.shown(colour=False)


def test_every_kind_of_fact_has_its_diagnosis_here() -> None:
    assert {type(fact) for fact, _, _ in DIAGNOSES} == set(facts.Fact.__args__)  # type: ignore[attr-defined]


OK, WARNING, WRONG = (Line(level, "a", "b") for level in (Level.OK, Level.WARNING, Level.WRONG))


@pytest.mark.parametrize(
    ("lines", "code", "last"),
    [
        ([OK], 0, "nothing is wrong."),
        ([OK, Line(Level.LEFT_OUT, "a", "b")], 0, "nothing is wrong."),
        ([OK, WARNING], 0, "1 check says 'warning'."),
        ([WRONG, OK, WARNING, WRONG], 1, "2 checks say 'wrong', 1 check says 'warning'."),
    ],
)
def test_only_what_is_wrong_makes_the_exit_code(lines: list[Line], code: int, last: str) -> None:
    assert exit_code(lines) == code
    assert summary(lines) == last


def test_a_reason_of_several_lines_stays_below_its_beginning() -> None:
    line = Line(Level.WRONG, "a task", "one\ntwo")
    assert line.shown(colour=False) == "wrong    a task      one\n                     two"


def test_colours_are_around_the_level_alone() -> None:
    assert OK.shown(colour=True) == "\x1b[32mok      \x1b[0m a           b"
    assert "\x1b" not in WRONG.shown(colour=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),  # no-color.org: when present and not empty
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_of_who_wants_them(
    stream: io.StringIO, environment: dict[str, str], expected: bool
) -> None:
    assert command.has_colours(stream, environment) is expected


# ---- looking


def test_a_check_that_hangs_is_reported_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def hang() -> facts.Fact:
        never.wait()
        return facts.Parsl(None)

    monkeypatch.setattr(look, "STEP_TIMEOUT_S", 0.01)
    try:
        fact = look._in_time("sockets", hang)
    finally:
        never.set()
    assert fact == facts.Wrong("sockets", "no answer within 0.01 s: does a file system of this host hang?")


def raise_it(error: Exception) -> facts.Fact:
    raise error


@pytest.fixture
def broken_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check comes to a result, each for a reason of its own."""
    for name in ("_zeromq", "_scratch", "_memory", "_addresses", "_parsl"):
        monkeypatch.setattr(look, name, lambda name=name: raise_it(OSError(5, name)))
    monkeypatch.setattr(look, "_pool", lambda: raise_it(LaunchError("no xse-pool")))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[01-02]")
    monkeypatch.setenv("PBS_JOBID", "78")
    monkeypatch.delenv("PBS_NODEFILE", raising=False)


def test_every_check_is_made_whatever_becomes_of_others_and_what_cannot_be_is_left_out(broken_all_over: None) -> None:
    found = list(look.look(look.Wishes()))
    checks = [(line.level, line.check) for line in map(line_of, found)]
    assert checks == [
        (Level.OK, "Python"),
        (Level.OK, "Slurm"),
        (Level.OK, "PBS"),
        (Level.WRONG, "xse-pool"),
        (Level.LEFT_OUT, "launcher"),
        (Level.WRONG, "ZeroMQ"),
        (Level.WRONG, "sockets"),
        (Level.WRONG, "memory"),
        (Level.OK, "descriptors"),
        (Level.WRONG, "addresses"),
        (Level.WRONG, "Parsl"),
        (Level.LEFT_OUT, "a task"),
    ]
    assert facts.Wrong("xse-pool", "no xse-pool") in found
    assert facts.Wrong("memory", "OSError(5, '_memory')") in found


# ---- the command


def test_its_options_are_arguments_of_an_executor() -> None:
    assert command.parse([]) == look.Wishes()
    given = "--no-run --address 10.0.0.1 --run-dir /d --port-range 5:9 --start-timeout 7 --mpi-launcher srun".split()
    assert command.parse([*given, "--launch-cmd", "srun -n 2"]) == look.Wishes(
        run=False,
        address="10.0.0.1",
        run_dir="/d",
        port_range=(5, 9),
        start_timeout=7.0,
        mpi_launcher="srun",
        launch_cmd="srun -n 2",
    )


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        ("--port-range 5", "'5' is not LOW:HIGH"),
        ("--port-range 9:5", "0 < LOW < HIGH <= 65536 is not so"),
        ("--start-timeout 0", "'0' is no number of seconds above 0"),
        ("--start-timeout soon", "'soon' is no number of seconds above 0"),
        ("--mpi-launcher tractor", "invalid choice: 'tractor'"),
        ("--no-runn", "unrecognized arguments: --no-runn"),
    ],
)
def test_a_wrong_option_is_reported_and_the_exit_code_is_2(
    arguments: str, reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments.split())
    assert caught.value.code == 2
    assert reported in capsys.readouterr().err


def test_its_help_tells_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.run(["doctor", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for fact, _, _ in DIAGNOSES:
        assert re.search(rf"^  .*\b{line_of(fact).check}\b", text, re.M)


def test_xse_tells_its_version_and_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"xse {VERSION}\n"
    assert program.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in program.COMMANDS)
    assert program.run([]) == 1
    assert capsys.readouterr() == ("", out)


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("docter", "xse: 'docter' is not an xse command. See 'xse --help'.\n\nThe most similar command is\n\tdoctor\n"),
        ("tractor-beam", "xse: 'tractor-beam' is not an xse command. See 'xse --help'.\n"),
        ("--verbose", "xse: '--verbose' is not an xse option. See 'xse --help'.\n"),
    ],
)
def test_an_unknown_command_is_reported_with_the_one_that_was_meant(
    name: str, reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run([name, "--no-run"]) == 1
    assert capsys.readouterr() == ("", reported)
