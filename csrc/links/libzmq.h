/* libzmq.h: what xse-pool uses of libzmq, which is loaded when a link over TCP is opened.
 *
 * pyzmq, which xse needs in any case, brings a libzmq without its header. So the few declarations stand here: the stable
 * ABI of libzmq 4.3 (zmq.h), no more than is used. Thus a build needs no libzmq, both ends of a link use the same library,
 * and a rank that has no link loads none. */
#ifndef XSE_LIBZMQ_H
#define XSE_LIBZMQ_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ZMQ_PAIR = 0, ZMQ_DEALER = 5 }; /* kinds of sockets */
enum { /* options of sockets */
       ZMQ_FD = 14,
       ZMQ_EVENTS = 15,
       ZMQ_LINGER = 17,
       ZMQ_RECONNECT_IVL = 18,
       ZMQ_SNDHWM = 23,
       ZMQ_RCVHWM = 24,
       ZMQ_IPV6 = 42,
       ZMQ_CURVE_PUBLICKEY = 48,
       ZMQ_CURVE_SECRETKEY = 49,
       ZMQ_CURVE_SERVERKEY = 50
};
enum { ZMQ_POLLIN = 1 };
enum { ZMQ_DONTWAIT = 1, ZMQ_SNDMORE = 2 }; /* flags of send and receive */
enum { /* events of a monitor */
       ZMQ_EVENT_CONNECT_RETRIED = 0x0004,
       ZMQ_EVENT_CLOSED = 0x0080,
       ZMQ_EVENT_DISCONNECTED = 0x0200,
       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x0800,
       ZMQ_EVENT_HANDSHAKE_SUCCEEDED = 0x1000,
       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL = 0x2000,
       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH = 0x4000
};

typedef union {
    unsigned char bytes[64];
    void *aligned;
} zmq_msg_t;

typedef struct {
    void *socket;
    int fd;
    short events, revents;
} zmq_pollitem_t;

/* Each is a pointer, which libzmq_load sets: FUNCTION(returns, name, arguments). */
#define LIBZMQ_FUNCTIONS(FUNCTION)                                                                                     \
    FUNCTION(void, zmq_version, (int *major, int *minor, int *patch))                                                  \
    FUNCTION(int, zmq_errno, (void))                                                                                   \
    FUNCTION(const char *, zmq_strerror, (int error))                                                                  \
    FUNCTION(void *, zmq_ctx_new, (void))                                                                              \
    FUNCTION(int, zmq_ctx_term, (void *context))                                                                       \
    FUNCTION(void *, zmq_socket, (void *context, int kind))                                                            \
    FUNCTION(int, zmq_close, (void *socket))                                                                           \
    FUNCTION(int, zmq_setsockopt, (void *socket, int option, const void *value, size_t n))                             \
    FUNCTION(int, zmq_getsockopt, (void *socket, int option, void *value, size_t *n))                                  \
    FUNCTION(int, zmq_connect, (void *socket, const char *endpoint))                                                   \
    FUNCTION(int, zmq_socket_monitor, (void *socket, const char *endpoint, int events))                                \
    FUNCTION(int, zmq_poll, (zmq_pollitem_t * items, int n, long timeout_ms))                                          \
    FUNCTION(int, zmq_msg_init, (zmq_msg_t * msg))                                                                     \
    FUNCTION(int, zmq_msg_init_size, (zmq_msg_t * msg, size_t n))                                                      \
    FUNCTION(int, zmq_msg_init_data,                                                                                   \
             (zmq_msg_t * msg, void *data, size_t n, void (*release)(void *, void *), void *hint))                     \
    FUNCTION(int, zmq_msg_send, (zmq_msg_t * msg, void *socket, int flags))                                            \
    FUNCTION(int, zmq_msg_recv, (zmq_msg_t * msg, void *socket, int flags))                                            \
    FUNCTION(int, zmq_msg_close, (zmq_msg_t * msg))                                                                    \
    FUNCTION(int, zmq_msg_more, (const zmq_msg_t *msg))                                                                \
    FUNCTION(void *, zmq_msg_data, (zmq_msg_t * msg))                                                                  \
    FUNCTION(size_t, zmq_msg_size, (const zmq_msg_t *msg))

#define FUNCTION(returns, name, arguments) extern returns(*name) arguments;
LIBZMQ_FUNCTIONS(FUNCTION)
#undef FUNCTION

/* Load the library: `path`, if that is not empty; else the one that pyzmq has brought beside this executable's package or
 * into the environment it was built for; else the system's. Does nothing when it is loaded. 0, or -1 and err. */
int libzmq_load(const char *path, struct err *err);

#endif
