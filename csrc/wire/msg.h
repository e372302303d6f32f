/* msg.h: a message in one piece of the program: its head, read, and its payload. Counted owners; one thread only. */
#ifndef XSE_MSG_H
#define XSE_MSG_H

#include "wire/wire.h"

struct msg {
    struct wire_message wire; /* points into head */
    struct bytes *head;
    struct parts payload;
    struct parts sent_as; /* links/mpx_frame.h: its MPI messages, once it was sent by MPI */
    unsigned n_owners;
};

/* From what came: takes one reference of head, and the slices of payload (which is empty after), also when it fails. */
enum wire_error msg_read(struct bytes *head, struct parts *payload, struct msg **out);
/* From what we wrote: takes head's content and the slices of payload (NULL: none). What we write is right. */
struct msg *msg_new(struct buf *head, struct parts *payload);
/* The message that is described; its payload_length is that of payload. */
struct msg *msg_make(struct wire_message described, struct parts *payload);
struct msg *msg_bare(enum wire_type type, unsigned flags, uint32_t count);
struct msg *msg_heartbeat(int64_t clock_us, uint64_t echo_us); /* echo_us 0: it answers none */
struct msg *msg_text(enum wire_type type, uint32_t count, const char *text); /* REFUSE, BYE, RANK_LOST, LOG */
struct msg *msg_ref(struct msg *msg);
void msg_unref(struct msg *msg); /* NULL is fine */

#endif
