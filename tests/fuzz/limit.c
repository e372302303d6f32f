#include "limit.h"

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

static bool limited, refused;
static size_t left;

void limit_begin(size_t n_bytes)
{
    limited = true;
    refused = false;
    left = n_bytes;
}

bool limit_end(void)
{
    limited = false;
    return refused;
}

void *__wrap_malloc(size_t n)
{
    if (limited && n > left) {
        refused = true;
        return NULL;
    }
    left -= limited ? n : 0;
    return __real_malloc(n);
}
