/*  ZMQ_FD after the calls of vtx: a program that waits for the descriptor alone, and looks at ZMQ_EVENTS when it has
    become readable, is told of what comes and of what is there. */

#include <errno.h>
#include <poll.h>
#include <vtx.h>
#include "check.h"

static void *s_ours, *s_theirs;     //  libzmq contexts
static vtx_t *s_vtx, *s_peers;

static void
begin (void)
{
    s_ours = zmq_ctx_new ();
    s_theirs = zmq_ctx_new ();
    s_vtx = vtx_new_raw (s_ours);
    s_peers = vtx_new_raw (s_theirs);
    CHECK (s_vtx && s_peers);
}

static void
end (void)
{
    vtx_destroy (&s_vtx);
    vtx_destroy (&s_peers);
    zmq_ctx_term (s_ours);
    zmq_ctx_term (s_theirs);
}

static void *
opened (vtx_t *vtx, int type)
{
    void *socket = vtx_socket (vtx, type);
    CHECK (socket != NULL);
    set_linger (socket, 0);
    if (type == ZMQ_SUB)
        CHECK (zmq_setsockopt (socket, ZMQ_SUBSCRIBE, "", 0) == 0);
    return socket;
}

static int
fd_of (void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    CHECK (zmq_getsockopt (socket, ZMQ_FD, &fd, &size) == 0);
    return fd;
}

static int
events_of (void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    CHECK (zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size) == 0);
    return events;
}

static int
readable (int fd, int msecs)
{
    struct pollfd item = { fd, POLLIN, 0 };
    return poll (&item, 1, msecs) > 0;
}

//  Wait for the descriptor alone until the socket has this event
static void
wait_for (void *socket, int fd, int event)
{
    for (double until = now () + 30; !readable (fd, 100) || !(events_of (socket) & event);)
        CHECK (now () < until);
}

//  What a peer of another context needs before it sends: a request or subscription of ours, or a peer
static int
may_send (void *peer, int type)
{
    char buffer [16];
    if (type == ZMQ_XPUB || type == ZMQ_REP)
        return zmq_recv (peer, buffer, sizeof buffer, ZMQ_DONTWAIT) >= 0;
    char *peers = vtx_getmeta (s_peers, peer, "peers");
    int any = peers && strcmp (peers, "0");
    free (peers);
    return any;
}

//  A type that waits for messages, and one that sends them
static const struct { int type, peer; const char *name; } s_types [] = {
    { ZMQ_PULL, ZMQ_PUSH, "PULL" }, { ZMQ_SUB, ZMQ_XPUB, "SUB" }, { ZMQ_XSUB, ZMQ_XPUB, "XSUB" },
    { ZMQ_XPUB, ZMQ_SUB, "XPUB" }, { ZMQ_DEALER, ZMQ_DEALER, "DEALER" }, { ZMQ_PAIR, ZMQ_PAIR, "PAIR" },
    { ZMQ_ROUTER, ZMQ_DEALER, "ROUTER" }, { ZMQ_REP, ZMQ_REQ, "REP" }, { ZMQ_REQ, ZMQ_REP, "REQ" }
};
enum { TYPES = sizeof s_types / sizeof *s_types };

enum { BINDS = 1, BEFORE = 2, LOOKS = 4, ANY_FORM = 8 };

