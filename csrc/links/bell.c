#include "links/bell.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define MOST_ADDRESSES 8
#define MOST_HEARD 64 /* far datagrams in a turn */

struct ring { /* a far ring on the wire; numbers in network order */
    uint8_t token[8];
    uint32_t rank;
    uint32_t awake_us;
};

struct bell {
    int near, far;
    struct ring mine;
    struct bell_card card;
};

static int bell_bind_near(struct bell *bell, struct err *err)
{
    uint64_t random;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bell->near = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bell->near < 0 || getrandom(&random, sizeof random, 0) != sizeof random)
        return err_set_errno(err, "cannot make a doorbell socket");
    snprintf(bell->card.name, sizeof bell->card.name, "xse-%016llx", (unsigned long long)random);
    memcpy(address.sun_path + 1, bell->card.name, strlen(bell->card.name));
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(bell->card.name));
    if (bind(bell->near, (struct sockaddr *)&address, n))
        return err_set_errno(err, "cannot bind a doorbell socket");
    return 0;
}

static void bell_list_addresses(struct bell_card *card)
{
    struct ifaddrs *all = NULL;
    int n = 0;
    if (getifaddrs(&all))
        return;
    for (struct ifaddrs *i = all; i && n < MOST_ADDRESSES; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
            !(i->ifa_flags & IFF_LOOPBACK))
            card->addresses[n++] = ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr;
    freeifaddrs(all);
}

/* A host without UDP is no error: its ranks sleep shorter. */
static void bell_bind_far(struct bell *bell)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t n = sizeof address;
    bell->far = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bell->far < 0)
        return;
    if (bind(bell->far, (struct sockaddr *)&address, n) || getsockname(bell->far, (struct sockaddr *)&address, &n)) {
        close(bell->far);
        bell->far = -1;
        return;
    }
    bell->card.port = address.sin_port;
    bell_list_addresses(&bell->card);
}

struct bell *bell_new(uint32_t rank, const uint8_t *token, bool far, struct err *err)
{
    struct bell *bell = mem_new(sizeof *bell);
    bell->near = bell->far = -1;
    memcpy(bell->mine.token, token, sizeof bell->mine.token);
    bell->mine.rank = htonl(rank);
    if (bell_bind_near(bell, err)) {
        bell_free(bell);
        return NULL;
    }
    if (far)
        bell_bind_far(bell);
    return bell;
}

void bell_free(struct bell *bell)
{
    if (!bell)
        return;
    if (bell->near >= 0)
        close(bell->near);
    if (bell->far >= 0)
        close(bell->far);
    mem_free(bell);
}

const struct bell_card *bell_card(const struct bell *bell)
{
    return &bell->card;
}

int bell_local_fd(const struct bell *bell)
{
    return bell->near;
}

int bell_far_fd(const struct bell *bell)
{
    return bell->far;
}

/* A full socket has rung already, and a rank that is gone is the business of its manager: errors are of no use here. */
void bell_ring_near(struct bell *bell, const struct bell_card *to)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strnlen(to->name, sizeof to->name);
    memcpy(address.sun_path + 1, to->name, n);
    sendto(bell->near, "", 1, MSG_NOSIGNAL, (struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n));
}

static void bell_ring_at(struct bell *bell, const struct ring *ring, uint32_t address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = address};
    sendto(bell->far, ring, sizeof *ring, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to);
}

void bell_ring_far(struct bell *bell, const struct bell_far *far, const struct bell_card *card, uint32_t awake_us)
{
    struct ring ring = bell->mine;
    ring.awake_us = htonl(awake_us);
    if (bell->far < 0 || !card->port)
        return;
    if (far->port)
        bell_ring_at(bell, &ring, far->address, far->port);
    for (int i = 0; !far->port && i < MOST_ADDRESSES && card->addresses[i]; i++)
        bell_ring_at(bell, &ring, card->addresses[i], card->port);
}

void bell_hear(struct bell *bell, void (*from)(void *arg, uint32_t rank, const struct bell_far *far, uint32_t awake_us),
               void *arg)
{
    uint8_t byte[8];
    struct ring ring;
    struct sockaddr_in address;
    /* One is rung once a sleep by each rank of the node: more than these come from an untrusted peer. */
    for (int i = 0; i < MOST_HEARD && recv(bell->near, byte, sizeof byte, 0) >= 0; i++)
        ;
    for (int i = 0; i < MOST_HEARD && bell->far >= 0; i++) {
        socklen_t n = sizeof address;
        ssize_t got = recvfrom(bell->far, &ring, sizeof ring, MSG_TRUNC, (struct sockaddr *)&address, &n);
        if (got < 0)
            return;
        if (got == sizeof ring && memcmp(ring.token, bell->mine.token, sizeof ring.token) == 0)
            from(arg, ntohl(ring.rank), &(struct bell_far){address.sin_addr.s_addr, address.sin_port},
                 ntohl(ring.awake_us));
    }
}
