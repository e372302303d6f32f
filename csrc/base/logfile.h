/* logfile.h: a log on a disk that may be full, or slow to be looked at: it takes at most twice most_bytes, and where it
 * cannot be written the first failure is written to stderr and the work goes on. Writes may block as long as the disk does. */
#ifndef XSE_LOGFILE_H
#define XSE_LOGFILE_H

#include <stddef.h>

#include "base/log.h"

#define LOGFILE_MOST_BYTES ((size_t)64 << 20)

struct logfile;

/* Appends to the file at path. NULL: it cannot be opened, which errno says. */
struct logfile *logfile_open(const char *path, size_t most_bytes);
/* With the time. When the file would exceed most_bytes it becomes PATH.1, in place of an older one. */
void logfile_write(struct logfile *file, enum log_level level, const char *line);
void logfile_close(struct logfile *file); /* NULL: nothing */

#endif
