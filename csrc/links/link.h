/* link.h: the one connection of a block, to the interchange: a unix socket on its host, ZeroMQ over TCP from another. */
#ifndef XSE_LINK_H
#define XSE_LINK_H

#include "base/loop.h"
#include "links/connect.h"
#include "wire/msg.h"

struct link;

struct link_events {
    void (*message)(void *arg, struct msg *msg); /* lent */
    void (*lost)(void *arg, const char *reason); /* once; nothing can be sent any more */
    void *arg;
};

/* Tries the file's endpoints and takes the first that answers as the interchange of this file: unix:// of this host
 * before tcp://. May block for timeout_ms. NULL: err says why, address by address. */
struct link *link_open(const struct connect_file *file, int timeout_ms, struct loop *loop,
                       const struct link_events *events, struct err *err);
void link_send(struct link *link, struct msg *msg); /* takes the reference */
/* Bytes that were sent and have not left. There is a turn of the loop when they have fallen below LINK_FEW_BYTES. */
#define LINK_FEW_BYTES (32u << 20)
uint64_t link_waiting(const struct link *link); /* NULL: 0 */
void link_flush(struct link *link); /* end of a turn: what was sent leaves */
bool link_is_busy(struct link *link); /* see stream_is_busy; of ZeroMQ nobody can tell */
void link_close(struct link *link, int linger_ms); /* what was sent may take so long to leave */
const char *link_endpoint(const struct link *link); /* the one that answered */

#endif
