/*  Together with czmq 4: its process-wide context, its zsock_t, its strings and its Ctrl-C. */

#include <czmq.h>
#include <vtx.h>
#include "check.h"

static vtx_t *vtx;

//  A zsock_t in every call
static void
zsocks (void)
{
    vtx = vtx_new (NULL);
    CHECK (vtx != NULL);
    zsock_t *rep = zsock_new (ZMQ_REP), *req = zsock_new (ZMQ_REQ);
    CHECK (rep && req);
    zsock_set_rcvtimeo (rep, 20000);
    zsock_set_rcvtimeo (req, 20000);
    CHECK (vtx_setopt (vtx, rep, "udp.broadcast", "127.255.255.255") == 0);
    CHECK (vtx_monitor (vtx, rep, "inproc://news", ZMQ_EVENT_ALL) == 0);
    BIND_ANY (vtx, rep);
    CONNECT_TO (vtx, req, vtx, rep);
    for (int i = 0; i < 10; i++) {
        CHECK (zstr_send (req, "hello?") == 0);
        char *text = zstr_recv (rep);
        CHECK (text && streq (text, "hello?"));
        zstr_free (&text);
        CHECK (zstr_send (rep, "ack") == 0);
        text = zstr_recv (req);
        CHECK (text && streq (text, "ack"));
        zstr_free (&text);
    }
    char *peers = vtx_getmeta (vtx, rep, "peers");
    CHECK (peers && streq (peers, "1"));
    free (peers);
    CHECK (vtx_monitor (vtx, rep, NULL, 0) == 0);
    char *endpoint = vtx_getmeta (vtx, rep, "endpoint");
    CHECK (vtx_disconnect (vtx, req, endpoint) == 0);
    CHECK (vtx_unbind (vtx, rep, endpoint) == 0);
    free (endpoint);

    //  Its own socket is closed here, and what czmq keeps of it there
    CHECK (vtx_close (vtx, req) == 0);
    zsock_destroy (&req);
    //  One that czmq has destroyed is no socket any more
    zsock_t *stale = rep;
    zsock_destroy (&rep);
    FAILS (vtx_bind (vtx, stale, "udp://127.0.0.1:*") == -1, ENOTSOCK, "not an open socket");
    //  Other things of czmq's are none either
    zlist_t *list = zlist_new ();
    FAILS (vtx_bind (vtx, list, "udp://127.0.0.1:*") == -1, ENOTSOCK, "not an open socket");
    zlist_destroy (&list);
    vtx_destroy (&vtx);
}

//  The two process-wide contexts are one
static void
process_context (void)
{
    vtx = vtx_new (NULL);
    CHECK (vtx != NULL);
    vtx_t *other = vtx_new_raw (zsys_init ());
    CHECK (other != NULL && other != vtx);
    zctx_t *ctx = zctx_shadow_zmq_ctx (zsys_init ());
    vtx_t *third = vtx_new (ctx);
    CHECK (third != NULL);
    vtx_destroy (&third);
    zctx_destroy (&ctx);
    vtx_destroy (&other);
    //  The first is left open: the exit handlers of VTX and czmq come in the right order
    if (getenv ("VTX_TEST_TALK")) {
        zsock_t *rep = zsock_new (ZMQ_REP);
        BIND_ANY (vtx, rep);
    }
}

static int ended;

static void
wait_task (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    vtx_t *own = vtx_new (ctx);
    void *server = vtx_socket (own, ZMQ_REP);
    BIND_ANY (own, server);
    zstr_send (pipe, "ready");
    char *text = zstr_recv (server);
    CHECK (text == NULL);
    vtx_destroy (&own);
    ended = 1;
}

//  Ctrl-C under czmq's handler, in the way of the samples
static void
interrupt (void)
{
    zsys_init ();
    zctx_t *ctx = zctx_new ();
    void *pipe = zthread_fork (ctx, wait_task, NULL);
    char *text = zstr_recv (pipe);
    CHECK (text && streq (text, "ready"));
    zstr_free (&text);
    kill (getpid (), SIGINT);
    while (!zsys_interrupted)
        zclock_sleep (10);
    double start = now ();
    zctx_destroy (&ctx);
    CHECK (ended && now () - start < 2.5);
}

//  The same in the main thread, which waits in zstr_recv
static void
interrupt_main (void)
{
    vtx = vtx_new (NULL);
    zsock_t *rep = zsock_new (ZMQ_REP);
    BIND_ANY (vtx, rep);
    pid_t parent = getpid ();
    if (fork () == 0) {
        pause_ms (300);
        kill (parent, SIGINT);
        _exit (0);
    }
    char *text = zstr_recv (rep);
    CHECK (text == NULL && zsys_interrupted);
    zsock_destroy (&rep);
    double start = now ();
    vtx_destroy (&vtx);
    CHECK (now () - start < 2.5);
}

//  A storm of signals while calls are inside Go, whose stacks are small: a handler that
//  was there when the vtx_t was made must not run on them
static char *stack_end;
static volatile int strayed;
static pthread_t main_thread;

static void
look_around (int number)
{
    (void) number;
    char here;
    stack_t stack;
    sigaltstack (NULL, &stack);
    int on_own = pthread_equal (pthread_self (), main_thread)
        && &here < stack_end && &here > stack_end - (1 << 20);
    if (!on_own && !(stack.ss_flags & SS_ONSTACK))
        strayed = 1;
}

static void
storm (void)
{
    char here;
    stack_end = &here;
    main_thread = pthread_self ();
    struct sigaction action = { .sa_handler = look_around, .sa_flags = SA_RESTART };
    CHECK (sigaction (SIGUSR1, &action, NULL) == 0);
    vtx = vtx_new (NULL);
    CHECK (sigaction (SIGINT, NULL, &action) == 0 && action.sa_flags & SA_ONSTACK);
    pid_t parent = getpid ();
    pid_t child = fork ();
    if (child == 0)
        while (kill (parent, SIGUSR1) == 0)
            ;
    double end = now () + 2;
    while (now () < end)
        FAILS (vtx_setopt (vtx, NULL, "no.such.option", "x") == -1, EINVAL, "no.such.option");
    kill (child, SIGKILL);
    waitpid (child, NULL, 0);
    CHECK (!strayed);
    vtx_destroy (&vtx);
}

int
main (int argc, char **argv)
{
    watchdog (60);
    static const struct {
        const char *name;
        void (*run) (void);
    } tests [] = {
        { "zsocks", zsocks }, { "process_context", process_context },
        { "interrupt", interrupt }, { "interrupt_main", interrupt_main },
        { "storm", storm }
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && streq (argv [1], tests [i].name)) {
            tests [i].run ();
            return 0;
        }
    return 2;
}
