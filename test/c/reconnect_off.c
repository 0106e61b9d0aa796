/*  ZMQ_RECONNECT_IVL -1 and 0: what was connected ends with its peer, as natively, and may be connected again. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <vtx.h>
#include "check.h"

static void *s_ours, *s_theirs;     //  libzmq contexts
static vtx_t *s_vtx, *s_peers;

static const struct { int type, peer; } s_types [] = {
    { ZMQ_PUSH, ZMQ_PULL }, { ZMQ_PAIR, ZMQ_PAIR }, { ZMQ_DEALER, ZMQ_DEALER }, { ZMQ_REQ, ZMQ_REP },
    { ZMQ_PULL, ZMQ_PUSH }, { ZMQ_SUB, ZMQ_XPUB }, { ZMQ_ROUTER, ZMQ_DEALER }
};
enum { TYPES = sizeof s_types / sizeof *s_types };

static void *
opened (vtx_t *vtx, int type)
{
    void *socket = vtx_socket (vtx, type);
    CHECK (socket != NULL);
    limit_wait (socket, 30000);
    set_linger (socket, 0);
    if (type == ZMQ_SUB)
        CHECK (zmq_setsockopt (socket, ZMQ_SUBSCRIBE, "", 0) == 0);
    return socket;
}

static void *
client (int type, int interval, int immediate)
{
    void *socket = opened (s_vtx, type);
    CHECK (zmq_setsockopt (socket, ZMQ_RECONNECT_IVL, &interval, sizeof interval) == 0);
    CHECK (zmq_setsockopt (socket, ZMQ_IMMEDIATE, &immediate, sizeof immediate) == 0);
    return socket;
}

static int
peers (vtx_t *vtx, void *socket)
{
    char *text = vtx_getmeta (vtx, socket, "peers");
    CHECK (text != NULL);
    int count = atoi (text);
    free (text);
    return count;
}

static void
wait_peers (vtx_t *vtx, void *socket, int count)
{
    for (double until = now () + 30; peers (vtx, socket) != count; pause_ms (1))
        CHECK (now () < until);
}

static int
can_send (void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    CHECK (zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size) == 0);
    return events & ZMQ_POLLOUT;
}

//  A message gets through, whichever end sends
static void
talk (int type, void *socket, void *peer)
{
    char byte;
    switch (type) {
        case ZMQ_SUB:
            //  With IMMEDIATE it subscribes when it is used
            for (double until = now () + 30; zmq_recv (peer, &byte, 1, ZMQ_DONTWAIT) != 1; pause_ms (1))
                CHECK (now () < until && zmq_recv (socket, &byte, 1, ZMQ_DONTWAIT) == -1);
            //  Fall through
        case ZMQ_PULL:
            CHECK (say (peer, "hi") == 0 && hears (socket, "hi"));
            break;
        case ZMQ_ROUTER:
            CHECK (say (peer, "hi") == 0);
            char id [256];
            CHECK (zmq_recv (socket, id, sizeof id, 0) > 0 && hears (socket, "hi"));
            break;
        case ZMQ_REQ:
            ROUND_TRIP (socket, peer);
            break;
        default:
            CHECK (say (socket, "hi") == 0 && hears (peer, "hi"));
    }
}

static void *
bound (int type, char *endpoint)
{
    void *peer = opened (s_peers, type);
    //  libzmq's end of the last one may take a moment to leave the address
    for (double until = now () + 30; vtx_bind (s_peers, peer, endpoint); pause_ms (1))
        CHECK (errno == EADDRINUSE && now () < until);
    char *actual = vtx_getmeta (s_peers, peer, "endpoint");
    CHECK (actual != NULL);
    strcpy (endpoint, actual);
    free (actual);
    return peer;
}

static void
lost (const char *any, int i, int interval, int immediate)
{
    int type = s_types [i].type;
    char endpoint [128];
    strcpy (endpoint, any);
    void *peer = bound (s_types [i].peer, endpoint), *socket = client (type, interval, immediate);
    for (int round = 0; round < 3; round++) {
        CHECK (vtx_connect (s_vtx, socket, endpoint) == 0);
        wait_peers (s_vtx, socket, 1);
        talk (type, socket, peer);
        CHECK (vtx_close (s_peers, peer) == 0);
        wait_peers (s_vtx, socket, 0);
        FAILS (vtx_disconnect (s_vtx, socket, endpoint) == -1, ENOENT, "not connected");
        //  With IMMEDIATE a PAIR's messages wait for its next peer, as a bound one's do
        if (type == ZMQ_PUSH || type == ZMQ_DEALER || type == ZMQ_REQ || (type == ZMQ_PAIR && !immediate)) {
            for (double until = now () + 30; can_send (socket); pause_ms (1))
                CHECK (now () < until);
            CHECK (zmq_send (socket, "lost", 4, ZMQ_DONTWAIT) == -1 && errno == EAGAIN);
        }
        peer = bound (s_types [i].peer, endpoint);
    }
    //  Nobody has looked for the new one
    CHECK (peers (s_peers, peer) == 0);
    CHECK (vtx_close (s_peers, peer) == 0);
    CHECK (vtx_close (s_vtx, socket) == 0);
}

static void
lost_over (const char *any)
{
    for (int i = 0; i < TYPES; i++)
        for (int immediate = 0; immediate < 2; immediate++)
            for (int interval = -1; interval <= 0; interval++)
                lost (any, i, interval, immediate);
}

static void lost_tcp (void) { lost_over ("tcp://127.0.0.1:*"); }
static void lost_udp (void) { lost_over ("udp://127.0.0.1:*"); }

//  What a PAIR has not read when it connects again, it reads then
static void
unread (void)
{
    char endpoint [128] = "tcp://127.0.0.1:*";
    void *peer = bound (ZMQ_PAIR, endpoint), *socket = client (ZMQ_PAIR, -1, 0);
    CHECK (vtx_connect (s_vtx, socket, endpoint) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK (zmq_send (peer, "one", 3, ZMQ_SNDMORE) == 3);
        CHECK (say (peer, "two") == 0);
    }
    CHECK (hears (socket, "one"));
    int linger = 20000;
    zmq_setsockopt (peer, ZMQ_LINGER, &linger, sizeof linger);
    CHECK (vtx_close (s_peers, peer) == 0);
    wait_peers (s_vtx, socket, 0);
    FAILS (vtx_connect (s_vtx, socket, endpoint) == -1, EBUSY, "ZMQ_RCVMORE");
    CHECK (hears (socket, "two"));
    peer = bound (ZMQ_PAIR, endpoint);
    CHECK (vtx_connect (s_vtx, socket, endpoint) == 0);
    CHECK (say (peer, "three") == 0);
    CHECK (hears (socket, "one") && hears (socket, "two") && hears (socket, "one") && hears (socket, "two"));
    CHECK (hears (socket, "three"));
    CHECK (say (socket, "four") == 0 && hears (peer, "four"));
    CHECK (vtx_disconnect (s_vtx, socket, endpoint) == 0);
}

//  Nobody was there: no second attempt, and messages wait as if there were one, until the endpoint is disconnected
static void
refused (void)
{
    for (int interval = -1; interval <= 0; interval++) {
        char endpoint [128] = "tcp://127.0.0.1:*";
        void *peer = bound (ZMQ_PULL, endpoint), *socket = client (ZMQ_PUSH, interval, 0);
        CHECK (vtx_close (s_peers, peer) == 0);
        void *events = zmq_socket (s_ours, ZMQ_PAIR);
        limit_wait (events, 30000);
        CHECK (vtx_monitor (s_vtx, socket, "inproc://events", ZMQ_EVENT_CONNECT_RETRIED) == 0);
        CHECK (zmq_connect (events, "inproc://events") == 0);
        CHECK (vtx_connect (s_vtx, socket, endpoint) == 0);
        char frame [256];
        CHECK (zmq_recv (events, frame, sizeof frame, 0) == 6);     //  It has been tried
        zmq_close (events);
        CHECK (say (socket, "waits") == 0);
        CHECK (vtx_disconnect (s_vtx, socket, endpoint) == 0);
        FAILS (vtx_disconnect (s_vtx, socket, endpoint) == -1, ENOENT, "not connected");
        CHECK (vtx_close (s_vtx, socket) == 0);
    }
}

//  Somebody was there and hung up in the handshake: he is lost
static void
cut (void)
{
    int listener = socket (AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK (bind (listener, (struct sockaddr *) &address, size) == 0 && listen (listener, 5) == 0);
    CHECK (getsockname (listener, (struct sockaddr *) &address, &size) == 0);
    char endpoint [64];
    sprintf (endpoint, "tcp://127.0.0.1:%d", ntohs (address.sin_port));
    for (int i = 0; i < TYPES; i++)
        for (int round = 0; round < 2; round++) {
            void *socket = client (s_types [i].type, -round, 0);
            for (int again = 0; again < 3; again++) {
                CHECK (vtx_connect (s_vtx, socket, endpoint) == 0);
                close (accept (listener, NULL, NULL));
                for (double until = now () + 30;; pause_ms (1)) {
                    char *stats = vtx_getmeta (s_vtx, socket, "stats"), wanted [64];
                    sprintf (wanted, "\"connect_retries\":%d,", again + 1);
                    int tried = stats && strstr (stats, wanted);
                    free (stats);
                    if (tried)
                        break;
                    CHECK (now () < until);
                }
                FAILS (vtx_disconnect (s_vtx, socket, endpoint) == -1, ENOENT, "not connected");
            }
            CHECK (vtx_close (s_vtx, socket) == 0);
        }
    close (listener);
}

int
main (int argc, char *argv [])
{
    watchdog (280);
    s_ours = zmq_ctx_new ();
    s_theirs = zmq_ctx_new ();
    s_vtx = vtx_new_raw (s_ours);
    s_peers = vtx_new_raw (s_theirs);
    CHECK (s_vtx && s_peers);
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "lost_tcp", lost_tcp }, { "lost_udp", lost_udp }, { "unread", unread }, { "refused", refused }, { "cut", cut }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            vtx_destroy (&s_vtx);
            vtx_destroy (&s_peers);
            zmq_ctx_term (s_ours);
            zmq_ctx_term (s_theirs);
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
