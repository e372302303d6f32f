/* bell.h: how ranks wake each other: a datagram to a socket that a loop can sleep on. When to ring is mpx_ring's business.
 *
 * Ranks of one node find each other by abstract unix sockets. Rank 0 and the ranks of other nodes use UDP; a socket for it
 * is opened only where there are such ranks. A ring says "look", or "I look by myself for some time", and nothing else. A
 * far ring carries the block's token: the datagram of an untrusted peer is read and dropped. */
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

/* token: 8 bytes that all ranks of the block share. far: there are ranks of other nodes to ring. NULL: err says why. */
struct bell *bell_new(uint32_t rank, const uint8_t *token, bool far, struct err *err);
void bell_free(struct bell *bell);
const struct bell_card *bell_card(const struct bell *bell);
int bell_local_fd(const struct bell *bell);
int bell_far_fd(const struct bell *bell); /* -1: there is none */

void bell_ring_near(struct bell *bell, const struct bell_card *to);

struct bell_far { /* how to ring one rank of another node; zeroed: only its card is known */
    uint32_t address; /* the one that works, network order */
    uint16_t port;
};
/* awake_us: 0: look; else: no need to ring me for so long. */
void bell_ring_far(struct bell *bell, const struct bell_far *far, const struct bell_card *card, uint32_t awake_us);

/* Take what has rung: of far rings a bounded number, the rest stays for the next turn. `from` is called for each far ring,
 * with how to ring that rank and its awake_us. */
void bell_hear(struct bell *bell, void (*from)(void *arg, uint32_t rank, const struct bell_far *far, uint32_t awake_us),
               void *arg);

#endif
