/* loop.h: how one thread waits for everything: descriptors, timers, and sources that have no descriptor (MPI, and
 * ZeroMQ, whose descriptor tells only half).
 *
 * A turn: each source does what is there to do; descriptors that are ready are served; due timers fire; each source
 * flushes what the turn has gathered. When a turn found nothing, every source is asked to doze (it announces the sleep
 * and looks once more), and the thread sleeps until a descriptor, a timer, or a source's patience wakes it. */
#ifndef XSE_LOOP_H
#define XSE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;

struct loop *loop_new(struct err *err); /* NULL: err says why */
void loop_free(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_end; sleeps */
void loop_end(struct loop *loop); /* this turn is the last */
int64_t loop_now_us(const struct loop *loop); /* monotonic, of this turn */

/* events: EPOLLIN, EPOLLOUT. Watching a watched descriptor changes its events. Both may be called from within `ready`. */
void loop_watch(struct loop *loop, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events), void *arg);
void loop_unwatch(struct loop *loop, int fd); /* before it is closed */

struct loop_timer {
    void (*due)(void *arg);
    void *arg;
    int64_t when_us;
    struct loop_timer *next; /* the loop's */
    bool set; /* the loop's */
};
void loop_at(struct loop *loop, struct loop_timer *timer, int64_t when_us); /* once; set again to move it */
void loop_forget(struct loop *loop, struct loop_timer *timer);

struct loop_source {
    bool (*turn)(void *arg); /* do what is there, without waiting; true: there was something */
    void (*flush)(void *arg); /* end of a turn; NULL: nothing to flush */
    bool (*doze)(void *arg); /* about to sleep; true: something has come after all. NULL: never */
    void (*wake)(void *arg); /* the sleep is over; NULL: of no interest */
    int64_t (*patience_us)(void *arg); /* longest sleep it can bear; INT64_MAX: any. NULL: any */
    void *arg;
};
void loop_add_source(struct loop *loop, const struct loop_source *source); /* borrowed; at most 8 */
void loop_remove_source(struct loop *loop, const struct loop_source *source); /* from within any source's calls, too */

#endif
