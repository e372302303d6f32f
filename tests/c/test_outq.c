/* outq: what a peer reads is what was added, in order, and no slice is kept once its bytes have left. */
#include "wire/outq.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static long n_alive; /* slices whose owner nobody has given up */
static uint64_t alive; /* bytes in them */

struct piece {
    size_t n;
    uint8_t bytes[];
};

static void piece_free(void *owner)
{
    struct piece *piece = owner;
    n_alive--;
    alive -= piece->n;
    free(piece);
}

/* n bytes that continue what was added before: byte number k of the stream is k * 7 in its low byte. */
static void add(struct outq *q, uint64_t *at, size_t n)
{
    struct piece *piece = malloc(sizeof *piece + n);
    piece->n = n;
    for (size_t i = 0; i < n; i++)
        piece->bytes[i] = (uint8_t)((*at + i) * 7);
    *at += n;
    n_alive++;
    alive += n;
    struct bytes *bytes = bytes_adopt(piece->bytes, n, piece_free, piece);
    outq_add(q, bytes, piece->bytes, n);
    bytes_unref(bytes);
    CHECK(!outq_check(q), "%s", outq_check(q));
}

static size_t take(int fd, uint64_t *at, size_t most)
{
    static uint8_t all[1 << 20];
    ssize_t n = recv(fd, all, most < sizeof all ? most : sizeof all, MSG_DONTWAIT);
    size_t wrong = 0;
    for (ssize_t i = 0; i < n; i++)
        wrong += all[i] != (uint8_t)((*at + (uint64_t)i) * 7);
    CHECK(!wrong, "%zu of %zd bytes at %llu are others", wrong, n, (unsigned long long)*at);
    *at += n > 0 ? (uint64_t)n : 0;
    return n > 0 ? (size_t)n : 0;
}

static void open_pair(int *pair)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
}

static void a_queue_that_is_never_empty_keeps_only_what_has_not_left(void)
{
    static const size_t sizes[] = {24, 100000, 0, 1, 7000, 24, 24, 300000, 4096};
    const size_t most = 300000;
    struct outq q = {0};
    uint64_t added = 0, taken = 0;
    size_t most_slices = 0;
    int pair[2];
    open_pair(pair);
    for (int i = 0; i < 2000; i++) {
        while (q.length < 2 * most) /* it never empties */
            add(&q, &added, sizes[(size_t)i++ % 9]);
        CHECK(outq_write(&q, pair[0]) == OUTQ_FULL, "all has left");
        take(pair[1], &taken, 150000);
        CHECK(!outq_check(&q), "%s", outq_check(&q));
        CHECK(alive <= q.length + most, "%llu bytes are kept for %llu that wait", (unsigned long long)alive,
              (unsigned long long)q.length);
        most_slices = q.capacity > most_slices ? q.capacity : most_slices;
    }
    CHECK(most_slices <= 1024, "a table of %zu slices", most_slices);
    while (outq_write(&q, pair[0]) == OUTQ_FULL)
        take(pair[1], &taken, 1 << 20);
    while (take(pair[1], &taken, 1 << 20))
        ;
    CHECK_EQUAL(taken, added);
    CHECK_EQUAL(n_alive, 0);
    CHECK_EQUAL(q.length, 0);
    outq_clear(&q);
    close(pair[0]);
    close(pair[1]);
}

static void the_table_of_a_long_queue_goes_when_the_queue_is_empty(void)
{
    struct outq q = {0};
    uint64_t added = 0, taken = 0;
    int pair[2];
    open_pair(pair);
    for (int i = 0; i < 5000; i++)
        add(&q, &added, 100);
    while (outq_write(&q, pair[0]) == OUTQ_FULL)
        take(pair[1], &taken, 1 << 20);
    CHECK_EQUAL(q.capacity, 0);
    CHECK_EQUAL(n_alive, 0);
    outq_clear(&q);
    close(pair[0]);
    close(pair[1]);
}

static void neighbours_in_one_memory_leave_as_one_slice(void)
{
    static const uint8_t text[] = "abcdefgh";
    struct bytes *bytes = bytes_adopt(text, 8, NULL, NULL);
    struct outq q = {0};
    outq_add(&q, bytes, text, 3);
    outq_add(&q, bytes, text + 3, 2);
    outq_add(&q, bytes, text + 6, 2);
    CHECK_EQUAL(q.end - q.first, 2);
    CHECK_EQUAL(q.length, 7);
    bytes_unref(bytes);
    outq_clear(&q);
}

static void a_peer_that_is_gone_leaves_nothing_in_the_queue(void)
{
    struct outq q = {0};
    uint64_t added = 0;
    int pair[2];
    open_pair(pair);
    close(pair[1]);
    add(&q, &added, 1000);
    CHECK_EQUAL(outq_write(&q, pair[0]), OUTQ_BROKEN);
    CHECK_EQUAL(q.length, 0);
    CHECK_EQUAL(n_alive, 0);
    CHECK_EQUAL(outq_write(&q, pair[0]), OUTQ_EMPTY);
    outq_clear(&q);
    close(pair[0]);
}

static void a_drain_ends_at_its_time_though_the_peer_reads_nothing(void)
{
    struct outq q = {0};
    uint64_t added = 0;
    int pair[2];
    open_pair(pair);
    add(&q, &added, 4 << 20);
    CHECK_EQUAL(outq_drain(&q, pair[0], 1), OUTQ_FULL);
    CHECK(q.length, "all has left");
    outq_clear(&q);
    CHECK_EQUAL(n_alive, 0);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    a_queue_that_is_never_empty_keeps_only_what_has_not_left();
    the_table_of_a_long_queue_goes_when_the_queue_is_empty();
    neighbours_in_one_memory_leave_as_one_slice();
    a_peer_that_is_gone_leaves_nothing_in_the_queue();
    a_drain_ends_at_its_time_though_the_peer_reads_nothing();
    return check_end("outq");
}
