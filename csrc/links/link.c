#include "links/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "links/zlink.h"
#include "wire/stream.h"

struct link { /* one of the two */
    struct stream *stream;
    struct zlink *zlink;
    char *endpoint;
};

/* Another user of this host may have made a socket where ours is on the interchange's. */
static bool link_is_ours(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.uid == geteuid();
}

/* A descriptor, or -1: no such socket on this host, or nobody of ours behind it. */
static int link_connect_local(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = endpoint + strlen("unix://");
    if (strncmp(endpoint, "unix://", strlen("unix://")) != 0 || strlen(path) >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && link_is_ours(fd))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool link_reaches_beyond(const struct connect_file *file)
{
    for (int i = 0; i < file->n_endpoints; i++)
        if (strncmp(file->endpoints[i], "tcp://", strlen("tcp://")) == 0)
            return true;
    return false;
}

struct link *link_open(const struct connect_file *file, int timeout_ms, struct loop *loop,
                       const struct link_events *events, struct err *err)
{
    struct link *link = mem_new(sizeof *link);
    for (int i = 0; i < file->n_endpoints; i++) {
        int fd = link_connect_local(file->endpoints[i]);
        if (fd < 0)
            continue;
        link->stream = stream_new(loop, fd, &(struct stream_events){events->message, events->lost, events->arg});
        link->endpoint = mem_text(file->endpoints[i]);
        return link;
    }
    if (link_reaches_beyond(file))
        link->zlink = zlink_open(file, timeout_ms, loop, events, err);
    else
        err_set(err,
                "cannot reach the interchange: nobody answers at its unix socket on this host, and it listens nowhere "
                "else. It may have ended; for blocks on other hosts give the executor an address=");
    if (link->zlink) {
        link->endpoint = mem_text(zlink_endpoint(link->zlink));
        return link;
    }
    mem_free(link);
    return NULL;
}

void link_send(struct link *link, struct msg *msg)
{
    if (link->stream)
        stream_send(link->stream, msg);
    else
        zlink_send(link->zlink, msg);
}

uint64_t link_waiting(const struct link *link)
{
    if (!link)
        return 0;
    return link->stream ? stream_waiting(link->stream) : zlink_waiting(link->zlink);
}

void link_flush(struct link *link)
{
    if (link && link->stream)
        stream_flush(link->stream);
}

bool link_is_busy(struct link *link)
{
    return link && link->stream && stream_is_busy(link->stream);
}

void link_close(struct link *link, int linger_ms)
{
    if (!link)
        return;
    if (link->stream)
        stream_close(link->stream, linger_ms);
    else
        zlink_close(link->zlink, linger_ms);
    mem_free(link->endpoint);
    mem_free(link);
}

const char *link_endpoint(const struct link *link)
{
    return link->endpoint;
}
