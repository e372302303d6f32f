/* invariant.h: what must always hold, looked at in debug and sanitized builds alone, for it costs a look at everything. */
#ifndef XSE_INVARIANT_H
#define XSE_INVARIANT_H

#include <stdio.h>
#include <stdlib.h>

/* check: a call that returns NULL, or what does not hold. */
#ifdef XSE_CHECKS
#define INVARIANT(check)                                                                                               \
    do {                                                                                                               \
        const char *broken = (check);                                                                                  \
        if (broken) {                                                                                                  \
            fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, broken);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)
#else
#define INVARIANT(check) ((void)sizeof(check))
#endif

#endif
