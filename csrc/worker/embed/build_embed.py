"""Writes the C source through which xse-pool calls Python: cffi's embedding. usage: build_embed.py embedded.h OUT.c

The functions are declared in embedded.h, implemented in Python (xse/worker/entry.py), and called from
csrc/worker/worker.c and csrc/worker/zygote.c.
"""

import sys
from pathlib import Path

import cffi

INIT = """
from _xse_embedded import ffi
from xse.worker import entry
entry.bind(ffi)
"""

header, out = sys.argv[1:]
lines = Path(header).read_text().splitlines()
ffi = cffi.FFI()
ffi.embedding_api("\n".join(line for line in lines if not line.startswith("#")))  # cffi has no preprocessor
ffi.embedding_init_code(INIT)
ffi.set_source("_xse_embedded", '#include "worker/embed/embedded.h"')
ffi.emit_c_code(out)
