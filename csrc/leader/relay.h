/* relay.h: what workers print, passed on to this rank's stdout or stderr, never blocking, its last bytes remembered. */
#ifndef XSE_RELAY_H
#define XSE_RELAY_H

#include "base/loop.h"

#define RELAY_TAIL 2048

struct relay;

/* Reads `from`, a pipe, and closes it in the end; writes to `to`. When `to` takes no more, the pipe is left to fill. */
struct relay *relay_new(struct loop *loop, int from, int to);
void relay_pump(struct relay *relay); /* what is there now, without waiting for the loop */
const char *relay_tail(struct relay *relay); /* the last bytes that passed, as one text; valid until the next call */
void relay_free(struct relay *relay);

#endif
