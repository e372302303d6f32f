/* mpx_recv.h: messages that come from other ranks. What a message costs here does not depend on what is pending.
 *
 * Receives for frames are posted before they come. A large message is received when all before it from its rank are
 * delivered, a bounded number of them at a time; a rank that does not go on sending holds nobody else up. No call here
 * waits. */
#ifndef XSE_MPX_RECV_H
#define XSE_MPX_RECV_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/msg.h"

#define MPX_SLOTS 32 /* receives that are posted for frames */
#define MPX_MOST_COMING 16 /* large messages that are received at a time */
#define MPX_STALLED_US 50000 /* a large message of which nothing comes for so long does not count as one of them */

struct mpx_recv;

struct mpx_recv_events {
    /* Each message, in the order its rank sent them. The message is lent. */
    void (*message)(void *arg, uint32_t from, struct msg *msg);
    void (*heard)(void *arg, uint32_t from); /* the rank lives: something of it has come, perhaps not its turn yet */
    void (*bad)(void *arg, uint32_t from, enum wire_error error); /* its bytes are no message. Does not return */
    void *arg;
};

struct mpx_recv *mpx_recv_new(MPI_Comm frames, MPI_Comm pieces, uint32_t n_ranks, const struct mpx_recv_events *events);
void mpx_recv_free(struct mpx_recv *recv); /* NULL is fine */
bool mpx_recv_turn(struct mpx_recv *recv, int64_t now_us); /* true: something has come, or has begun to */
/* Begin no other large message while it is held: there is too much here already. Small ones come as ever. */
void mpx_recv_hold(struct mpx_recv *recv, bool held);
bool mpx_recv_is_moving(const struct mpx_recv *recv); /* large messages are coming: MPI needs turns */
bool mpx_recv_in_round(const struct mpx_recv *recv); /* the next turn is wanted at once */

#endif
