"""How a block starts: the executable, the launcher, the options, the keys, and the connect file.

Used by both executors and by ``xse doctor``; imports nothing of them. Start reading in ``launchers.py``.
"""

from xse.launch.binary import Executable, find_libzmq, find_pool
from xse.launch.connect_file import endpoints_of, write_connect_file
from xse.launch.environment import for_launcher, in_a_script, outside, write_record
from xse.launch.launchers import (
    NAMES,
    PATHS,
    VARIABLES,
    Choice,
    Layout,
    choose,
    find_mpiexec,
    flavour_of,
    launcher,
    launcher_args,
    words,
)

__all__ = [
    "NAMES",
    "PATHS",
    "VARIABLES",
    "Choice",
    "Executable",
    "Layout",
    "choose",
    "endpoints_of",
    "find_libzmq",
    "find_mpiexec",
    "find_pool",
    "flavour_of",
    "for_launcher",
    "in_a_script",
    "launcher",
    "launcher_args",
    "outside",
    "words",
    "write_connect_file",
    "write_record",
]
