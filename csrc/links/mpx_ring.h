/* mpx_ring.h: when one rank wakes another, and how long a rank may sleep (docs/decisions/0002).
 *
 * Ranks of one node tell each other in shared memory when they sleep. Between nodes only rank 0 and the others talk, and
 * nobody sees the other sleep: a rank that is rung while it is busy answers that it will look by itself for some time, and
 * is not rung in that time. A message makes one ring at most. A ring that is lost costs a bounded sleep. */
#ifndef XSE_MPX_RING_H
#define XSE_MPX_RING_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct mpx_ring;

/* world: all ranks of the block; node: those of this node, in the order of world. Blocks until all of them are here.
 * NULL: err says why. */
struct mpx_ring *mpx_ring_open(MPI_Comm world, MPI_Comm node, struct loop *loop, struct err *err);
void mpx_ring_free(struct mpx_ring *ring); /* NULL is fine. Blocks for the ranks of the node. */

void mpx_ring_message(struct mpx_ring *ring, uint32_t to, int64_t now_us); /* a message was sent */
void mpx_ring_left(struct mpx_ring *ring, uint32_t to); /* some of one has left only now */
void mpx_ring_came(struct mpx_ring *ring, int64_t now_us); /* something has come by MPI, or has left */
void mpx_ring_turn(struct mpx_ring *ring, int64_t now_us); /* a turn of the loop begins */
void mpx_ring_doze(struct mpx_ring *ring); /* about to sleep: ring me. Look once more after it */
void mpx_ring_wake(struct mpx_ring *ring, bool slept); /* slept: that look found nothing */
int64_t mpx_ring_patience_us(const struct mpx_ring *ring, int64_t now_us, bool moving); /* moving: MPI needs turns */

#endif
