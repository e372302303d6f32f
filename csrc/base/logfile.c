#include "base/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct logfile {
    char *path;
    int fd;
    size_t n_bytes, most_bytes;
    bool reported;
};

static int logfile_open_at(struct logfile *file)
{
    struct stat now;
    file->fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    file->n_bytes = file->fd >= 0 && fstat(file->fd, &now) == 0 ? (size_t)now.st_size : 0;
    return file->fd;
}

static void logfile_tell(struct logfile *file)
{
    if (!file->reported)
        fprintf(stderr, "xse-pool: warning log_not_written path=%s reason=\"%s\"\n", file->path, strerror(errno));
    file->reported = true;
}

static void logfile_begin_anew(struct logfile *file)
{
    size_t n = strlen(file->path);
    char *old = mem_new(n + 3);
    memcpy(old, file->path, n);
    memcpy(old + n, ".1", 2);
    close(file->fd);
    if (rename(file->path, old) || logfile_open_at(file) < 0)
        logfile_tell(file);
    mem_free(old);
}

struct logfile *logfile_open(const char *path, size_t most_bytes)
{
    struct logfile *file = mem_new(sizeof *file);
    *file = (struct logfile){.path = mem_text(path), .fd = -1, .most_bytes = most_bytes};
    if (logfile_open_at(file) >= 0)
        return file;
    int why = errno;
    logfile_close(file);
    errno = why;
    return NULL;
}

void logfile_write(struct logfile *file, enum log_level level, const char *line)
{
    char text[2200], stamp[32];
    struct timespec t;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &t);
    localtime_r(&t.tv_sec, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    int n = snprintf(text, sizeof text, "%s.%03ld %s %s\n", stamp, t.tv_nsec / 1000000, log_level_name(level), line);
    if (n >= (int)sizeof text)
        n = (int)sizeof text - 1;
    if (file->fd >= 0 && file->n_bytes && file->n_bytes + (size_t)n > file->most_bytes)
        logfile_begin_anew(file);
    if (file->fd < 0)
        return;
    for (const char *p = text; n > 0;) { /* in one piece, unless the disk takes only a part */
        ssize_t written = write(file->fd, p, (size_t)n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            logfile_tell(file);
            break;
        }
        file->n_bytes += (size_t)written;
        p += written;
        n -= (int)written;
    }
}

void logfile_close(struct logfile *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    mem_free(file->path);
    mem_free(file);
}
