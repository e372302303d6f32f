/* embedded.h: how the C of a zygote and of its workers and the Python of xse/worker/entry.py call each other. It becomes the
 * extension module xse/_zygote, by cffi; build_embed.py reads the declarations here.
 *
 * What is `extern` is written in Python. Each returns 1, or 0 when cffi could not call Python at all: then the process is of
 * no use. They take the GIL. */
#ifndef XSE_EMBEDDED_H
#define XSE_EMBEDDED_H

#include <stddef.h>
#include <stdint.h>

struct xse_place {
    uint32_t rank, worker; /* of the leader; within it */
    uint32_t node_index, n_in_node; /* among the workers of this node */
    uint32_t core_index, n_on_cores; /* among those that may run on the same cores */
    const char *block_id, *pool_id;
};

struct xse_answer {
    uint32_t status; /* enum wire_status */
    const uint8_t *data; /* valid until the next call */
    size_t n;
    const char *reason; /* of a setup that raised; valid until the next call */
    size_t n_reason;
};

extern int xse_begin(const struct xse_place *place); /* in a worker, first */
extern int xse_setup(uint32_t codec, const uint8_t *p, size_t n, struct xse_answer *answer);
/* This slot means this function now. */
extern int xse_define(uint32_t slot, uint32_t codec, const uint8_t *p, size_t n);
extern int xse_run(uint32_t slot, const uint8_t *p, size_t n, struct xse_answer *answer);
extern int xse_end(void); /* in a worker, last */

/* The life of a zygote: called by Python when it has imported what workers share, with the GIL given up, and never returns.
 * rank: the process that has started it. version: of Python. error: why it is of no use, "" if it is. */
int xse_zygote(int rank, int64_t memory_limit, const char *version, const char *error);

#endif
