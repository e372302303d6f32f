/* zlink.h: a link over ZeroMQ, encrypted by CURVE. Only this file's .c knows ZeroMQ. */
#ifndef XSE_ZLINK_H
#define XSE_ZLINK_H

#include "links/link.h"

struct zlink;

/* Tries those of the file's endpoints that are tcp:// at once; the first to finish its handshake is taken. May block for
 * timeout_ms. NULL: err says why, address by address. */
struct zlink *zlink_open(const struct connect_file *file, int timeout_ms, struct loop *loop,
                         const struct link_events *events, struct err *err);
void zlink_send(struct zlink *link, struct msg *msg); /* takes the reference */
uint64_t zlink_waiting(const struct zlink *link); /* bytes that libzmq has not written yet; see link_waiting */
void zlink_close(struct zlink *link, int linger_ms);
const char *zlink_endpoint(const struct zlink *link);

/* "4.3.5", or "none". Loads the library, from `path` if that is not empty (libzmq.h). */
const char *zlink_library(const char *path);

#endif