static void
told (const char *scheme, int i, int form)
{
    int type = s_types [i].type, peer_type = s_types [i].peer;
    void *socket = opened (s_vtx, type), *peer = opened (s_peers, peer_type);
    char any [64];
    snprintf (any, sizeof any, "%s://127.0.0.1:*", scheme);
    int fd = -1;
    if (form & BEFORE) {
        fd = fd_of (socket);
        events_of (socket);
    }
    if (form & BINDS) {
        CHECK (vtx_bind (s_vtx, socket, any) == 0);
        CONNECT_TO (s_peers, peer, s_vtx, socket);
    }
    else {
        CHECK (vtx_bind (s_peers, peer, any) == 0);
        CONNECT_TO (s_vtx, socket, s_peers, peer);
    }
    if (!(form & BEFORE))
        fd = fd_of (socket);
    if (form & LOOKS)
        events_of (socket);
    //  Whoever sends looks afterwards: zmq_send too lets libzmq act
    if (type == ZMQ_XSUB) {
        CHECK (zmq_send (socket, "\1", 1, 0) == 1);
        events_of (socket);
    }

    //  It is sent when there is nothing else that the descriptor could tell
    int asked = type != ZMQ_REQ, sent = peer_type == ZMQ_SUB, quiet = 0;
    for (double until = now () + 30;;) {
        if (now () > until) {
            fprintf (stderr, "%s %s, %s, descriptor taken %s, ZMQ_EVENTS %s: %s\n", scheme, s_types [i].name,
                form & BINDS? "bound": "connected", form & BEFORE? "before": "after",
                form & LOOKS? "read": "not read", sent? "not told": "nothing was sent");
            _exit (1);
        }
        if (readable (fd, 10)) {
            if (events_of (socket) & ZMQ_POLLIN)
                break;
        }
        else
            quiet = 1;
        events_of (peer);           //  A SUB subscribes when it is used
        if (!asked) {
            asked = zmq_send (socket, "?", 1, ZMQ_DONTWAIT) == 1;
            events_of (socket);
        }
        if (!sent && quiet && asked && may_send (peer, peer_type))
            sent = zmq_send (peer, "hi", 2, ZMQ_DONTWAIT) == 2;
    }
    CHECK (vtx_close (s_vtx, socket) == 0);
    CHECK (vtx_close (s_peers, peer) == 0);
}

static void
comes (const char *scheme)
{
    begin ();
    for (int form = 0; form < ANY_FORM; form++)
        for (int i = 0; i < TYPES; i++)
            told (scheme, i, form);
    end ();
}

static void comes_tcp (void) { comes ("tcp"); }
static void comes_udp (void) { comes ("udp"); }

//  The calls that a program may make elsewhere while a message waits, of which it has not looked yet
typedef struct { void *socket; char endpoint [64], other [64]; } calls_t;

static void do_meta (calls_t *c) { char *peers = vtx_getmeta (s_vtx, c->socket, "peers"); CHECK (peers); free (peers); }
static void do_option (calls_t *c) { CHECK (vtx_setopt (s_vtx, c->socket, "zmtp.metadata", "X-Name:x") == 0); }
static void do_monitor (calls_t *c) { CHECK (vtx_monitor (s_vtx, c->socket, "inproc://events", ZMQ_EVENT_ALL) == 0); }
static void do_bind (calls_t *c) { CHECK (vtx_bind (s_vtx, c->socket, "tcp://127.0.0.1:*") == 0); }
static void do_connect (calls_t *c) { CHECK (vtx_connect (s_vtx, c->socket, c->other) == 0); }
static void do_disconnect (calls_t *c) { CHECK (vtx_disconnect (s_vtx, c->socket, c->other) == 0); }
static void do_unbind (calls_t *c) { CHECK (vtx_unbind (s_vtx, c->socket, c->endpoint) == 0); }
static void do_fail (calls_t *c) { FAILS (vtx_connect (s_vtx, c->socket, "tcp://127.0.0.1") == -1, EINVAL, "port"); }
static void do_fail_more (calls_t *c) { FAILS (vtx_unbind (s_vtx, c->socket, c->other) == -1, ENOENT, "not bound"); }

//  How many messages vtx has handed to a socket
static long
received (void *socket)
{
    char *stats = vtx_getmeta (s_vtx, socket, "stats");
    const char *count = stats? strstr (stats, "\"messages_in\":"): NULL;
    CHECK (count != NULL);
    long number = atol (count + strlen ("\"messages_in\":"));
    free (stats);
    return number;
}

