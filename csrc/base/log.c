#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static void log_to_stderr(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    fprintf(stderr, "xse-pool: %s %s\n", log_level_name(level), line);
}

static struct {
    void (*sink)(void *arg, enum log_level level, const char *line);
    void *arg;
    enum log_level least;
} to = {log_to_stderr, NULL, LOG_WARNING};

void log_to(void (*sink)(void *arg, enum log_level level, const char *line), void *arg, enum log_level least)
{
    to.sink = sink ? sink : log_to_stderr;
    to.arg = arg;
    to.least = least;
}

int log_wants(enum log_level level)
{
    return level >= to.least;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_wants(level))
        return;
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    to.sink(to.arg, level, line);
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return names[level];
}
