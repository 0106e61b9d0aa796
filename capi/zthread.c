/*  The threads of czmq 2, as vtx_czmq.h describes them, and those of drivers, on POSIX threads. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include "internal.h"
#include "_cgo_export.h"

//  What a new thread starts from; it frees this
typedef struct {
    zthread_detached_fn *detached;
    zthread_attached_fn *attached;
    void *args;
    zctx_t *ctx;
    void *pipe;
    uintptr_t driver;       //  Whom to tell that the thread has ended, or 0
} start_t;

//  What an attached thread leaves, also by pthread_exit
static void
s_ended (void *arg)
{
    start_t *start = arg;
    zctx_destroy (&start->ctx);
    if (start->driver && !vtx_forked_ ())       //  A driver may have forked, and this is the child
        vtxgo_driver_ended (start->driver);
}

static void *
s_thread (void *arg)
{
    start_t start = *(start_t *) arg;
    free (arg);
    if (start.detached)
        start.detached (start.args);
    else {
        pthread_cleanup_push (s_ended, &start);
        start.attached (start.args, start.ctx, start.pipe);
        pthread_cleanup_pop (1);
    }
    return NULL;
}

//  Start a thread that nobody joins. Returns 0 or an errno; start is then freed.
static int
s_start (start_t model)
{
    start_t *start = malloc (sizeof *start);
    if (!start)
        return ENOMEM;
    *start = model;
    pthread_t thread;
    int rc = pthread_create (&thread, NULL, s_thread, start);
    if (rc)
        free (start);
    else
        pthread_detach (thread);
    return rc;
}

int
zthread_new (zthread_detached_fn *thread_fn, void *args)
{
    int rc = vtx_forked_ ()? ENOTSUP: thread_fn? 0: EINVAL;
    if (rc == 0)
        rc = s_start ((start_t) { .detached = thread_fn, .args = args });
    if (rc)
        errno = rc;
    return rc? -1: 0;
}

void *
zthread_fork (zctx_t *ctx, zthread_attached_fn *thread_fn, void *args)
{
    if (!thread_fn) {
        errno = EINVAL;
        return NULL;
    }
    start_t start = { .attached = thread_fn, .args = args };
    void *pipe = zsocket_new (ctx, ZMQ_PAIR);
    if (!pipe)
        return NULL;
    //  A PAIR has one peer, and the name is free again when it is closed: its
    //  address is a name that no other open pipe can have
    start.ctx = zctx_shadow (ctx);
    if (start.ctx)
        start.pipe = zsocket_new (start.ctx, ZMQ_PAIR);
    int rc = 0;
    if (!start.pipe
    ||  zsocket_bind (pipe, "inproc://zthread-%p", pipe) == -1
    ||  zsocket_connect (start.pipe, "inproc://zthread-%p", pipe) == -1)
        rc = errno;
    else
        rc = s_start (start);
    if (rc) {
        zctx_destroy (&start.ctx);
        zsocket_destroy (ctx, pipe);
        errno = rc;
        return NULL;
    }
    return pipe;
}

int
vtx_driver_start_ (void *zmq, uintptr_t driver_fn, const char *control, uintptr_t driver)
{
    start_t start = { .attached = (zthread_attached_fn *) driver_fn, .driver = driver };
    start.ctx = vtx_zctx_driver_ (zmq);
    if (!start.ctx)
        return errno;
    start.pipe = zsocket_new (start.ctx, ZMQ_PAIR);
    //  The program's signals are not for the driver's thread, which inherits the mask
    sigset_t all, before;
    sigfillset (&all);
    pthread_sigmask (SIG_SETMASK, &all, &before);
    int rc = start.pipe && zmq_connect (start.pipe, control) == 0? s_start (start): errno;
    pthread_sigmask (SIG_SETMASK, &before, NULL);
    if (rc)
        zctx_destroy (&start.ctx);
    return rc;
}
