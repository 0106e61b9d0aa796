/*  Ends of all kinds, in every order. None may hang or crash: each test is a process of its own
    under a watchdog, and what has to be quick is also measured, generously. */

#include <errno.h>
#include <stdint.h>
#include <vtx.h>
#include "check.h"

static zctx_t *ctx;
static vtx_t *vtx;
static void *server, *client;

//  A pair that has talked
static void
talk (void)
{
    ctx = zctx_new ();
    vtx = vtx_new (ctx);
    CHECK (vtx != NULL);
    server = vtx_socket (vtx, ZMQ_REP);
    client = vtx_socket (vtx, ZMQ_REQ);
    CHECK (server != NULL && client != NULL);
    BIND_ANY (vtx, server);
    CONNECT_TO (vtx, client, vtx, server);
    limit_wait (server, 20000);
    limit_wait (client, 20000);
    ROUND_TRIP (client, server);
}

//  The steps of an orderly end, each by a letter: c closes the client, s the server, v destroys
//  the manager, z the context. C and S close with zmq_close, behind VTX's back.
static void
orders (void)
{
    static const char *const all [] = {
        "csvz", "scvz", "cvz", "svz", "vz", "z", "v", "c", "", "CSvz", "SCvz", "CvSz", "SvCz",
        "CSz", "cz", "sz", "csz", "Cz", "Sz", "zv", "cszv", "CSzv", "vCSz", "czv", "C", "S", "vv", "zz"
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        talk ();
        double start = now ();
        int made_gone = 0;          //  vtx_destroy and zctx_destroy have closed the sockets
        for (const char *step = all [i]; *step; step++)
            switch (*step) {
                case 'c': CHECK (vtx_close (vtx, client) == 0); break;
                case 's': CHECK (vtx_close (vtx, server) == 0); break;
                case 'C': if (!made_gone) zmq_close (client); break;
                case 'S': if (!made_gone) zmq_close (server); break;
                case 'v': vtx_destroy (&vtx); made_gone = 1; break;
                case 'z': zctx_destroy (&ctx); made_gone = 1; break;
            }
        double took = now () - start;
        if (took > 2.5)
            fprintf (stderr, "\"%s\" took %.1f s\n", all [i], took);
        CHECK (took < 2.5);
    }
    //  And the process ends with what was left open above
}

//  Messages sent before the end arrive, by whichever way it ends, with a linger
static void
flushes (void)
{
    static const char *const ways [] = { "close", "destroy", "zctx", "disconnect" };
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        void *zmq = zmq_ctx_new ();
        vtx_t *other = vtx_new_raw (zmq);
        void *pull = vtx_socket (other, ZMQ_PULL);
        limit_wait (pull, 20000);
        BIND_ANY (other, pull);

        ctx = zctx_new ();
        zctx_set_linger (ctx, 20000);
        vtx = vtx_new (ctx);
        void *push = vtx_socket (vtx, ZMQ_PUSH);
        CONNECT_TO (vtx, push, other, pull);
        for (int i = 0; i < 50; i++)
            CHECK (say (push, "work") == 0);
        char *endpoint;
        switch (way) {
            case 0: CHECK (vtx_close (vtx, push) == 0); break;
            case 1: vtx_destroy (&vtx); break;
            case 2: zctx_destroy (&ctx); break;
            case 3:
                endpoint = vtx_getmeta (other, pull, "endpoint");
                CHECK (vtx_disconnect (vtx, push, endpoint) == 0);
                free (endpoint);
                break;
        }
        for (int i = 0; i < 50; i++)
            CHECK (hears (pull, "work"));
        vtx_destroy (&vtx);
        zctx_destroy (&ctx);
        vtx_destroy (&other);
        CHECK (zmq_ctx_term (zmq) == 0);
    }
}

//  With nobody there, linger bounds every end, and 0 drops at once
static void
linger_bounds (void)
{
    static const int lingers [] = { 0, 500 };
    for (size_t i = 0; i < 2; i++)
        for (int way = 0; way < 3; way++) {
            ctx = zctx_new ();
            zctx_set_linger (ctx, lingers [i]);
            vtx = vtx_new (ctx);
            //  Three, whose lingers must not add up
            for (int n = 0; n < 3; n++) {
                client = vtx_socket (vtx, ZMQ_PUSH);
                CHECK (vtx_connect (vtx, client, "udp://127.0.0.1:%d", 9) == 0);
                CHECK (say (client, "lost") == 0);
            }
            double start = now ();
            if (way == 0)
                CHECK (vtx_close (vtx, client) == 0);
            else
            if (way == 1)
                vtx_destroy (&vtx);
            else
                zctx_destroy (&ctx);
            double took = now () - start;
            CHECK (took < lingers [i] / 1000.0 + 2);
            vtx_destroy (&vtx);
            zctx_destroy (&ctx);
        }
}

