/* stream.h: messages over a unix stream socket: how a pool speaks with an interchange of its own host. Only stream_close
 * may block.
 *
 * Messages follow each other as they lie on the wire: head, payload, head, payload. A hop costs one wake-up; over ZeroMQ a
 * hop costs three (docs/decisions/0001). */
#ifndef XSE_STREAM_H
#define XSE_STREAM_H

#include "base/loop.h"
#include "wire/msg.h"

struct stream;

struct stream_events {
    void (*message)(void *arg, struct msg *msg); /* lent */
    void (*ended)(void *arg, const char *reason); /* once, after the last message */
    void *arg;
};

struct stream *stream_new(struct loop *loop, int fd, const struct stream_events *events); /* takes fd */
void stream_send(struct stream *stream, struct msg *msg); /* takes the reference; it leaves with stream_flush */
void stream_flush(struct stream *stream); /* as much as the socket takes now; the rest follows from the loop */
uint64_t stream_waiting(const struct stream *stream); /* bytes that were sent and have not left */
/* The peer has not come to the last messages that were flushed. Then there is a turn of the loop when it has read some. */
bool stream_is_busy(struct stream *stream);
/* May block for linger_ms, until what was sent has left. */
void stream_close(struct stream *stream, int linger_ms);

#endif
