/* logfile: what is written is there, the file is bounded, and a disk that takes nothing is reported once. */
#include "base/logfile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char directory[] = "/tmp/xse-logfile-XXXXXX";

static size_t size_of(const char *path)
{
    struct stat now;
    return stat(path, &now) ? 0 : (size_t)now.st_size;
}

static void it_is_bounded_and_keeps_the_newest(void)
{
    char path[64], old[64], last[128] = "", line[128];
    snprintf(path, sizeof path, "%s/a.log", directory);
    snprintf(old, sizeof old, "%s/a.log.1", directory);
    struct logfile *file = logfile_open(path, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "line n=%d", i);
        logfile_write(file, LOG_INFO, line);
        CHECK(size_of(path) <= 1000 && size_of(old) <= 1000, "%zu and %zu bytes", size_of(path), size_of(old));
    }
    logfile_close(file);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        memcpy(last, line, sizeof last);
    CHECK(strstr(last, " info line n=999\n"), "the last line is %s", last);
    if (f)
        fclose(f);
    file = logfile_open(path, 1000); /* and what is there counts when it is opened again */
    for (int i = 0; i < 30; i++)
        logfile_write(file, LOG_INFO, "again");
    CHECK(size_of(path) <= 1000, "%zu bytes", size_of(path));
    logfile_close(file);
    unlink(path);
    unlink(old);
}

static void a_disk_that_takes_nothing_is_reported_once(void)
{
    char said[1000] = "";
    int pair[2], keep = dup(STDERR_FILENO);
    CHECK(pipe(pair) == 0, "no pipe");
    dup2(pair[1], STDERR_FILENO);
    struct logfile *file = logfile_open("/dev/full", 1 << 20);
    for (int i = 0; i < 10; i++)
        logfile_write(file, LOG_INFO, "nobody reads this");
    logfile_close(file);
    dup2(keep, STDERR_FILENO);
    CHECK(read(pair[0], said, sizeof said - 1) > 0, "nothing was said");
    CHECK_TEXT(said, "xse-pool: warning log_not_written path=/dev/full reason=\"No space left on device\"\n");
    CHECK(!logfile_open("/dev/null/below", 1000), "it was opened");
}

int main(void)
{
    if (!mkdtemp(directory))
        return 1;
    it_is_bounded_and_keeps_the_newest();
    a_disk_that_takes_nothing_is_reported_once();
    rmdir(directory);
    return check_end("logfile");
}
