/* worker.h: the process in which tasks run: a loop in C that calls Python, task by task. */
#ifndef XSE_WORKER_H
#define XSE_WORKER_H

#include "worker/embed/embedded.h"

/* Until the leader closes the socket. Returns the exit code. May block: it does nothing else. */
int worker_main(int socket, int page_fd, const struct xse_place *place);

#endif
