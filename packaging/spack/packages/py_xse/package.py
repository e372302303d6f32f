# Spack's recipe. In a repository of your own: spack repo add packaging/spack; spack install py-xse ^mpich
from spack_repo.builtin.build_systems.python import PythonPackage

from spack.package import *


class PyXse(PythonPackage):
    """The Extreme-Scale Executor: many small Python tasks on thousands of nodes, through MPI."""

    license("Apache-2.0")

    version("0.1.0")

    variant("parsl", default=True, description="ExtremeScaleExecutor, for Parsl")

    depends_on("c", type="build")
    depends_on("mpi")
    depends_on("python@3.10:3.13", type=("build", "run"))
    depends_on("py-meson-python@0.17:", type="build")
    depends_on("py-cffi@1.16:", type=("build", "run"))
    depends_on("py-pyzmq@25:", type=("build", "run"))
    depends_on("py-dill@0.3.8:", type=("build", "run"))
    depends_on("py-parsl@2026.1:", type="run", when="+parsl")
    # xse-pool loads the libzmq that pyzmq is linked to.
    depends_on("libzmq@4.3:", type=("link", "run"))

    def setup_build_environment(self, env):
        env.set("MPICC", self.spec["mpi"].mpicc)
