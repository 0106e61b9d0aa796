/*  UDP sockets on loopback, as plainly as they come */

#ifndef BARE_H_INCLUDED
#define BARE_H_INCLUDED

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "bench.h"

//  The driver asks for as much
#define BARE_RCVBUF     (4 << 20)

//  A socket on a free port of loopback
static inline int
bare_socket (void)
{
    int fd = socket (AF_INET, SOCK_DGRAM, 0);
    int size = BARE_RCVBUF;
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    if (fd == -1
    ||  setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == -1
    ||  bind (fd, (struct sockaddr *) &address, sizeof address) == -1)
        die ("socket", strerror (errno));
    return fd;
}

static inline void
bare_timeout (int fd, int msecs)
{
    struct timeval limit = { msecs / 1000, msecs % 1000 * 1000 };
    if (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == -1)
        die ("SO_RCVTIMEO", strerror (errno));
}

static inline struct sockaddr_in
bare_address (const char *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    address.sin_port = htons ((unsigned short) number (port, 1, 65535));
    return address;
}

//  Tell the port that the kernel chose
static inline void
bare_tell (int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname (fd, (struct sockaddr *) &address, &length) == -1)
        die ("getsockname", strerror (errno));
    printf ("endpoint=%d\n", ntohs (address.sin_port));
    fflush (stdout);
}

#endif