static void *
receive_until_term (void *socket)
{
    char buffer [100];
    while (zmq_recv (socket, buffer, sizeof buffer, 0) >= 0 || errno == EINTR || errno == EAGAIN)
        ;
    int number = errno;
    zmq_close (socket);
    return (void *) (intptr_t) number;
}

//  zmq_ctx_term by one thread while another waits in zmq_recv, and the manager only after it
static void
term (void)
{
    for (int round = 0; round < 20; round++) {
        void *zmq = zmq_ctx_new ();
        vtx = vtx_new_raw (zmq);
        server = zmq_socket (zmq, ZMQ_REP);
        client = zmq_socket (zmq, ZMQ_DEALER);
        BIND_ANY (vtx, server);
        CONNECT_TO (vtx, client, vtx, server);
        pthread_t thread;
        CHECK (pthread_create (&thread, NULL, receive_until_term, server) == 0);
        pause_ms (round * 5);
        zmq_close (client);
        double start = now ();
        while (zmq_ctx_term (zmq) == -1)
            CHECK (errno == EINTR);
        CHECK (now () - start < 2.5);
        void *number;
        pthread_join (thread, &number);
        CHECK ((intptr_t) number == ETERM);
        //  Everything is still safe to call
        FAILS (vtx_socket (vtx, ZMQ_REQ) == NULL, ETERM, "");
        FAILS (vtx_bind (vtx, server, "udp://127.0.0.1:*") == -1, ENOTSOCK, "");
        vtx_destroy (&vtx);
    }
}

//  A socket whose context ended, before it is closed
static void *
use_after_term (void *socket)
{
    char buffer [100];
    while (zmq_recv (socket, buffer, sizeof buffer, 0) >= 0 || errno == EINTR)
        ;
    CHECK (errno == ETERM);
    FAILS (vtx_bind (vtx, socket, "udp://127.0.0.1:*") == -1, ETERM, "");
    FAILS (vtx_connect (vtx, socket, "udp://127.0.0.1:9") == -1, ETERM, "");
    CHECK (vtx_close (vtx, socket) == 0);
    return NULL;
}

static void
term_then_use (void)
{
    void *zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    server = vtx_socket (vtx, ZMQ_REP);
    BIND_ANY (vtx, server);
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, use_after_term, server) == 0);
    pause_ms (100);
    while (zmq_ctx_term (zmq) == -1)
        CHECK (errno == EINTR);
    pthread_join (thread, NULL);
    vtx_destroy (&vtx);
}

//  The manager is destroyed by the thread that the end of the context woke up; that is
//  also what closes the socket, and so lets zmq_ctx_term return
static void *
destroy_after_term (void *socket)
{
    char buffer [100];
    while (zmq_recv (socket, buffer, sizeof buffer, 0) >= 0 || errno == EINTR)
        ;
    CHECK (errno == ETERM);
    pause_ms (200);
    vtx_destroy (&vtx);
    return NULL;
}

static void
term_then_destroy (void)
{
    void *zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    server = vtx_socket (vtx, ZMQ_REP);
    BIND_ANY (vtx, server);
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, destroy_after_term, server) == 0);
    pause_ms (100);
    while (zmq_ctx_term (zmq) == -1)
        CHECK (errno == EINTR);
    pthread_join (thread, NULL);
}

//  zctx_destroy while a forked task waits for its server
static void
serve (void *args, zctx_t *mine, void *pipe)
{
    (void) args;
    vtx_t *own = vtx_new (mine);
    CHECK (own != NULL);
    void *rep = vtx_socket (own, ZMQ_REP);
    BIND_ANY (own, rep);
    CHECK (say (pipe, "ready") == 0);
    char buffer [100];
    while (zmq_recv (rep, buffer, sizeof buffer, 0) >= 0)
        ;
    CHECK (errno == ETERM);
    if (args)                       //  Or leave it to the shadow's end
        vtx_destroy (&own);
}

static void
tasks (void)
{
    for (int tidy = 0; tidy < 2; tidy++) {
        ctx = zctx_new ();
        for (int i = 0; i < 5; i++) {
            void *pipe = zthread_fork (ctx, serve, tidy? (void *) "tidy": NULL);
            CHECK (pipe != NULL && hears (pipe, "ready"));
        }
        double start = now ();
        zctx_destroy (&ctx);
        CHECK (now () - start < 2.5);
    }
}

