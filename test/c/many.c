/*  Several managers, contexts and threads in one process, and a thousand sockets one after another. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static void
life_cycles (void)
{
    zctx_t *ctx = zctx_new ();
    vtx_t *vtx = vtx_new (ctx);
    CHECK (vtx != NULL);
    int fds = 0;
    long kb = 0;
    for (int i = 0; i < 500; i++) {         //  Two sockets each
        live (vtx);
        if (i == 100) {
            fds = count_fds ();
            kb = resident_kb ();
        }
    }
    //  What libzmq and the engine end in the background may still be there for a moment
    for (int i = 0; i < 100 && count_fds () > fds; i++)
        pause_ms (50);
    printf ("descriptors %d, then %d; resident %ld kB, then %ld\n", fds, count_fds (), kb, resident_kb ());
    CHECK (count_fds () <= fds + 4);
    CHECK (resident_kb () <= kb + 16 * 1024);
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
}

static void
manager_cycles (void)
{
    int fds = 0;
    long kb = 0;
    for (int i = 0; i < 100; i++) {
        zctx_t *ctx = zctx_new ();
        vtx_t *vtx = vtx_new (ctx);
        CHECK (vtx != NULL);
        live (vtx);
        vtx_destroy (&vtx);
        zctx_destroy (&ctx);
        if (i == 20) {
            fds = count_fds ();
            kb = resident_kb ();
        }
    }
    for (int i = 0; i < 100 && count_fds () > fds; i++)
        pause_ms (50);
    printf ("descriptors %d, then %d; resident %ld kB, then %ld\n", fds, count_fds (), kb, resident_kb ());
    CHECK (count_fds () <= fds + 4);
    CHECK (resident_kb () <= kb + 16 * 1024);
}

static void
managers (void)
{
    //  Two on one context and one on another; all meet over udp
    zctx_t *ctx = zctx_new ();
    void *zmq = zmq_ctx_new ();
    vtx_t *a = vtx_new (ctx), *b = vtx_new (ctx), *c = vtx_new_raw (zmq);
    CHECK (a && b && c && a != b);
    void *server = vtx_socket (a, ZMQ_REP);
    limit_wait (server, 30000);
    BIND_ANY (a, server);
    vtx_t *vtxs [] = { a, b, c };
    for (int i = 0; i < 3; i++) {
        //  Registering in one manager is nothing to the others
        CHECK (vtx_register (vtxs [i], "lan", vtx_udp_driver) == 0);
        void *client = vtx_socket (vtxs [i], ZMQ_REQ);
        limit_wait (client, 30000);
        CONNECT_TO (vtxs [i], client, a, server);
        ROUND_TRIP (client, server);
    }
    //  The end of one manager is nothing to the others
    vtx_destroy (&c);
    void *client = vtx_socket (b, ZMQ_REQ);
    limit_wait (client, 30000);
    CONNECT_TO (b, client, a, server);
    ROUND_TRIP (client, server);
    CHECK (zmq_ctx_term (zmq) == 0);
    vtx_destroy (&a);
    vtx_destroy (&b);
    zctx_destroy (&ctx);
}

static void *
work (void *arg)
{
    for (int i = 0; i < 10; i++)
        live ((vtx_t *) arg);
    return NULL;
}

static void *
work_alone (void *arg)
{
    (void) arg;
    for (int i = 0; i < 5; i++) {
        zctx_t *ctx = zctx_new ();
        vtx_t *vtx = vtx_new (ctx);
        CHECK (vtx != NULL);
        live (vtx);
        vtx_destroy (&vtx);
        zctx_destroy (&ctx);
    }
    return NULL;
}

static void
threads (void)
{
    //  Eight share a manager, eight have a context each
    zctx_t *ctx = zctx_new ();
    vtx_t *vtx = vtx_new (ctx);
    pthread_t all [16];
    for (int i = 0; i < 16; i++)
        CHECK (pthread_create (&all [i], NULL, i % 2? work: work_alone, vtx) == 0);
    for (int i = 0; i < 16; i++)
        pthread_join (all [i], NULL);
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
}

int
main (int argc, char **argv)
{
    watchdog (240);
    static const struct {
        const char *name;
        void (*run) (void);
    } tests [] = {
        { "sockets", life_cycles }, { "cycles", manager_cycles },
        { "managers", managers }, { "threads", threads }
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && strcmp (argv [1], tests [i].name) == 0) {
            tests [i].run ();
            return 0;
        }
    return 2;
}
