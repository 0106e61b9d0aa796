/*  VTX: what czmq 4 no longer has and VTX programs use

    This Source Code Form is subject to the terms of the Mozilla Public
    License, v. 2.0. If a copy of the MPL was not distributed with this
    file, You can obtain one at http://mozilla.org/MPL/2.0/.

    The classes zctx, zthread and zsocket with the meaning they had in czmq 2,
    as a thin layer over libzmq and POSIX threads. vtx.h includes this file unless
    the headers of czmq 2 or 3 came first, whose own classes then serve.

    The functions live in libvtx under names of their own (vtx_zctx_new, …); the
    names that programs write are macros. Nothing here can therefore clash with a
    libczmq of any version in the same process.
*/

#ifndef VTX_CZMQ_H_INCLUDED
#define VTX_CZMQ_H_INCLUDED

#include <zmq.h>

#ifdef __cplusplus
extern "C" {
#endif

//  Xlib and others define these as macros, and then theirs will do
#ifndef Bool
typedef int Bool;
#endif
#ifndef TRUE
#   define TRUE 1
#endif
#ifndef FALSE
#   define FALSE 0
#endif

//  zmq_poll counts in milliseconds. The very tokens of czmq 4, which defines it too
#ifndef ZMQ_POLL_MSEC
#   define ZMQ_POLL_MSEC    1
#endif

#define zctx_new                vtx_zctx_new
#define zctx_destroy            vtx_zctx_destroy
#define zctx_shadow             vtx_zctx_shadow
#define zctx_shadow_zmq_ctx     vtx_zctx_shadow_zmq_ctx
#define zctx_set_linger         vtx_zctx_set_linger
#define zctx_set_iothreads      vtx_zctx_set_iothreads
#define zctx_set_hwm            vtx_zctx_set_hwm
#define zctx_set_sndhwm         vtx_zctx_set_sndhwm
#define zctx_set_rcvhwm         vtx_zctx_set_rcvhwm
#define zctx_underlying         vtx_zctx_underlying
#define zthread_new             vtx_zthread_new
#define zthread_fork            vtx_zthread_fork
#define zsocket_new             vtx_zsocket_new
#define zsocket_destroy         vtx_zsocket_destroy
#define zsocket_bind            vtx_zsocket_bind
#define zsocket_connect         vtx_zsocket_connect
#define zsocket_poll            vtx_zsocket_poll

#ifndef VTX_PRINTF
#   if defined __GNUC__
#       define VTX_PRINTF(text, first) \
            __attribute__ ((format (printf, text, first)))
#   else
#       define VTX_PRINTF(text, first)
#   endif
#endif

typedef struct _vtx_zctx_t zctx_t;

//  A thread that shares nothing, and one that has a context and a pipe to its parent
typedef void *(zthread_detached_fn) (void *args);
typedef void (zthread_attached_fn) (void *args, zctx_t *ctx, void *pipe);

//  --------------------------------------------------------------------------
//  zctx: a libzmq context that knows its sockets. A zctx_t belongs to one thread
//  at a time, as its sockets do; another thread takes a shadow.

//  Make a context. The libzmq context in it is made when first needed, so that
//  zctx_set_iothreads still counts. Unlike czmq 2, no signal handler is installed.
//  Returns NULL when out of memory.
zctx_t *
    zctx_new (void);

//  Close every socket that the context made, within its linger; what was sent over
//  VTX endpoints is flushed within it too. Then, unless it is a shadow, end the libzmq
//  context, which waits for the sockets of other threads. Nulls the caller's pointer.
void
    zctx_destroy (zctx_t **self_p);

//  Make a context that shares the libzmq context and has its own list of sockets:
//  what a thread needs. Its owner destroys it. Returns NULL on failure.
zctx_t *
    zctx_shadow (zctx_t *self);

//  The same for a plain libzmq context, which stays the caller's.
zctx_t *
    zctx_shadow_zmq_ctx (void *zmqctx);

//  How many milliseconds destroying a socket waits for its messages: 0, the default,
//  drops them, -1 waits without limit. A socket whose ZMQ_LINGER the program has
//  set itself keeps that.
void
    zctx_set_linger (zctx_t *self, int linger);

//  How many I/O threads libzmq gets: 1 by default. Call it before the first socket.
void
    zctx_set_iothreads (zctx_t *self, int iothreads);

//  High-water marks of the sockets made from now on: 1,000 messages by default,
//  0 is no limit. zctx_set_hwm sets both directions.
void
    zctx_set_hwm (zctx_t *self, int hwm);
void
    zctx_set_sndhwm (zctx_t *self, int sndhwm);
void
    zctx_set_rcvhwm (zctx_t *self, int rcvhwm);

//  The libzmq context within, still owned by the zctx_t; made now if there was none yet.
void *
    zctx_underlying (zctx_t *self);

//  --------------------------------------------------------------------------
//  zthread: threads that talk over a socket

//  Run thread_fn (args) in a thread of its own. Returns 0, or -1 with errno.
int
    zthread_new (zthread_detached_fn *thread_fn, void *args);

//  Run thread_fn (args, ctx, pipe) in a thread of its own, with a shadow of this
//  context and one end of a PAIR; returns the other end, which ctx owns, or NULL
//  with errno. When thread_fn returns, its context and all sockets in it are closed.
void *
    zthread_fork (zctx_t *ctx, zthread_attached_fn *thread_fn, void *args);

//  --------------------------------------------------------------------------
//  zsocket: plain libzmq sockets on a zctx

//  Make a socket that the context closes if nobody else does. NULL with errno on failure.
void *
    zsocket_new (zctx_t *self, int type);

//  Close a socket of this context, within the context's linger.
void
    zsocket_destroy (zctx_t *self, void *socket);

//  Bind to a formatted libzmq endpoint. Returns the port for tcp, 0 for other
//  transports, -1 with errno. As tcp port, * takes the first free one from 49152 to
//  65535 and ! a random free one; a range may follow: *[6000-6100].
int
    zsocket_bind (void *socket, const char *format, ...) VTX_PRINTF (2, 3);

//  Connect to a formatted libzmq endpoint. Returns 0, or -1 with errno.
int
    zsocket_connect (void *socket, const char *format, ...) VTX_PRINTF (2, 3);

//  Wait up to msecs milliseconds (-1: without limit) for a message. TRUE if there is one.
Bool
    zsocket_poll (void *socket, int msecs);

#ifdef __cplusplus
}
#endif
#endif
