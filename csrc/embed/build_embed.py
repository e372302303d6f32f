"""Writes the C source through which xse-pool calls Python: cffi's embedding. usage: build_embed.py OUT.c

The functions are declared here, implemented in Python (xse/worker.py), and called from csrc/worker.c and csrc/zygote.c.
Each returns 1; 0 means that cffi could not call Python at all.
"""

import sys

import cffi

API = """
struct xse_preparation {
    const char *preload, *path, *working_dir;  /* options of xse-pool */
    const char *affinity, *accelerators;
};
struct xse_place {
    uint32_t rank, worker;             /* of the leader; within it */
    uint32_t node_index, n_in_node;    /* among the workers of this node */
    uint32_t core_index, n_on_cores;   /* among those that may run on the same cores */
    const char *block_id, *pool_id;
};
struct xse_answer {
    uint32_t status;                   /* enum wire_status */
    const uint8_t *data;               /* valid until the next call */
    size_t n;
    const char *reason;                /* of a setup that raised; valid until the next call */
    size_t n_reason;
};
"""

FUNCTIONS = """
int xse_prepare(const struct xse_preparation *preparation, char *error, size_t error_size);
int xse_begin(const struct xse_place *place);
int xse_setup(uint32_t codec, const uint8_t *p, size_t n, struct xse_answer *answer);
int xse_define(uint32_t slot, uint32_t codec, const uint8_t *p, size_t n);
int xse_run(uint32_t slot, const uint8_t *p, size_t n, struct xse_answer *answer);
int xse_end(void);
"""

INIT = """
from _xse_embedded import ffi
from xse import worker
worker.bind(ffi)
"""

ffi = cffi.FFI()
ffi.cdef(API)
ffi.embedding_api(FUNCTIONS)
ffi.embedding_init_code(INIT)
ffi.set_source("_xse_embedded", '#include "embed/embedded.h"')
ffi.emit_c_code(sys.argv[1])
