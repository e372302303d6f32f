/* mpx_send.h: messages on their way to other ranks. What a message costs here does not depend on what is pending.
 *
 * A frame (a small message, or the announcement of a large one) leaves at once. The pieces of large messages leave in
 * order, a few at a time to each rank. No bytes are kept once they have left, and those of a message that goes to many
 * ranks are there once. */
#ifndef XSE_MPX_SEND_H
#define XSE_MPX_SEND_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "links/mpx_ring.h"
#include "wire/msg.h"

struct mpx_send;

/* frames, pieces: communicators of n_ranks ranks, which only mpx_send and mpx_recv use. */
struct mpx_send *mpx_send_new(MPI_Comm frames, MPI_Comm pieces, uint32_t n_ranks, struct mpx_ring *ring);
void mpx_send_free(struct mpx_send *send); /* NULL is fine. Nothing may be under way */
void mpx_send_message(struct mpx_send *send, uint32_t to, struct msg *msg, int64_t now_us); /* takes the reference */
bool mpx_send_turn(struct mpx_send *send, int64_t now_us); /* true: some bytes have left */
bool mpx_send_is_moving(const struct mpx_send *send); /* something is under way: MPI needs turns */
bool mpx_send_in_round(const struct mpx_send *send); /* the next turn is wanted at once */
uint64_t mpx_send_waiting(const struct mpx_send *send); /* bytes under way and waiting */
void mpx_send_finish(struct mpx_send *send); /* Blocks until all has left. */

#endif
