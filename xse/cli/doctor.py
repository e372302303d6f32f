"""``xse doctor``: see ``xse/doctor``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from xse.doctor.diagnosis import Line, exit_code, line_of, summary
from xse.doctor.look import Wishes, look
from xse.launch import NAMES

DESCRIPTION = """\
Looks at this host the way an executor would, and says, a line for each check, what is well, what is a
warning ("warning"), and what is wrong ("wrong") with the cause and what to do: the sentences are those
that an executor raises. It takes a few seconds, and does not wait without end for anything.

Run it where your script will run: on a login node, on your laptop, or within a job.
"""

EPILOG = """\
checks, in the order in which they would hurt:
  Python       this one, and the xse in it
  Slurm, PBS   whether this is within a job of theirs
  xse-pool     is there, runs (the libraries of its MPI are found), and is of this version
  launcher     an mpiexec of the MPI that xse-pool was built with; or srun, or --launch-cmd
  ZeroMQ       pyzmq, and a libzmq that can encrypt
  sockets      a directory for unix sockets and connect files
  memory       shared memory for large arguments and results, and its room
  descriptors  the limit of open files
  addresses    what ExtremeScaleExecutor offers to blocks on other hosts when it is given no address=
  Parsl        whether it is there, and fits
  a task       one is run in a pool of one worker, and answered

exit status:
  0  nothing is wrong
  1  something is
  2  an option is wrong

environment:
  XSE_POOL                 another xse-pool than the one that is installed with xse
  TMPDIR, XDG_RUNTIME_DIR  where sockets and connect files may lie
  NO_COLOR                 no colours, on a terminal either

examples:
  xse doctor
  xse doctor --address 10.1.2.3                        as for blocks on other hosts, by encrypted TCP
  xse doctor --launch-cmd "srun -n 2 --mpi=pmi2" --address 10.1.2.3
                                                       within a job: pools on its nodes
"""


def _ports(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    try:
        ports = int(low), int(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW:HIGH, like 54000:55000") from None
    if not 0 < ports[0] < ports[1] <= 65_536:
        raise argparse.ArgumentTypeError(f"{text!r}: 0 < LOW < HIGH <= 65536 is not so")
    return ports


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def parse(arguments: Sequence[str]) -> Wishes:
    """Exits with 2 for arguments that are wrong."""
    parser = argparse.ArgumentParser(
        prog="xse doctor",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--no-run", action="store_true", help="look only: start no pool")
    parser.add_argument(
        "--address", metavar="A", help="an address of this host: the pool comes by encrypted TCP, and not by a socket"
    )
    parser.add_argument(
        "--launch-cmd", metavar="CMD", help="words to put before xse-pool in place of mpiexec: a shell command"
    )
    parser.add_argument("--mpi-launcher", choices=NAMES, default="auto", help="as PoolExecutor's [auto]")
    parser.add_argument(
        "--run-dir", metavar="DIR", help="with --address: a directory that all hosts of the pool see [~/.xse]"
    )
    parser.add_argument(
        "--port-range",
        type=_ports,
        default=Wishes.port_range,
        metavar="LOW:HIGH",
        help="with --address: ports from LOW, below HIGH [54000:55000]",
    )
    parser.add_argument(
        "--start-timeout",
        type=_seconds,
        default=Wishes.start_timeout,
        metavar="S",
        help="seconds for the pool to come up; a job may stand in a queue [60]",
    )
    options = parser.parse_args(arguments)
    return Wishes(
        run=not options.no_run,
        mpi_launcher=options.mpi_launcher,
        launch_cmd=options.launch_cmd,
        address=options.address,
        run_dir=options.run_dir,
        port_range=options.port_range,
        start_timeout=options.start_timeout,
    )


def has_colours(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """A terminal that shows them, and nobody who wants none (no-color.org)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    wishes = parse(arguments)
    colour = has_colours(sys.stdout, os.environ)
    lines: list[Line] = []
    for fact in look(wishes):
        lines.append(line_of(fact))
        print(lines[-1].shown(colour), flush=True)
    print(summary(lines))
    return exit_code(lines)
