/* check.h: what the C tests say things with. A failed check prints where and what, and the program ends with 1 when it
 * ends; a test that ran to the end with no failed check passed. */
#ifndef XSE_CHECK_H
#define XSE_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_failures, check_count;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        check_count++;                                                                                                 \
        if (!(condition)) {                                                                                            \
            check_failures++;                                                                                          \
            fprintf(stderr, "%s:%d: %s: not so: ", __FILE__, __LINE__, #condition);                                    \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

#define CHECK_EQUAL(a, b)                                                                                              \
    do {                                                                                                               \
        long long check_a = (long long)(a), check_b = (long long)(b);                                                  \
        CHECK(check_a == check_b, "%s is %lld, %s is %lld", #a, check_a, #b, check_b);                                 \
    } while (0)

#define CHECK_TEXT(a, b) CHECK(strcmp((a), (b)) == 0, "\n  %s\n  %s", (a), (b))

static inline int check_end(const char *name)
{
    printf("%s: %d checks, %d failed\n", name, check_count, check_failures);
    return check_failures || !check_count;
}

#endif
