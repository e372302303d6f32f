/* loop: what is not there any more is not called. */
#include "base/loop.h"

#include <stdlib.h>

#include "check.h"

struct world {
    struct loop *loop;
    struct loop_source *other; /* its memory goes when it is removed */
    int n_turns, n_other;
};

static bool turn(void *arg)
{
    struct world *w = arg;
    if (++w->n_turns == 3)
        loop_end(w->loop);
    return true;
}

static void flush(void *arg)
{
    struct world *w = arg;
    if (w->n_turns != 2)
        return;
    loop_remove_source(w->loop, w->other);
    free(w->other);
    w->other = NULL;
}

static bool other_turn(void *arg)
{
    ((struct world *)arg)->n_other++;
    return false;
}

static void a_source_that_is_removed_in_a_turn_is_served_no_more(void)
{
    struct err err;
    struct world w = {.loop = loop_new(&err), .other = malloc(sizeof *w.other)};
    struct loop_source source = {.turn = turn, .flush = flush, .arg = &w};
    *w.other = (struct loop_source){.turn = other_turn, .arg = &w};
    loop_add_source(w.loop, &source);
    loop_add_source(w.loop, w.other);
    loop_run(w.loop);
    CHECK_EQUAL(w.n_turns, 3);
    CHECK_EQUAL(w.n_other, 2);
    loop_free(w.loop);
}

int main(void)
{
    a_source_that_is_removed_in_a_turn_is_served_no_more();
    return check_end("loop");
}
