"""What a user installs works from a directory that is not the source: editable, and as a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.pools import ROOT
from xse.version import VERSION

SCRIPT = """
import math, xse
with xse.PoolExecutor(2) as pool:
    print(xse.__file__, list(pool.map(math.factorial, range(6))), sep="|")
"""


def clean_environment() -> dict[str, str]:
    """Nothing that points to the source or to a pool built elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in ("XSE_POOL", "PYTHONPATH", "VIRTUAL_ENV")}


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(
        command, cwd=directory, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def test_an_editable_install_works_from_elsewhere(tmp_path: Path) -> None:
    file, result = run([sys.executable, "-c", SCRIPT], tmp_path).split("|")
    assert Path(file).parent == ROOT / "xse"
    assert result == "[1, 1, 2, 6, 24, 120]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    mpicc = [f"-Csetup-args=-Dmpicc={os.environ['MPICC']}"] if "MPICC" in os.environ else []
    run([*pip, *mpicc, "--wheel-dir", str(directory), str(ROOT)], directory)
    (found,) = directory.glob("*.whl")
    return found


def test_a_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    packages = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path))
    # Its dependencies are those of the environment that tests run in; xse itself is not: it is there by an import hook.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--no-deps"]
    run([*pip, "--no-index", "--force-reinstall", "--ignore-installed", str(wheel)], tmp_path)
    file, result = run([str(python), "-c", SCRIPT], tmp_path).split("|")
    assert Path(file).is_relative_to(environment)
    assert result == "[1, 1, 2, 6, 24, 120]"
    reported = run([str(environment / "bin" / "xse-pool"), "--version"], tmp_path)
    assert reported.splitlines()[0] == f"xse-pool {VERSION}"
    assert run([str(environment / "bin" / "xse"), "--version"], tmp_path) == f"xse {VERSION}"
    assert run([str(environment / "bin" / "xse"), "doctor"], tmp_path).endswith("nothing is wrong.")


def test_a_wheel_holds_the_package_the_pool_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"xse", f"xse-{VERSION}.dist-info"}
    assert "xse/xse-pool" in names
    assert "xse/py.typed" in names
