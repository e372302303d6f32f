"""Writes the C source of the extension module xse/_zygote, through which C and Python call each other: cffi's.

usage: build_embed.py embedded.h OUT.c

The functions are declared in embedded.h. Those that are extern there are implemented in xse/worker/entry.py and called
from csrc/worker/worker.c; xse_zygote is implemented in csrc/worker/zygote.c.
"""

import re
import sys
from pathlib import Path

import cffi

header, out = sys.argv[1:]
lines = Path(header).read_text().splitlines()
declarations = "\n".join(line for line in lines if not line.startswith("#"))  # cffi has no preprocessor
ffi = cffi.FFI()
ffi.cdef(re.sub(r"^extern int", 'extern "Python+C" int', declarations, flags=re.MULTILINE))
ffi.set_source("_zygote", '#include "worker/embed/embedded.h"')
ffi.emit_c_code(out)
