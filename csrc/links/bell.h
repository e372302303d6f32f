/* bell.h: how ranks wake each other: a datagram to a socket that a loop can sleep on.
 *
 * Ranks of one node find each other by abstract unix sockets. Rank 0 and the ranks of other nodes use UDP, once a first
 * ring has shown that it gets through; where it does not, the sleeper's bounded patience must do. A ring says nothing
 * but "look", and a far one carries the block's token, so that a stranger cannot keep a rank awake. */
#ifndef XSE_BELL_H
#define XSE_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct bell;

struct bell_card { /* what another rank needs to ring this one; plain bytes */
    char name[32]; /* of the abstract socket */
    uint32_t addresses[8]; /* IPv4 of this host, network order; 0: none */
    uint16_t port; /* UDP, network order */
};

/* token: 8 bytes that all ranks of the block share. NULL: err says why. */
struct bell *bell_new(uint32_t rank, const uint8_t *token, struct err *err);
void bell_free(struct bell *bell);
const struct bell_card *bell_card(const struct bell *bell);
int bell_local_fd(const struct bell *bell);
int bell_far_fd(const struct bell *bell);

void bell_ring_near(struct bell *bell, const struct bell_card *to);

struct bell_far { /* how to ring one rank of another node; zeroed: only its card is known */
    uint32_t address; /* the one that works, network order */
    uint16_t port;
};
void bell_ring_far(struct bell *bell, const struct bell_far *far, const struct bell_card *card);

/* Take what has rung. `from` is called for each ring of another node, with what answers it. */
void bell_hear(struct bell *bell, void (*from)(void *arg, uint32_t rank, const struct bell_far *far), void *arg);

#endif
