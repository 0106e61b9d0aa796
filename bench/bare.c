/*  What the kernel alone can do with the same messages: the limit for vtxperf, whose command line
    this has. Run it without arguments to learn how.
*/

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "measure.h"

//  Datagrams that one system call moves
#define BATCH           32
#define DATAGRAM_MAX    4096
//  A batch's bodies are not a power of two apart, or all of them would meet in the same lines of the cache
#define DATAGRAM_STEP   (DATAGRAM_MAX + 64)
#define RECEIVERS_MAX   16
//  VTX's udp driver asks for as much
#define DATAGRAM_BUFFER (4 << 20)
//  Bytes that one system call moves of a stream, unless a message is longer
#define STREAM_BLOCK    65536
//  The header that ZMTP puts before a short body, and before one above 255 bytes
#define HEADER_SHORT    2
#define HEADER_LONG     9

typedef struct {
    struct sockaddr_storage to;
    socklen_t length;
} address_t;

static plan_t plan;
static bool datagrams;

static void
check (bool ok, const char *what)
{
    if (!ok)
        die (what, strerror (errno));
}

static bool
starts (const char *text, const char *start)
{
    return strncmp (text, start, strlen (start)) == 0;
}

static void
limit (int fd, int option, int msecs)
{
    struct timeval limit = { msecs / 1000, msecs % 1000 * 1000 };
    check (setsockopt (fd, SOL_SOCKET, option, &limit, sizeof limit) == 0, "SO_RCVTIMEO");
}

//  --------------------------------------------------------------------------
//  Endpoints

static address_t
parse (const char *endpoint)
{
    address_t address = { .length = 0 };
    if (starts (endpoint, "ipc://")) {
        struct sockaddr_un *un = (struct sockaddr_un *) &address.to;
        un->sun_family = AF_UNIX;
        snprintf (un->sun_path, sizeof un->sun_path, "%s", endpoint + 6);
        address.length = sizeof *un;
        return address;
    }
    struct sockaddr_in *in = (struct sockaddr_in *) &address.to;
    char host [64];
    const char *port = strrchr (endpoint, ':');
    snprintf (host, sizeof host, "%.*s", (int) (port - endpoint - 6), endpoint + 6);
    in->sin_family = AF_INET;
    in->sin_port = htons ((uint16_t) atoi (port + 1));
    if (inet_pton (AF_INET, host, &in->sin_addr) != 1)
        die (endpoint, "is no tcp://, udp:// or ipc:// endpoint with an IPv4 address and a port");
    address.length = sizeof *in;
    return address;
}

static int
make_socket (const address_t *address)
{
    int fd = socket (address->to.ss_family, datagrams? SOCK_DGRAM: SOCK_STREAM, 0), size = DATAGRAM_BUFFER;
    check (fd >= 0, "socket");
    if (datagrams)
        check (setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0, "SO_RCVBUF");
    limit (fd, SO_RCVTIMEO, PATIENCE_MS);
    return fd;
}

