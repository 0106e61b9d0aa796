/*  What the programs on libzmq sockets have in common */

#ifndef SOCKETS_H_INCLUDED
#define SOCKETS_H_INCLUDED

#include <errno.h>
#include <zmq.h>
#include "bench.h"

static inline void
check (int ok, const char *what)
{
    if (!ok)
        die (what, zmq_strerror (errno));
}

static inline void
set (void *socket, int option, int value)
{
    check (zmq_setsockopt (socket, option, &value, sizeof value) == 0, "zmq_setsockopt");
}

//  Send every request back, until nobody asks any more within ZMQ_RCVTIMEO
static inline void
echo (void *socket, char *body)
{
    int size;
    while ((size = zmq_recv (socket, body, BENCH_MAX_SIZE, 0)) >= 0)
        check (zmq_send (socket, body, (size_t) size, 0) == size, "zmq_send");
    check (0, "zmq_recv");
}

#endif
