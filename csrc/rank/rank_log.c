#include "rank/rank_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/logfile.h"
#include "base/mem.h"

struct rank_log {
    struct logfile *file;
};

static void rank_log_write(void *arg, enum log_level level, const char *line)
{
    logfile_write(((struct rank_log *)arg)->file, level, line);
}

static void rank_log_send(void *arg, enum log_level level, const char *line)
{
    mpx_send(arg, 0, msg_text(WIRE_LOG, level, line));
}

static enum log_level rank_log_least(const struct options *options)
{
    return options->debug ? LOG_DEBUG : LOG_INFO;
}

static int rank_log_make_dirs(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    return mkdir(path, 0777) && errno != EEXIST ? -1 : 0;
}

struct rank_log *rank_log_to_file(const struct options *options, const char *block_id, const char *pool_id)
{
    char path[4096];
    struct logfile *file = NULL;
    if (!*options->log_dir)
        return NULL;
    int n = snprintf(path, sizeof path, "%s/block-%s/%s", options->log_dir, block_id, pool_id);
    if (n < (int)sizeof path - 16 && rank_log_make_dirs(path) == 0) {
        strcat(path, "/manager.log");
        file = logfile_open(path, LOGFILE_MOST_BYTES);
    }
    if (!file) {
        log_warning("log_not_written path=%s reason=\"%s\"", path, strerror(errno));
        return NULL;
    }
    struct rank_log *log = mem_new(sizeof *log);
    log->file = file;
    log_to(rank_log_write, log, rank_log_least(options));
    return log;
}

void rank_log_to_manager(const struct options *options, struct mpx *mpx)
{
    log_to(rank_log_send, mpx, rank_log_least(options));
}

void rank_log_close(struct rank_log *log)
{
    log_to(NULL, NULL, LOG_WARNING);
    if (!log)
        return;
    logfile_close(log->file);
    mem_free(log);
}
