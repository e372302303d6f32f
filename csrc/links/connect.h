/* connect.h: the connect file, by which a pool finds its interchange: where it listens, the keys, and how to run.
 *
 * Lines `name value`; the first is `xse-connect 1`. Names: run, block, endpoint (again for each), option (an option of
 * xse-pool and its value, again for each; the command line comes after and wins), server_key, public_key, secret_key
 * (CURVE, Z85). The file is private to its user (0600): the keys stand nowhere else. */
#ifndef XSE_CONNECT_H
#define XSE_CONNECT_H

#include <stdbool.h>

#include "base/err.h"

#define CONNECT_KEY 41 /* Z85 of 32 bytes, and NUL */

struct connect_file {
    char *run, *block; /* NULL: not said */
    char **endpoints; /* unix://PATH, tcp://HOST:PORT */
    int n_endpoints;
    char **options; /* as argv has them: --name, value, ... */
    int n_options;
    char server_key[CONNECT_KEY], public_key[CONNECT_KEY], secret_key[CONNECT_KEY]; /* "": not encrypted */
};

/* with_keys: false leaves the keys alone; a process that forks workers must not have them in its memory. */
int connect_read(const char *path, bool with_keys, struct connect_file *file, struct err *err); /* 0, or -1 and err */
void connect_clear(struct connect_file *file); /* wipes the keys */

#endif
