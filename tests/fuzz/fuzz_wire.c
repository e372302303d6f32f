/* A head: it is refused or read, what is read can be walked through, and written anew it is the same. */
#include <stdio.h>

#include "describe.h"
#include "feed.h"
#include "write_again.h"

/* Each field and item is looked at, and what is said of them is thrown away. */
static void walk(const struct wire_message *m)
{
    static FILE *nowhere;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    MUST(nowhere);
    describe(nowhere, m);
}

static uint64_t said(const uint8_t *head, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; n >= WIRE_PREAMBLE && i < 8; i++)
        v |= (uint64_t)head[16 + i] << 8 * i;
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_message m, other;
    struct buf once = {0}, twice = {0};
    uint64_t came = said(data, size);
    enum wire_error error = wire_decode(data, size, came, &m);
    enum wire_error off_by_one = wire_decode(data, size, came + 1, &other);
    MUST(wire_error_name(error) && off_by_one == (error ? error : WIRE_BAD_LENGTH));
    if (error)
        return 0;
    walk(&m);
    write_again(&m, &once);
    if (m.type != WIRE_TASKS || once.n == size) {
        MUST(once.n == size && memcmp(once.p, data, size) == 0);
    } else if (wire_decode(once.p, once.n, came, &other) == WIRE_OK) { /* runs that were alike are one */
        MUST(other.tasks.n_runs < m.tasks.n_runs);
        write_again(&other, &twice);
        MUST(once.n == twice.n && memcmp(once.p, twice.p, once.n) == 0);
    } else /* and then there may be more functions than runs, if no run named them */
        MUST(m.tasks.n_functions > 1 && once.n < size);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