static void
waits (void)
{
    static void (*const all []) (calls_t *) = {
        do_meta, do_option, do_monitor, do_bind, do_connect, do_disconnect, do_fail, do_fail_more, do_unbind
    };
    static const struct { int type, peer; } types [] = {
        { ZMQ_PULL, ZMQ_PUSH }, { ZMQ_SUB, ZMQ_XPUB }, { ZMQ_DEALER, ZMQ_DEALER }, { ZMQ_ROUTER, ZMQ_DEALER }, { ZMQ_REP, ZMQ_REQ }
    };
    begin ();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        calls_t calls = { opened (s_vtx, types [i].type), "", "" };
        void *peer = opened (s_peers, types [i].peer), *other = opened (s_peers, types [i].peer);
        limit_wait (peer, 30000);
        BIND_ANY (s_vtx, calls.socket);
        char *endpoint = vtx_getmeta (s_vtx, calls.socket, "endpoint");
        CHECK (endpoint);
        strcpy (calls.endpoint, endpoint);
        free (endpoint);
        CHECK (vtx_connect (s_peers, peer, calls.endpoint) == 0);
        BIND_ANY (s_peers, other);
        endpoint = vtx_getmeta (s_peers, other, "endpoint");
        CHECK (endpoint);
        strcpy (calls.other, endpoint);
        free (endpoint);
        int fd = fd_of (calls.socket);
        if (types [i].peer == ZMQ_XPUB)
            for (double until = now () + 30; !may_send (peer, ZMQ_XPUB); readable (fd, 10), events_of (calls.socket))
                CHECK (now () < until);
        for (size_t call = 0; call < sizeof all / sizeof *all; call++) {
            char buffer [64];
            long before = received (calls.socket);
            CHECK (say (peer, "hi") == 0);
            for (double until = now () + 30; received (calls.socket) == before || !readable (fd, 10);)
                CHECK (now () < until);
            all [call] (&calls);
            wait_for (calls.socket, fd, ZMQ_POLLIN);
            do
                CHECK (zmq_recv (calls.socket, buffer, sizeof buffer, ZMQ_DONTWAIT) >= 0);
            while (events_of (calls.socket) & ZMQ_POLLIN);
            if (types [i].type == ZMQ_REP && all [call] != do_unbind) {
                CHECK (say (calls.socket, "ack") == 0);
                CHECK (hears (peer, "ack"));
                events_of (calls.socket);
            }
        }
        CHECK (vtx_close (s_vtx, calls.socket) == 0);
        CHECK (vtx_close (s_peers, peer) == 0);
        CHECK (vtx_close (s_peers, other) == 0);
    }
    end ();
}

//  A sender that has no peer, or whose peer is full, waits for the descriptor too
static void
sends (void)
{
    static const struct { int type, peer; } types [] = {
        { ZMQ_PUSH, ZMQ_PULL }, { ZMQ_DEALER, ZMQ_DEALER }, { ZMQ_PAIR, ZMQ_PAIR }, { ZMQ_REQ, ZMQ_REP }
    };
    begin ();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        void *socket = opened (s_vtx, types [i].type), *peer = opened (s_peers, types [i].peer);
        BIND_ANY (s_peers, peer);
        int fd = fd_of (socket);
        CHECK (zmq_send (socket, "x", 1, ZMQ_DONTWAIT) == -1 && errno == EAGAIN);
        CONNECT_TO (s_vtx, socket, s_peers, peer);
        wait_for (socket, fd, ZMQ_POLLOUT);
        if (types [i].type == ZMQ_PUSH) {
            while (zmq_send (socket, "x", 1, ZMQ_DONTWAIT) == 1)
                ;
            CHECK (errno == EAGAIN);
            char buffer [4];
            int size = zmq_recv (peer, buffer, sizeof buffer, 0);
            for (double until = now () + 30; size >= 0 && !readable (fd, 0);) {
                CHECK (now () < until);
                size = zmq_recv (peer, buffer, sizeof buffer, 0);
            }
            CHECK (size >= 0);
            calls_t calls = { socket, "", "" };
            do_meta (&calls);
            do_bind (&calls);
            wait_for (socket, fd, ZMQ_POLLOUT);
        }
        CHECK (vtx_close (s_vtx, socket) == 0);
        CHECK (vtx_close (s_peers, peer) == 0);
    }
    end ();
}

int
main (int argc, char *argv [])
{
    watchdog (280);
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "comes_tcp", comes_tcp }, { "comes_udp", comes_udp }, { "waits", waits }, { "sends", sends }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
