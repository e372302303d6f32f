/* deadlines: the soonest is the soonest, through changes and removal, against a plain table that is looked through. */
#include "base/deadlines.h"

#include <stdbool.h>
#include <stdlib.h>

#include "check.h"

#define N 200u

static int64_t soonest(const int64_t *when, uint32_t n)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < n; i++)
        least = when[i] < least ? when[i] : least;
    return least;
}

static void nobody_has_one_at_first(void)
{
    struct deadlines *d = deadlines_new(3);
    CHECK_EQUAL(deadlines_next_us(d), INT64_MAX);
    deadlines_set(d, 2, INT64_MAX);
    CHECK_EQUAL(deadlines_next_us(d), INT64_MAX);
    deadlines_free(d);
    deadlines_free(NULL);
}

static void a_worker_has_one_at_a_time(void)
{
    struct deadlines *d = deadlines_new(2);
    deadlines_set(d, 0, 50);
    deadlines_set(d, 1, 70);
    deadlines_set(d, 0, 90);
    CHECK_EQUAL(deadlines_next_us(d), 70);
    CHECK_EQUAL(deadlines_first(d), 1);
    deadlines_set(d, 1, INT64_MAX);
    CHECK_EQUAL(deadlines_next_us(d), 90);
    CHECK_EQUAL(deadlines_first(d), 0);
    deadlines_set(d, 0, INT64_MAX);
    CHECK_EQUAL(deadlines_next_us(d), INT64_MAX);
    deadlines_free(d);
}

/* Few different times, so that there are equal ones; small heaps as well as full ones. */
static void the_soonest_is_found_whatever_changed(void)
{
    int64_t when[N];
    struct deadlines *d = deadlines_new(N);
    int wrong = 0;
    srand(1);
    for (uint32_t i = 0; i < N; i++)
        when[i] = INT64_MAX;
    for (int i = 0; i < 100000; i++) {
        uint32_t worker = (uint32_t)rand() % N;
        bool fills = i / 2000 % 2;
        when[worker] = rand() % 8 < (fills ? 7 : 1) ? rand() % 300 : INT64_MAX;
        deadlines_set(d, worker, when[worker]);
        int64_t least = soonest(when, N);
        wrong += deadlines_next_us(d) != least;
        wrong += least < INT64_MAX && when[deadlines_first(d)] != least;
    }
    CHECK_EQUAL(wrong, 0);
    deadlines_free(d);
}

static void they_come_in_order(void)
{
    struct deadlines *d = deadlines_new(N);
    int64_t before = -1;
    int n = 0;
    for (uint32_t i = 0; i < N; i++)
        deadlines_set(d, i, i * 77 % N);
    for (; deadlines_next_us(d) < INT64_MAX; n++) {
        CHECK(deadlines_next_us(d) > before, "%lld after %lld", (long long)deadlines_next_us(d), (long long)before);
        before = deadlines_next_us(d);
        deadlines_set(d, deadlines_first(d), INT64_MAX);
    }
    CHECK_EQUAL(n, N);
    deadlines_free(d);
}

int main(void)
{
    nobody_has_one_at_first();
    a_worker_has_one_at_a_time();
    the_soonest_is_found_whatever_changed();
    they_come_in_order();
    return check_end("deadlines");
}
