"""PBSProProvider, with stand-ins for qsub, qstat and qdel: a job is its script, run on the first of its nodes.

There is no PBS to be had here. What is seen: the submit script asks for what it should, and runs with what PBS gives.
"""

from __future__ import annotations

import os
import re
import stat
import textwrap
from pathlib import Path

import parsl
import pytest
from parsl import python_app
from parsl.config import Config
from parsl.providers import PBSProProvider

from tests.support import testbed
from tests.support.tasks import meet
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor

QSUB = """\
    #!/bin/bash
    # usage: qsub [-q QUEUE] [-A ACCOUNT] SCRIPT
    script=${{!#}}
    job=1$RANDOM.stand-in
    printf 'node03\\nnode04\\n' >{state}/$job.nodes
    echo "$@" >{state}/$job.arguments
    PBS_JOBID=$job PBS_ENVIRONMENT=PBS_BATCH PBS_NODEFILE={state}/$job.nodes \\
      setsid {hosts} exec node03 bash "$script" >"$script.stdout" 2>"$script.stderr" </dev/null &
    echo $! >{state}/$job.pid
    echo $job
    """

QSTAT = """\
    #!/bin/bash
    # usage: qstat -x -f -F json JOB ...
    shift 4
    sep=
    printf '{{"Jobs": {{'
    for job; do
      state=R
      kill -0 $(cat {state}/$job.pid) 2>/dev/null || state=F
      printf '%s"%s": {{"job_state": "%s"}}' "$sep" $job $state
      sep=,
    done
    printf '}}}}'
    """

QDEL = """\
    #!/bin/bash
    for job; do kill -TERM -$(cat {state}/$job.pid); done
    """


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-ins keep what they know."""
    state = tmp_path / "pbs"
    state.mkdir()
    for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("qdel", QDEL)):
        path = state / name
        path.write_text(textwrap.dedent(text).format(state=state, hosts=testbed.HERE / "hosts.sh"))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{state}:{os.environ['PATH']}")
    return state


def test_a_block_runs_on_the_nodes_that_pbs_gives_it(mpi: str, pbs: Path, tmp_path: Path) -> None:
    provider = PBSProProvider(
        queue="small",
        account="science",
        nodes_per_block=2,
        cpus_per_node=64,
        walltime="00:30:00",
        select_options="ngpus=4",
        worker_init="export XSE_TEST=yes",
        init_blocks=1,
        max_blocks=1,
    )
    executor = ExtremeScaleExecutor(provider=provider, workers_per_rank=1)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy_period=0.5)) as dfk:
        eventually(lambda: executor.connected_workers == 2, "both nodes work", 30, executor.connected_managers)
        places = [f.result() for f in [python_app(meet)(tmp_path / "meeting", 2) for _ in range(2)]]
        assert {p.host for p in places} == {"node03", "node04"}
        (script,) = (p for p in Path(dfk.run_dir, "submit_scripts").iterdir() if not p.suffix.startswith(".std"))
        text = script.read_text()
        (arguments,) = (p.read_text() for p in pbs.glob("*.arguments"))
    assert "#PBS -l walltime=00:30:00" in text
    assert "#PBS -l select=2:ncpus=64:ngpus=4" in text
    assert "export XSE_TEST=yes" in text
    assert len(re.findall("mpiexec", text)) == 1
    assert "-q small" in arguments
    assert "-A science" in arguments
