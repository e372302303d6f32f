#include "title.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

static char *start; /* argv[0]: what ps shows begins here */
static size_t room;

/* argv and the environment lie behind each other; a title may take both once the environment has been copied. */
void title_init(int argc, char **argv)
{
    char *end = argv[0];
    int n = 0;
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end = argv[i] + strlen(argv[i]) + 1;
    while (environ[n])
        n++;
    char **copy = mem_array((size_t)n + 1, sizeof *copy);
    for (int i = 0; i < n; i++) {
        if (environ[i] == end)
            end = environ[i] + strlen(environ[i]) + 1;
        copy[i] = mem_text(environ[i]);
    }
    environ = copy;
    start = argv[0];
    room = (size_t)(end - start);
}

void title_set(const char *format, ...)
{
    va_list args;
    if (!room)
        return;
    memset(start, 0, room);
    va_start(args, format);
    vsnprintf(start, room, format, args);
    va_end(args);
}
