#include "base/title.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char *start; /* argv[0]: what ps shows begins here */
static size_t space;

/* The environment behind argv stays what it is: people look for it in /proc. */
void title_init(int argc, char **argv)
{
    char *end = argv[0];
    for (int i = 0; i < argc && argv[i] == end; i++)
        end = argv[i] + strlen(argv[i]) + 1;
    start = argv[0];
    space = (size_t)(end - start);
}

void title_set(const char *format, ...)
{
    va_list args;
    if (!space)
        return;
    memset(start, 0, space);
    va_start(args, format);
    vsnprintf(start, space, format, args);
    va_end(args);
}