static void
no_delay (int fd, const address_t *address)
{
    int on = 1;
    if (address->to.ss_family == AF_INET)
        check (setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
}

//  Binds, tells the endpoint, and returns a socket with the first peer. A datagram's peers say
//  a word of one byte first, which puts them into peer.
static int
await (address_t *peer, int peers)
{
    address_t address = parse (plan.endpoint);
    int fd = make_socket (&address), on = 1;
    if (address.to.ss_family == AF_UNIX)
        unlink (plan.endpoint + 6);
    else
        check (setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
    check (bind (fd, (struct sockaddr *) &address.to, address.length) == 0, "bind");
    check (datagrams || listen (fd, 1) == 0, "listen");
    if (address.to.ss_family == AF_UNIX)
        report_endpoint ("", plan.endpoint);
    else {
        struct sockaddr_in bound;
        socklen_t length = sizeof bound;
        char text [64];
        check (getsockname (fd, (struct sockaddr *) &bound, &length) == 0, "getsockname");
        snprintf (text, sizeof text, "%s:%d", inet_ntoa (bound.sin_addr), ntohs (bound.sin_port));
        report_endpoint (datagrams? "udp://": "tcp://", text);
    }
    if (datagrams) {
        for (int i = 0; i < peers; i++) {
            char word;
            peer [i].length = sizeof peer [i].to;
            check (recvfrom (fd, &word, 1, 0, (struct sockaddr *) &peer [i].to, &peer [i].length) == 1, "recvfrom");
        }
        return fd;
    }
    int stream = accept (fd, NULL, NULL);
    check (stream >= 0, "accept");
    no_delay (stream, &address);
    limit (stream, SO_RCVTIMEO, PATIENCE_MS);
    peer [0].length = 0;
    return stream;
}

static int
reach (address_t *peer)
{
    *peer = parse (plan.endpoint);
    int fd = make_socket (peer);
    if (datagrams)
        check (sendto (fd, "", 1, 0, (struct sockaddr *) &peer->to, peer->length) == 1, "sendto");
    else {
        check (connect (fd, (struct sockaddr *) &peer->to, peer->length) == 0, "connect");
        no_delay (fd, peer);
        peer->length = 0;
    }
    return fd;
}

//  --------------------------------------------------------------------------
//  Datagrams one way, each of them a message

static char body [BATCH] [DATAGRAM_STEP];
static struct iovec part [BATCH];
static struct mmsghdr batch [BATCH];

static void
prepare (size_t size)
{
    if (size > DATAGRAM_MAX)
        die ("size", "is more than a datagram takes here");
    for (int i = 0; i < BATCH; i++) {
        part [i] = (struct iovec) { body [i], size };
        batch [i].msg_hdr.msg_iov = &part [i];
        batch [i].msg_hdr.msg_iovlen = 1;
    }
}

static void
send_batch (int fd, address_t *peer, long count)
{
    for (int i = 0; i < BATCH; i++)
        stamp (body [i], plan.size, count + i);
    for (int p = 0; p < plan.count; p++) {
        for (int i = 0; i < BATCH; i++) {
            batch [i].msg_hdr.msg_name = &peer [p].to;
            batch [i].msg_hdr.msg_namelen = peer [p].length;
        }
        for (int sent = 0; sent < BATCH; ) {
            int n = sendmmsg (fd, batch + sent, (unsigned) (BATCH - sent), 0);
            check (n > 0, "sendmmsg");
            sent += n;
        }
    }
}

//  Goes on after its report, unless it is for the loss
static void
send_datagrams (void)
{
    address_t peer [RECEIVERS_MAX];
    if (plan.count > RECEIVERS_MAX)
        die ("count", "is more than 16");
    bool paced = strcmp (plan.test, "loss") == 0;
    int fd = await (peer, plan.count);
    prepare (plan.size);
    long count = 0;
    window_t window;
    window_open (&window);
    while (window_spent (&window) < plan.seconds * (paced? 1: SENDER_PART)) {
        pace (window.start, count, plan.rate);
        send_batch (fd, peer, count);
        count += BATCH;
    }
    window_report (&window, count);
    report_end ();
    while (!paced && window_spent (&window) < plan.seconds + LEAVE_MS / 1000)
        send_batch (fd, peer, 0);
}

static void
receive_datagrams (void)
{
    address_t peer;
    bool paced = strcmp (plan.test, "loss") == 0;
    int fd = reach (&peer), n;
    prepare (DATAGRAM_MAX);
    long count = paced? 0: -MESSAGES_BEFORE;
    window_t window = { .start = 0 };
    while ((n = recvmmsg (fd, batch, BATCH, MSG_WAITFORONE, NULL)) > 0) {
        if (batch [n - 1].msg_len != plan.size)
            die ("a message", "has the wrong size");
        count += n;
        if (window.start == 0 && count >= 0) {
            if (paced)
                limit (fd, SO_RCVTIMEO, SILENCE_MS);
            else
                count = 0;
            window_open (&window);
        }
        if (!paced && window.start > 0 && window_spent (&window) >= plan.seconds)
            break;
    }
    check ((n > 0 || (paced && errno == EAGAIN)) && count > 0, "recvmmsg");
    if (paced)
        report_figure ("messages", count, 0, "");
    else
        window_report (&window, count);
}

//  --------------------------------------------------------------------------
//  A stream one way: messages with ZMTP's headers, as many together as fill a block

static size_t
frame_size (void)
{
    return plan.size + (plan.size > 255? HEADER_LONG: HEADER_SHORT);
}

static void
send_stream (void)
{
    address_t peer;
    int fd = await (&peer, 1);
    size_t frames = STREAM_BLOCK / frame_size ();
    size_t size = frame_size () * (frames > 0? frames: 1);
    char *block = calloc (1, size);
    check (block != NULL, "calloc");
    double bytes = 0;
    bool told = false;
    window_t window;
    window_open (&window);
    while (send (fd, block, size, MSG_NOSIGNAL) == (ssize_t) size) {
        bytes += size;
        if (!told && window_spent (&window) >= plan.seconds * SENDER_PART) {
            window_report (&window, (long) (bytes / frame_size ()));
            report_end ();
            told = true;
        }
    }
    check (errno == EPIPE || errno == ECONNRESET || told, "send");
    free (block);
}

static void
receive_stream (void)
{
    static char block [STREAM_BLOCK];
    address_t peer;
    int fd = reach (&peer);
    double bytes = 0;
    ssize_t n = recv (fd, block, sizeof block, MSG_WAITALL);
    window_t window;
    window_open (&window);
    while (n > 0 && window_spent (&window) < plan.seconds) {
        n = recv (fd, block, sizeof block, 0);
        bytes += n;
    }
    check (n > 0, "recv");
    window_report (&window, (long) (bytes / frame_size ()));
    close (fd);
}

//  --------------------------------------------------------------------------
//  Round trips, of datagrams and of streams

//  Returns false at the end
static bool
take (int fd, char *message, address_t *peer)
{
    socklen_t length = sizeof peer->to;
    ssize_t n = recvfrom (fd, message, plan.size, MSG_WAITALL, datagrams? (struct sockaddr *) &peer->to: NULL, &length);
    return n == (ssize_t) plan.size;
}

static bool
put (int fd, const char *message, const address_t *peer)
{
    ssize_t n = sendto (fd, message, plan.size, MSG_NOSIGNAL, datagrams? (struct sockaddr *) &peer->to: NULL, peer->length);
    return n == (ssize_t) plan.size;
}

static void
answer (void)
{
    address_t peer;
    int fd = await (&peer, 1);
    char *message = calloc (1, plan.size);
    check (message != NULL, "calloc");
    long count = -TRIPS_BEFORE;
    bool told = false;
    window_t window = { .start = 0 };
    while (take (fd, message, &peer) && put (fd, message, &peer)) {
        if (count++ == 0)
            window_open (&window);
        if (!told && count > 0 && window_spent (&window) >= plan.seconds * SENDER_PART) {
            window_report (&window, count);
            report_end ();
            told = true;
            limit (fd, SO_RCVTIMEO, LEAVE_MS);
        }
    }
    check (told, "recvfrom");
    free (message);
}

typedef struct {
    int fd;
    address_t peer;
    char *message;
} asking_t;

static void
ask_once (void *asking, long number)
{
    asking_t *self = asking;
    stamp (self->message, plan.size, number);
    check (put (self->fd, self->message, &self->peer), "sendto");
    check (take (self->fd, self->message, &self->peer), "recvfrom");
}

static void
ask (void)
{
    asking_t self;
    self.fd = reach (&self.peer);
    self.message = calloc (1, plan.size + sizeof (long));
    check (self.message != NULL, "malloc");
    trips_measure (&plan, ask_once, &self);
    close (self.fd);
    free (self.message);
}

//  --------------------------------------------------------------------------

static const struct {
    const char *name;
    bool of_datagrams;
    bool of_streams;
    void (*serve) (void);
    void (*use) (void);
} tests [] = {
    { "throughput", true, false, send_datagrams, receive_datagrams },
    { "throughput", false, true, send_stream, receive_stream },
    { "loss", true, false, send_datagrams, receive_datagrams },
    { "fanout", true, false, send_datagrams, receive_datagrams },
    { "latency", true, true, answer, ask }
};

static const char usage [] =
    "usage: bare TEST bind|connect ENDPOINT [NAME=VALUE...]\n"
    "\n"
    "What the kernel alone can do, to hold vtxperf's figures against. ENDPOINT is tcp://, udp:// or ipc://.\n"
    "\n"
    "tests\n"
    "    throughput     streams: messages with ZMTP's headers back to back, written 64 KiB at a time (or a\n"
    "                   message, if that is longer), and read as bytes: nobody looks at each of them;\n"
    "                   udp: a datagram for each message, 32 of them in a sendmmsg and a recvmmsg\n"
    "    latency        ping-pong with sendto and recvfrom\n"
    "    fanout         udp: as throughput, to count other processes\n"
    "    loss           udp: as throughput, at a rate, for seconds, until silence\n"
    "\n"
    "names              as of vtxperf: size=100 seconds=1 count=1 rate=0\n";

int
main (int argc, char *argv [])
{
    size_t test = 0, known = sizeof tests / sizeof tests [0];
    if (plan_read (&plan, argc - 1, argv + 1) != 0) {
        fputs (usage, stderr);
        return 1;
    }
    datagrams = starts (plan.endpoint, "udp://");
    if (!datagrams && !starts (plan.endpoint, "tcp://") && !starts (plan.endpoint, "ipc://"))
        die (plan.endpoint, "is no tcp://, udp:// or ipc:// endpoint");
    while (test < known && (strcmp (tests [test].name, plan.test) != 0
    ||  !(datagrams? tests [test].of_datagrams: tests [test].of_streams)))
        test++;
    if (test == known)
        die (plan.test, "is no test of this transport");
    if (plan.binds)
        tests [test].serve ();
    else {
        tests [test].use ();
        report_end ();
    }
    return 0;
}
