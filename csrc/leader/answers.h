/* answers.h: results that gather for one RESULTS message. Owned by the leader; no I/O, no clock. Zeroed: none. */
#ifndef XSE_ANSWERS_H
#define XSE_ANSWERS_H

#include "wire/msg.h"

struct answers {
    struct wire_results results;
    struct parts payload;
    struct buf small; /* payloads below RUNNER_LENT, which are copied, behind those in `payload` */
};

/* result: all but its length, which is the payload's. payload: what is below RUNNER_LENT bytes is copied, of what is larger
 * references are kept; NULL: nothing. */
void answers_add(struct answers *answers, const struct wire_result *result, const struct parts *payload);
void answers_add_failure(struct answers *answers, const struct wire_result *result, const struct wire_failure *failure);
bool answers_full(const struct answers *answers); /* no more: take them */
struct msg *answers_take(struct answers *answers); /* NULL: there are none */
void answers_free(struct answers *answers);

#endif
