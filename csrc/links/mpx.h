/* mpx.h: messages between the ranks of a block, over MPI, without spinning. Only mpx_open, mpx_close,
 * mpx_sum_before and mpx_node_* block.
 *
 * MPI has no descriptor to wait on, and polling it costs a core or a millisecond. So ranks ring each other (mpx_ring), and
 * a bounded sleep does the rest. mpx_send and mpx_recv move the messages; mpx_frame says how they lie in MPI's. No other
 * files know MPI. */
#ifndef XSE_MPX_H
#define XSE_MPX_H

#include "base/loop.h"
#include "wire/msg.h"

struct mpx;

/* MPI_Init, and what the ranks need of each other. Blocks until every rank is here. asked_ranks: how many there should
 * be, 0: not known; a rank that is alone in spite of it is an error. NULL: err says why. */
struct mpx *mpx_open(int *argc, char ***argv, int64_t asked_ranks, struct loop *loop, struct err *err);
struct mpx_events { /* called from the loop */
    void (*message)(void *arg, uint32_t from, struct msg *msg); /* in the order its rank sent them; lent */
    void (*heard)(void *arg,
                  uint32_t from); /* something of that rank has come, perhaps not whole yet. NULL: no matter */
    void *arg;
};
void mpx_listen(struct mpx *mpx, const struct mpx_events *events); /* before the loop runs */

void mpx_send(struct mpx *mpx, uint32_t to, struct msg *msg); /* takes the reference; `to` may be this rank */
uint64_t mpx_waiting(const struct mpx *mpx); /* bytes that were sent and have not left */
/* Large messages are not received while they are held: what has come is not taken as fast. Their senders keep them. */
void mpx_hold_large(struct mpx *mpx, bool held);

/* MPI_Finalize, bounded: after timeout_s the process ends with exit_code wherever it is. Some MPIs hang there. */
void mpx_close(struct mpx *mpx, unsigned timeout_s, int exit_code);

uint32_t mpx_rank(const struct mpx *mpx);
uint32_t mpx_n_ranks(const struct mpx *mpx);
/* What the ranks before this one gave, added up. Blocks for all ranks of the block. */
uint32_t mpx_sum_before(struct mpx *mpx, uint32_t mine);
/* What every rank of this node gave, added up: over all, and over those before this one. Blocks for the node's ranks. */
void mpx_node_sums(struct mpx *mpx, uint32_t mine, uint32_t *all, uint32_t *before);
/* How many ranks of this node, this one included, gave the same bytes. Blocks for the node's ranks. */
uint32_t mpx_node_equals(struct mpx *mpx, const void *mine, size_t n);

const char *mpx_library(void); /* "MPICH 4.0.2", "Open MPI 4.1.4"; works before mpx_open */

#endif
