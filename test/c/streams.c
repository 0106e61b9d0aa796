/*  tcp:// and ipc://: the peer is stock libzmq, in a context of its own and joined by zmq_connect or zmq_bind. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static void *zmq, *other;
static vtx_t *vtx;

//  A socket over VTX, bound where the other end can connect to it
static void *
bound (int type, const char *endpoint, char *where, size_t size)
{
    void *socket = vtx_socket (vtx, type);
    CHECK (socket && vtx_bind (vtx, socket, endpoint) == 0);
    char *found = vtx_getmeta (vtx, socket, "endpoint");
    CHECK (found && strlen (found) < size);
    strcpy (where, found);
    free (found);
    limit_wait (socket, 20000);
    return socket;
}

static void *
stock (int type)
{
    void *socket = zmq_socket (other, type);
    CHECK (socket);
    set_linger (socket, 0);
    limit_wait (socket, 20000);
    return socket;
}

static void
ask (void *req, void *rep)
{
    CHECK (say (req, "question") == 0 && hears (rep, "question"));
    CHECK (say (rep, "answer") == 0 && hears (req, "answer"));
}

static void
stock_peers (void)
{
    static const char *endpoints [] = { "tcp://127.0.0.1:*", "ipc://*", "ipc://@vtx-test-streams" };
    for (int i = 0; i < 3; i++) {
        char where [256];
        void *rep = bound (ZMQ_REP, endpoints [i], where, sizeof where), *req = stock (ZMQ_REQ);
        CHECK (zmq_connect (req, where) == 0);
        ask (req, rep);
        zmq_close (req);
        CHECK (vtx_close (vtx, rep) == 0);

        //  And the other way round
        rep = stock (ZMQ_REP);
        CHECK (zmq_bind (rep, i == 2? "ipc://@vtx-test-streams-2": endpoints [i]) == 0);
        size_t size = sizeof where;
        CHECK (zmq_getsockopt (rep, ZMQ_LAST_ENDPOINT, where, &size) == 0);
        req = vtx_socket (vtx, ZMQ_REQ);
        limit_wait (req, 20000);
        CHECK (vtx_connect (vtx, req, where) == 0);
        ask (req, rep);
        CHECK (vtx_close (vtx, req) == 0);
        zmq_close (rep);
    }
}

//  Lets one user in
static void
zap_handler (void *handler)
{
    char frames [8] [256];
    int count = 0;
    for (;;) {
        int size = zmq_recv (handler, frames [count], 255, 0);
        if (size == -1)
            break;
        frames [count] [size < 255? size: 255] = 0;
        int more;
        size_t length = sizeof more;
        zmq_getsockopt (handler, ZMQ_RCVMORE, &more, &length);
        count++;
        if (more)
            continue;
        //  version, id, domain, address, identity, mechanism, user, password
        int good = count == 8 && strcmp (frames [5], "PLAIN") == 0
                && strcmp (frames [6], "alice") == 0 && strcmp (frames [7], "secret") == 0;
        zmq_send (handler, "1.0", 3, ZMQ_SNDMORE);
        zmq_send (handler, frames [1], strlen (frames [1]), ZMQ_SNDMORE);
        zmq_send (handler, good? "200": "400", 3, ZMQ_SNDMORE);
        zmq_send (handler, good? "OK": "No", 2, ZMQ_SNDMORE);
        zmq_send (handler, good? "Alice": "", good? 5: 0, ZMQ_SNDMORE);
        zmq_send (handler, "", 0, 0);
        count = 0;
    }
    zmq_close (handler);
}

static void *
zap_thread (void *handler)
{
    zap_handler (handler);
    return NULL;
}

static void
plain (void)
{
    void *handler = zmq_socket (zmq, ZMQ_REP);
    CHECK (zmq_bind (handler, "inproc://zeromq.zap.01") == 0);
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, zap_thread, handler) == 0);

    char where [256];
    void *router = vtx_socket (vtx, ZMQ_ROUTER);
    int on = 1;
    zmq_setsockopt (router, ZMQ_PLAIN_SERVER, &on, sizeof on);
    limit_wait (router, 20000);
    CHECK (vtx_bind (vtx, router, "tcp://127.0.0.1:*") == 0);
    char *found = vtx_getmeta (vtx, router, "endpoint");
    strcpy (where, found);
    free (found);
    void *events = zmq_socket (zmq, ZMQ_PAIR);
    limit_wait (events, 20000);
    CHECK (vtx_monitor (vtx, router, "inproc://events", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0);
    CHECK (zmq_connect (events, "inproc://events") == 0);

    void *stranger = stock (ZMQ_DEALER);
    zmq_setsockopt (stranger, ZMQ_PLAIN_USERNAME, "mallory", 7);
    zmq_setsockopt (stranger, ZMQ_PLAIN_PASSWORD, "guess", 5);
    CHECK (zmq_connect (stranger, where) == 0 && say (stranger, "never") == 0);
    unsigned char event [6];
    CHECK (zmq_recv (events, event, sizeof event, 0) == 6);
    unsigned value;
    memcpy (&value, event + 2, sizeof value);
    CHECK (value == 400);

    void *guest = stock (ZMQ_DEALER);
    zmq_setsockopt (guest, ZMQ_ROUTING_ID, "guest", 5);
    zmq_setsockopt (guest, ZMQ_PLAIN_USERNAME, "alice", 5);
    zmq_setsockopt (guest, ZMQ_PLAIN_PASSWORD, "secret", 6);
    CHECK (zmq_connect (guest, where) == 0 && say (guest, "hello") == 0);
    CHECK (hears (router, "guest") && hears (router, "hello"));
    char *user = vtx_getmeta (vtx, router, "user:guest");
    CHECK (user && strcmp (user, "Alice") == 0);
    free (user);

    zmq_close (stranger);
    zmq_close (guest);
    zmq_close (events);
    vtx_destroy (&vtx);
    zmq_ctx_shutdown (zmq);         //  ends the handler
    pthread_join (thread, NULL);
}

//  A process that sends and then ends in one of several ways loses nothing
#define MESSAGES 2000

static void
send_and_go (const char *where, const char *how, size_t size)
{
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    void *push = vtx_socket (vtx, ZMQ_PUSH);
    set_linger (push, -1);
    int unlimited = 0;
    zmq_setsockopt (push, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    CHECK (vtx_connect (vtx, push, where) == 0);
    char *body = (char *) calloc (1, size);
    for (int i = 0; i < MESSAGES; i++) {
        memcpy (body, &i, sizeof i);
        CHECK (zmq_send (push, body, size, 0) == (int) size);
    }
    //  The end of the process does not wait for a peer that is not there
    for (int there = strcmp (how, "exit") != 0; !there; pause_ms (1)) {
        char *peers = vtx_getmeta (vtx, push, "peers");
        there = strcmp (peers, "1") == 0;
        free (peers);
    }
    if (strcmp (how, "close") == 0)
        CHECK (vtx_close (vtx, push) == 0);
    if (strcmp (how, "destroy") == 0)
        vtx_destroy (&vtx);
    exit (0);
}

static void
backlog (const char *program)
{
    static const char *endpoints [] = { "tcp://127.0.0.1:*", "ipc://*" };
    static const char *ways [] = { "close", "destroy", "exit" };
    for (int e = 0; e < 2; e++)
        for (int way = 0; way < 3; way++)
            for (int large = 0; large < 2; large++) {
                void *pull = stock (ZMQ_PULL);
                CHECK (zmq_bind (pull, endpoints [e]) == 0);
                char where [256];
                size_t size = sizeof where;
                CHECK (zmq_getsockopt (pull, ZMQ_LAST_ENDPOINT, where, &size) == 0);
                pid_t child = fork ();
                if (child == 0) {
                    execl (program, program, "send", where, ways [way], large? "50000": "100", (char *) NULL);
                    _exit (1);
                }
                for (int i = 0; i < MESSAGES; i++) {
                    static char body [50000];
                    int number, got = zmq_recv (pull, body, sizeof body, 0);
                    memcpy (&number, body, sizeof number);
                    if (got != (large? 50000: 100) || number != i)
                        fprintf (stderr, "%s, %s, message %d: %d bytes, number %d\n", where, ways [way], i, got, number);
                    CHECK (got == (large? 50000: 100) && number == i);
                    if (i < 50)
                        pause_ms (1);   //  so that there is a backlog
                }
                int status;
                CHECK (waitpid (child, &status, 0) == child && WIFEXITED (status) && WEXITSTATUS (status) == 0);
                zmq_close (pull);
            }
}

static void
refused (void)
{
    void *socket = vtx_socket (vtx, ZMQ_DEALER), *second = vtx_socket (vtx, ZMQ_DEALER);
    FAILS (vtx_bind (vtx, socket, "tcp://127.0.0.1:70000") == -1, EINVAL, "70000");
    FAILS (vtx_connect (vtx, socket, "tcp://127.0.0.1:0") == -1, EINVAL, "port");
    FAILS (vtx_connect (vtx, socket, "tcp://127.0.0.1") == -1, EINVAL, "tcp://127.0.0.1");
    FAILS (vtx_bind (vtx, socket, "ipc://") == -1, EINVAL, "ipc://");
    FAILS (vtx_bind (vtx, socket, "ipc:///nowhere/at/all") == -1, ENOENT, "/nowhere/at/all");
    FAILS (vtx_bind (vtx, socket, "tcp://127.0.0.1:*?colour=red") == -1, EINVAL, "colour");
    CHECK (vtx_bind (vtx, socket, "tcp://127.0.0.1:*") == 0);
    char *where = vtx_getmeta (vtx, socket, "endpoint");
    FAILS (vtx_bind (vtx, second, where) == -1, EADDRINUSE, where);
    free (where);
    int fd = 0;
    zmq_setsockopt (second, ZMQ_USE_FD, &fd, sizeof fd);
    FAILS (vtx_bind (vtx, second, "tcp://127.0.0.1:*") == -1, ENOTSUP, "ZMQ_USE_FD");
    CHECK (vtx_register (vtx, "lan", vtx_tcp_driver) == 0);
    CHECK (vtx_ipc_load (vtx, 0) == 0);
    CHECK (vtx_bind (vtx, socket, "lan://127.0.0.1:*") == 0);
}

static void
cycles (void)
{
    static const char *endpoints [] = { "tcp://127.0.0.1:*", "ipc://*" };
    int before = 0;
    for (int i = 0; i < 500; i++) {
        char where [256];
        void *rep = bound (ZMQ_REP, endpoints [i % 2], where, sizeof where), *req = vtx_socket (vtx, ZMQ_REQ);
        limit_wait (req, 20000);
        CHECK (vtx_connect (vtx, req, where) == 0);
        ask (req, rep);
        CHECK (vtx_disconnect (vtx, req, where) == 0 && vtx_unbind (vtx, rep, where) == 0);
        CHECK (vtx_close (vtx, req) == 0 && vtx_close (vtx, rep) == 0);
        if (i == 20)
            before = count_fds ();
    }
    //  libzmq gives the last ones back a moment later
    for (double end = now () + 20; count_fds () > before + 10; pause_ms (10))
        CHECK (now () < end);
}

static void *
terminate (void *context)
{
    zmq_ctx_term (context);
    return NULL;
}

//  zmq_ctx_term returns while peers are connected and busy
static void
term (void)
{
    char where [256];
    void *pull = bound (ZMQ_PULL, "tcp://127.0.0.1:*", where, sizeof where);
    void *push = vtx_socket (vtx, ZMQ_PUSH), *foreign = stock (ZMQ_PUSH);
    set_linger (push, 0);
    CHECK (vtx_connect (vtx, push, where) == 0 && zmq_connect (foreign, where) == 0);
    for (int i = 0; i < 2000; i++) {
        say (i % 2? push: foreign, "traffic");
        CHECK (hears (pull, "traffic"));
    }
    for (int i = 0; i < 100; i++)
        say (push, "traffic");
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, terminate, zmq) == 0);
    while (zmq_send (push, "more", 4, 0) != -1);
    CHECK (errno == ETERM);
    zmq_close (push);
    zmq_close (pull);
    pthread_join (thread, NULL);
    zmq_close (foreign);
    vtx_destroy (&vtx);
}

int
main (int argc, char *argv [])
{
    const char *part = argc > 1? argv [1]: "";
    watchdog (250);
    if (argc == 5 && strcmp (part, "send") == 0)
        send_and_go (argv [2], argv [3], (size_t) atoi (argv [4]));
    zmq = zmq_ctx_new ();
    other = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx);
    int known = 1;
    if (strcmp (part, "stock_peers") == 0)
        stock_peers ();
    else
    if (strcmp (part, "plain") == 0)
        plain ();
    else
    if (strcmp (part, "backlog") == 0)
        backlog (argv [0]);
    else
    if (strcmp (part, "refused") == 0)
        refused ();
    else
    if (strcmp (part, "cycles") == 0)
        cycles ();
    else
    if (strcmp (part, "term") == 0)
        term ();
    else
        known = 0;
    CHECK (known);
    if (vtx)
        vtx_destroy (&vtx);
    return 0;
}