//  The shadow's end closes what it made, flushes it, and leaves the rest alone
static void
shadow (void)
{
    talk ();
    zctx_t *mine = zctx_shadow (ctx);
    zctx_set_linger (mine, 20000);
    vtx_t *own = vtx_new (mine);
    void *pull = vtx_socket (vtx, ZMQ_PULL);
    limit_wait (pull, 20000);
    BIND_ANY (vtx, pull);
    void *push = vtx_socket (own, ZMQ_PUSH);
    void *raw = zsocket_new (mine, ZMQ_PUSH);
    CONNECT_TO (own, push, vtx, pull);
    CONNECT_TO (own, raw, vtx, pull);
    for (int i = 0; i < 20; i++)
        CHECK (say (push, "work") == 0 && say (raw, "work") == 0);
    zctx_destroy (&mine);
    for (int i = 0; i < 40; i++)
        CHECK (hears (pull, "work"));
    ROUND_TRIP (client, server);
    vtx_destroy (&own);
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
}

//  zmq_close behind VTX's back, again and again: the address of a socket is reused at once
static void
behind (void)
{
    ctx = zctx_new ();
    vtx = vtx_new (ctx);
    server = vtx_socket (vtx, ZMQ_REP);
    limit_wait (server, 20000);
    BIND_ANY (vtx, server);
    for (int i = 0; i < 100; i++) {
        void *socket = zmq_socket (zctx_underlying (ctx), ZMQ_REQ);
        CHECK (socket != NULL);
        limit_wait (socket, 20000);
        set_linger (socket, 0);
        CONNECT_TO (vtx, socket, vtx, server);
        ROUND_TRIP (socket, server);
        zmq_close (socket);
    }
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
}

//  exit () and return from main without closing anything, with a message on its way
static void
leave (void)
{
    talk ();
    void *push = vtx_socket (vtx, ZMQ_PUSH);
    set_linger (push, 500);
    CHECK (vtx_connect (vtx, push, "udp://127.0.0.1:9") == 0);
    CHECK (say (push, "lost") == 0);
}

static void
leave_by_exit (void)
{
    leave ();
    exit (0);
}

static void *
wait_for_ever (void *socket)
{
    char buffer [100];
    limit_wait (socket, -1);
    zmq_recv (socket, buffer, sizeof buffer, 0);
    return NULL;
}

static void
leave_while_waiting (void)
{
    talk ();
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, wait_for_ever, server) == 0);
    pause_ms (50);
    exit (0);
}

//  What a process sent just before exit arrives, within its linger
static void
exit_flushes (void)
{
    //  The receiver is another process, for only processes end. Fork before the first call.
    int there [2];
    CHECK (pipe (there) == 0);
    pid_t pid = fork ();
    CHECK (pid >= 0);
    if (pid == 0) {
        char endpoint [100] = "";
        CHECK (read (there [0], endpoint, sizeof endpoint) > 0);
        execl ("/proc/self/exe", "ending", "exit_flushes_child", endpoint, NULL);
        _exit (1);
    }
    ctx = zctx_new ();
    vtx = vtx_new (ctx);
    void *pull = vtx_socket (vtx, ZMQ_PULL);
    limit_wait (pull, 20000);
    BIND_ANY (vtx, pull);
    char *endpoint = vtx_getmeta (vtx, pull, "endpoint");
    CHECK (write (there [1], endpoint, strlen (endpoint) + 1) > 0);
    free (endpoint);
    for (int i = 0; i < 50; i++)
        CHECK (hears (pull, "work"));
    int status;
    CHECK (waitpid (pid, &status, 0) == pid && WIFEXITED (status) && WEXITSTATUS (status) == 7);
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
}

static void
exit_flushes_child (const char *endpoint)
{
    ctx = zctx_new ();
    zctx_set_linger (ctx, 10000);
    vtx = vtx_new (ctx);
    void *push = vtx_socket (vtx, ZMQ_PUSH);
    CHECK (vtx_connect (vtx, push, endpoint) == 0);
    for (int i = 0; i < 50; i++)
        CHECK (say (push, "work") == 0);
    exit (7);
}

int
main (int argc, char **argv)
{
    watchdog (60);
    if (argc == 3 && strcmp (argv [1], "exit_flushes_child") == 0)
        exit_flushes_child (argv [2]);
    static const struct {
        const char *name;
        void (*run) (void);
    } tests [] = {
        { "orders", orders }, { "flushes", flushes }, { "linger_bounds", linger_bounds },
        { "term", term }, { "term_then_use", term_then_use },
        { "term_then_destroy", term_then_destroy }, { "tasks", tasks }, { "shadow", shadow },
        { "behind", behind }, { "leave", leave }, { "leave_by_exit", leave_by_exit },
        { "leave_while_waiting", leave_while_waiting }, { "exit_flushes", exit_flushes }
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && strcmp (argv [1], tests [i].name) == 0) {
            tests [i].run ();
            return 0;
        }
    return 2;
}
