/*  The layer for czmq 2: zctx, zthread and zsocket mean what they meant there. None of this needs VTX. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static void
hwm_and_linger (void)
{
    zctx_t *ctx = zctx_new ();
    CHECK (ctx != NULL);
    zctx_set_iothreads (ctx, 2);
    zctx_set_sndhwm (ctx, 7);
    zctx_set_rcvhwm (ctx, 8);
    zctx_set_linger (ctx, 9);
    void *socket = zsocket_new (ctx, ZMQ_PUSH);
    CHECK (socket != NULL);
    CHECK (zmq_ctx_get (zctx_underlying (ctx), ZMQ_IO_THREADS) == 2);
    int value;
    size_t size = sizeof value;
    CHECK (zmq_getsockopt (socket, ZMQ_SNDHWM, &value, &size) == 0 && value == 7);
    CHECK (zmq_getsockopt (socket, ZMQ_RCVHWM, &value, &size) == 0 && value == 8);
    CHECK (zmq_getsockopt (socket, ZMQ_LINGER, &value, &size) == 0 && value == 9);

    //  A shadow takes the settings over, and shares the libzmq context
    zctx_t *shadow = zctx_shadow (ctx);
    CHECK (shadow != NULL && zctx_underlying (shadow) == zctx_underlying (ctx));
    zctx_set_hwm (ctx, 3);
    void *other = zsocket_new (shadow, ZMQ_PULL);
    CHECK (zmq_getsockopt (other, ZMQ_SNDHWM, &value, &size) == 0 && value == 7);
    zctx_destroy (&shadow);
    CHECK (shadow == NULL);
    CHECK (zmq_getsockopt (socket, ZMQ_TYPE, &value, &size) == 0);

    //  A context with a message for nobody ends at once: linger is 0 by default
    CHECK (zsocket_connect (socket, "tcp://127.0.0.1:%d", 1) == 0);
    CHECK (say (socket, "lost") == 0);
    zctx_set_linger (ctx, 0);
    double start = now ();
    zctx_destroy (&ctx);
    CHECK (ctx == NULL && now () - start < 5);
}

static void
lingers (void)
{
    //  What was sent to a peer that is there arrives within the linger. The peer has a
    //  context of its own, so that only tcp joins the two.
    void *zmq = zmq_ctx_new ();
    void *pull = zmq_socket (zmq, ZMQ_PULL);
    limit_wait (pull, 20000);
    zctx_t *peer = zctx_shadow_zmq_ctx (zmq);
    CHECK (zctx_underlying (peer) == zmq);
    zctx_destroy (&peer);           //  A shadow leaves the context and foreign sockets alone
    int port = zsocket_bind (pull, "tcp://127.0.0.1:*");
    CHECK (port >= 0xC000 && port <= 0xFFFF);

    zctx_t *ctx = zctx_new ();
    void *push = zsocket_new (ctx, ZMQ_PUSH);
    CHECK (zsocket_connect (push, "tcp://127.0.0.1:%d", port) == 0);
    for (int i = 0; i < 100; i++)
        CHECK (say (push, "work") == 0);
    zctx_set_linger (ctx, 20000);
    zctx_destroy (&ctx);
    for (int i = 0; i < 100; i++)
        CHECK (hears (pull, "work"));

    //  A linger that the program set on the socket is its own
    ctx = zctx_new ();
    push = zsocket_new (ctx, ZMQ_PUSH);
    set_linger (push, 20000);
    CHECK (zsocket_connect (push, "tcp://127.0.0.1:%d", port) == 0);
    CHECK (say (push, "last") == 0);
    zctx_destroy (&ctx);
    CHECK (hears (pull, "last"));
    zmq_close (pull);
    zmq_ctx_term (zmq);
}

static void
sockets (void)
{
    zctx_t *ctx = zctx_new ();
    void *rep = zsocket_new (ctx, ZMQ_REP);
    void *req = zsocket_new (ctx, ZMQ_REQ);
    CHECK (zsocket_new (ctx, 99) == NULL && errno == EINVAL);

    CHECK (zsocket_bind (rep, "inproc://%s-%d", "place", 5) == 0);
    CHECK (zsocket_connect (req, "inproc://place-5") == 0);
    CHECK (zsocket_poll (rep, 0) == FALSE);
    CHECK (say (req, "hello?") == 0);
    CHECK (zsocket_poll (rep, 20000) == TRUE);
    CHECK (hears (rep, "hello?"));

    //  Ports
    void *tcp = zsocket_new (ctx, ZMQ_PULL);
    int port = zsocket_bind (tcp, "tcp://127.0.0.1:*");
    CHECK (port > 0);
    void *second = zsocket_new (ctx, ZMQ_PULL);
    CHECK (zsocket_bind (second, "tcp://127.0.0.1:%d", port) == -1 && errno == EADDRINUSE);
    CHECK (zsocket_bind (second, "tcp://127.0.0.1:*[%d-%d]", port, port) == -1 && errno == EADDRINUSE);
    int next = zsocket_bind (second, "tcp://127.0.0.1:*[%d-]", port);
    CHECK (next > port);
    CHECK (zsocket_bind (second, "tcp://127.0.0.1:*[%d-%d]", 5, 4) == -1 && errno == EINVAL);
    CHECK (zsocket_bind (second, "tcp://127.0.0.1:*nonsense") == -1 && errno == EINVAL);
    CHECK (zsocket_bind (second, "tcp://127.0.0.1:!") >= 0xC000);
    zsocket_destroy (ctx, tcp);
    pause_ms (100);
    int given = zsocket_bind (second, "tcp://127.0.0.1:%d", port);
    CHECK (given == port);

    //  Bad endpoints
    CHECK (zsocket_bind (second, "tcp://%s", "nonsense") == -1);
    CHECK (zsocket_connect (second, "nonsense") == -1 && errno == EINVAL);
    char text [1000];
    memset (text, 'x', sizeof text);
    text [sizeof text - 1] = 0;
    CHECK (zsocket_connect (second, "inproc://%s", text) == -1 && errno == EINVAL);

    //  Not ours, twice, never
    zsocket_destroy (ctx, NULL);
    zsocket_destroy (ctx, ctx);
    zsocket_destroy (NULL, second);
    zsocket_destroy (ctx, second);
    zctx_destroy (&ctx);
}

static void
echo (void *args, zctx_t *ctx, void *pipe)
{
    CHECK (strcmp ((const char *) args, "word") == 0);
    //  Its context is its own; what it leaves open is closed for it
    CHECK (zsocket_new (ctx, ZMQ_DEALER) != NULL);
    char buffer [100];
    int size;
    while ((size = zmq_recv (pipe, buffer, sizeof buffer, 0)) >= 0)
        if (zmq_send (pipe, buffer, (size_t) size, 0) != size)
            break;
    CHECK (errno == ETERM);
}

static void
once (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    (void) ctx;
    CHECK (say (pipe, "done") == 0);
}

static int detached_ran;

static void *
detached (void *args)
{
    __atomic_store_n ((int *) args, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void
threads (void)
{
    zctx_t *ctx = zctx_new ();
    void *pipes [20];
    for (int i = 0; i < 20; i++) {
        pipes [i] = zthread_fork (ctx, echo, (void *) "word");
        CHECK (pipes [i] != NULL);
        limit_wait (pipes [i], 20000);
    }
    for (int i = 0; i < 20; i++)
        CHECK (say (pipes [i], "hello?") == 0);
    for (int i = 0; i < 20; i++)
        CHECK (hears (pipes [i], "hello?"));

    //  A task that returns closes its pipe; its last word still arrives, also with linger 0
    for (int i = 0; i < 20; i++) {
        void *pipe = zthread_fork (ctx, once, NULL);
        limit_wait (pipe, 20000);
        CHECK (hears (pipe, "done"));
        zsocket_destroy (ctx, pipe);
    }
    CHECK (zthread_new (detached, &detached_ran) == 0);
    while (!__atomic_load_n (&detached_ran, __ATOMIC_SEQ_CST))
        pause_ms (1);
    CHECK (zthread_new (NULL, NULL) == -1 && errno == EINVAL);
    CHECK (zthread_fork (ctx, NULL, NULL) == NULL && errno == EINVAL);
    CHECK (zthread_fork (NULL, echo, NULL) == NULL && errno == EINVAL);

    //  Destroying the context ends the tasks, which get ETERM, and waits for them
    zctx_destroy (&ctx);
    CHECK (ctx == NULL);
}

static void
shadow_outlives (void)
{
    zctx_t *ctx = zctx_new ();
    zctx_t *shadow = zctx_shadow (ctx);
    zctx_destroy (&ctx);
    //  Its libzmq context is gone, and it knows
    CHECK (zsocket_new (shadow, ZMQ_REQ) == NULL && errno == ETERM);
    CHECK (zctx_shadow (shadow) == NULL && errno == ETERM);
    CHECK (vtx_new (shadow) == NULL);
    zctx_destroy (&shadow);
}

static void
many (void)
{
    int before = 0;
    for (int i = 0; i < 200; i++) {
        zctx_t *ctx = zctx_new ();
        void *a = zsocket_new (ctx, ZMQ_PAIR);
        void *b = zsocket_new (ctx, ZMQ_PAIR);
        CHECK (zsocket_bind (a, "inproc://a") == 0 && zsocket_connect (b, "inproc://a") == 0);
        CHECK (say (a, "x") == 0 && hears (b, "x"));
        zctx_destroy (&ctx);
        if (i == 10)
            before = count_fds ();
    }
    CHECK (count_fds () <= before);
}

int
main (void)
{
    watchdog (120);
    hwm_and_linger ();
    lingers ();
    sockets ();
    threads ();
    shadow_outlives ();
    many ();
    return 0;
}
