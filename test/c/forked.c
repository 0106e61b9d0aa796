/*  In a child of fork every call fails at once and says why; the parent goes on as if nothing was. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static vtx_t *vtx;
static zctx_t *ctx;
static void *socket_;

//  As in the parent, but the child must not hang and must not run exit handlers that do
static void
in_child (void)
{
    watchdog (10);
    const char *words = "forked child";
    FAILS (vtx_new (ctx) == NULL, ENOTSUP, words);
    FAILS (vtx_new (NULL) == NULL, ENOTSUP, words);
    FAILS (vtx_new_raw (zctx_underlying (ctx)) == NULL, ENOTSUP, words);
    FAILS (vtx_socket (vtx, ZMQ_REQ) == NULL, ENOTSUP, words);
    FAILS (vtx_bind (vtx, socket_, "udp://127.0.0.1:*") == -1, ENOTSUP, words);
    FAILS (vtx_unbind (vtx, socket_, "udp://127.0.0.1:1") == -1, ENOTSUP, words);
    FAILS (vtx_connect (vtx, socket_, "udp://127.0.0.1:%d", 1) == -1, ENOTSUP, words);
    FAILS (vtx_disconnect (vtx, socket_, "udp://127.0.0.1:1") == -1, ENOTSUP, words);
    FAILS (vtx_register (vtx, "udp", vtx_udp_driver) == -1, ENOTSUP, words);
    FAILS (vtx_setopt (vtx, NULL, "a", "b") == -1, ENOTSUP, words);
    FAILS (vtx_getmeta (vtx, socket_, "endpoint") == NULL, ENOTSUP, words);
    FAILS (vtx_monitor (vtx, socket_, "inproc://news", 1) == -1, ENOTSUP, words);
    FAILS (vtx_close (vtx, socket_) == -1, ENOTSUP, words);
    CHECK (zsocket_new (ctx, ZMQ_REQ) == NULL && errno == ENOTSUP);
    CHECK (zctx_new () == NULL && errno == ENOTSUP);
    vtx_destroy (&vtx);
    CHECK (vtx == NULL);
    zctx_destroy (&ctx);
    CHECK (ctx == NULL);
    exit (42);                      //  With all exit handlers
}

static int
exit_code (pid_t pid)
{
    int status = 0;
    CHECK (waitpid (pid, &status, 0) == pid);
    return WIFEXITED (status)? WEXITSTATUS (status): -WTERMSIG (status);
}

static void
fork_once (void)
{
    pid_t pid = fork ();
    CHECK (pid >= 0);
    if (pid == 0)
        in_child ();
    CHECK (exit_code (pid) == 42);
}

int
main (int argc, char **argv)
{
    if (argc > 1 && strcmp (argv [1], "again") == 0) {
        //  After exec the child is a program like any other
        watchdog (30);
        zctx_t *mine = zctx_new ();
        vtx_t *fresh = vtx_new (mine);
        CHECK (fresh != NULL);
        vtx_destroy (&fresh);
        zctx_destroy (&mine);
        return 43;
    }
    int talk = argc > 1 && strcmp (argv [1], "talk") == 0;
    watchdog (60);
    ctx = zctx_new ();
    fork_once ();                   //  Before the first call

    vtx = vtx_new (ctx);
    CHECK (vtx != NULL);
    socket_ = zsocket_new (ctx, ZMQ_REP);
    void *client = zsocket_new (ctx, ZMQ_REQ);
    limit_wait (socket_, 20000);
    limit_wait (client, 20000);
    for (int i = 0; i < 5; i++)
        fork_once ();

    if (talk) {
        BIND_ANY (vtx, socket_);
        CONNECT_TO (vtx, client, vtx, socket_);
        for (int i = 0; i < 5; i++) {
            ROUND_TRIP (client, socket_);
            fork_once ();
        }
        ROUND_TRIP (client, socket_);
    }
    pid_t pid = fork ();
    if (pid == 0) {
        execl ("/proc/self/exe", argv [0], "again", NULL);
        _exit (1);
    }
    CHECK (exit_code (pid) == 43);
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
    return 0;
}
