/*  Calls while the application has received or sent a message in part. libzmq aborts where the connection that the rest is
    to come from is cut on its side: then the call is refused, or the connection ends when it has been read. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

//  A type, one that it talks to, and what each can do
static const struct { int type, peer, receives, sends; } s_types [] = {
    { ZMQ_PULL, ZMQ_PUSH, 1, 0 }, { ZMQ_SUB, ZMQ_XPUB, 1, 0 }, { ZMQ_XSUB, ZMQ_XPUB, 1, 0 },
    { ZMQ_DEALER, ZMQ_DEALER, 1, 1 }, { ZMQ_PAIR, ZMQ_PAIR, 1, 1 }, { ZMQ_ROUTER, ZMQ_DEALER, 1, 1 },
    { ZMQ_REP, ZMQ_REQ, 1, 1 }, { ZMQ_REQ, ZMQ_REP, 1, 1 }, { ZMQ_PUSH, ZMQ_PULL, 0, 1 },
    { ZMQ_PUB, ZMQ_SUB, 0, 1 }, { ZMQ_XPUB, ZMQ_SUB, 0, 1 }
};
enum { TYPES = sizeof s_types / sizeof *s_types };

static void *s_ours, *s_theirs;     //  libzmq contexts
static vtx_t *s_vtx, *s_peers;
static void *s_socket, *s_peer;
static char s_endpoint [64];

static int
events_of (void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    CHECK (zmq_getsockopt (socket, ZMQ_EVENTS, &events, &size) == 0);
    return events;
}

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

//  Two sockets that know each other
static void
meet (int i, int binds)
{
    s_ours = zmq_ctx_new ();
    s_theirs = zmq_ctx_new ();
    s_vtx = vtx_new_raw (s_ours);
    s_peers = vtx_new_raw (s_theirs);
    CHECK (s_vtx && s_peers);
    int type = s_types [i].type, peer = s_types [i].peer;
    s_socket = opened (s_vtx, type);
    s_peer = opened (s_peers, peer);
    if (type == ZMQ_ROUTER)         //  One that is named is joined like the others
        CHECK (vtx_setopt (s_vtx, s_socket, "connect.routing_id", "it") == 0);
    void *bound = binds? s_socket: s_peer;
    vtx_t *bound_vtx = binds? s_vtx: s_peers;
    CHECK (vtx_bind (bound_vtx, bound, "tcp://127.0.0.1:*") == 0);
    char *endpoint = vtx_getmeta (bound_vtx, bound, "endpoint");
    CHECK (endpoint && strlen (endpoint) < sizeof s_endpoint);
    strcpy (s_endpoint, endpoint);
    free (endpoint);
    CHECK (binds? vtx_connect (s_peers, s_peer, s_endpoint) == 0: vtx_connect (s_vtx, s_socket, s_endpoint) == 0);
    if (type == ZMQ_XSUB)
        CHECK (zmq_send (s_socket, "\1", 1, 0) == 1);
    char byte;
    for (double until = now () + 30; peer == ZMQ_XPUB && zmq_recv (s_peer, &byte, 1, ZMQ_DONTWAIT) != 1; pause_ms (1)) {
        events_of (s_socket);       //  A SUB subscribes when it is used
        CHECK (now () < until);
    }
}

static void
end (void)
{
    if (s_vtx)
        vtx_destroy (&s_vtx);
    vtx_destroy (&s_peers);
    zmq_ctx_term (s_ours);
    zmq_ctx_term (s_theirs);
}

//  The socket has a message of three parts to receive
static void
arrive (int i)
{
    if (s_types [i].type == ZMQ_REQ) {
        CHECK (say (s_socket, "?") == 0);
        CHECK (hears (s_peer, "?"));
    }
    CHECK (zmq_send (s_peer, "a", 1, ZMQ_SNDMORE) == 1);
    CHECK (zmq_send (s_peer, "b", 1, ZMQ_SNDMORE) == 1);
    CHECK (say (s_peer, "c") == 0);
    for (double until = now () + 30; !(events_of (s_socket) & ZMQ_POLLIN); pause_ms (1))
        CHECK (now () < until);
}

static int
peers (void)
{
    char *text = vtx_getmeta (s_vtx, s_socket, "peers");
    CHECK (text != NULL);
    int count = atoi (text);
    free (text);
    return count;
}

static int
undo (int binds)
{
    return binds? vtx_unbind (s_vtx, s_socket, s_endpoint): vtx_disconnect (s_vtx, s_socket, s_endpoint);
}

static void
received (void)
{
    for (int i = 0; i < TYPES; i++)
        for (int binds = 0; binds < 2 && s_types [i].receives; binds++) {
            char id [64];
            meet (i, binds);
            arrive (i);
            if (s_types [i].type == ZMQ_ROUTER)
                CHECK (zmq_recv (s_socket, id, sizeof id, 0) > 0);
            CHECK (hears (s_socket, "a"));
            FAILS (undo (binds) == -1, EBUSY, "ZMQ_RCVMORE");
            CHECK (hears (s_socket, "b"));
            FAILS (undo (binds) == -1, EBUSY, "ZMQ_RCVMORE");
            CHECK (hears (s_socket, "c"));
            CHECK (undo (binds) == 0);
            CHECK (zmq_recv (s_socket, id, sizeof id, ZMQ_DONTWAIT) == -1);
            end ();

            //  The peer may leave
            meet (i, binds);
            arrive (i);
            if (s_types [i].type == ZMQ_ROUTER)
                CHECK (zmq_recv (s_socket, id, sizeof id, 0) > 0);
            CHECK (hears (s_socket, "a"));
            CHECK (vtx_close (s_peers, s_peer) == 0);
            for (double until = now () + 30; peers () != 0; pause_ms (1))
                CHECK (now () < until);
            CHECK (hears (s_socket, "b") && hears (s_socket, "c"));
            end ();
        }
}

//  The first part may be in libzmq's hands before the application receives anything
static void
looked_at (void)
{
    for (int i = 0; i < TYPES; i++)
        for (int binds = 0; binds < 2 && s_types [i].receives; binds++) {
            char part [64];
            meet (i, binds);
            arrive (i);
            CHECK (undo (binds) == 0);
            int parts = 0;
            while (zmq_recv (s_socket, part, sizeof part, ZMQ_DONTWAIT) >= 0)
                parts++;
            CHECK (errno == EAGAIN || errno == EFSM);
            CHECK (parts == 0 || parts == (s_types [i].type == ZMQ_ROUTER? 4: 3));
            //  And the end is an end
            FAILS (undo (binds) == -1, ENOENT, s_endpoint);
            end ();
        }
}

//  Of what was sent in part the rest goes nowhere, or the way of the beginning
static void
sent (void)
{
    for (int i = 0; i < TYPES; i++)
        for (int binds = 0; binds < 2 && s_types [i].sends; binds++) {
            char id [64];
            int size = 0;
            meet (i, binds);
            if (s_types [i].type == ZMQ_REP || s_types [i].type == ZMQ_ROUTER) {
                CHECK (say (s_peer, "?") == 0);
                if (s_types [i].type == ZMQ_ROUTER)
                    size = zmq_recv (s_socket, id, sizeof id, 0);
                CHECK (hears (s_socket, "?"));
            }
            if (size)
                CHECK (zmq_send (s_socket, id, (size_t) size, ZMQ_SNDMORE) == size);
            CHECK (zmq_send (s_socket, "a", 1, ZMQ_SNDMORE) == 1);
            CHECK (undo (binds) == 0);
            zmq_send (s_socket, "b", 1, ZMQ_SNDMORE | ZMQ_DONTWAIT);
            zmq_send (s_socket, "c", 1, ZMQ_DONTWAIT);
            CHECK (vtx_bind (s_vtx, s_socket, "tcp://127.0.0.1:*") == 0);
            end ();
        }
}

int
main (int argc, char *argv [])
{
    watchdog (280);
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "received", received }, { "looked_at", looked_at }, { "sent", sent }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
