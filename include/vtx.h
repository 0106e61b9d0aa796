/*  VTX: virtual transports for libzmq sockets

    This Source Code Form is subject to the terms of the Mozilla Public
    License, v. 2.0. If a copy of the MPL was not distributed with this
    file, You can obtain one at http://mozilla.org/MPL/2.0/.

    Made by internal/header from the comments in capi/exports.go: do not edit.

    Functions return -1 or NULL on failure and set errno; vtx_error tells the cause as
    a sentence. All may be called from any thread, while a socket belongs to one
    thread at a time, as everywhere in libzmq. In a child of fork every call fails
    with ENOTSUP until exec. Strings end in NUL, endpoints have at most 1,024 bytes.
*/

#ifndef VTX_H_INCLUDED
#define VTX_H_INCLUDED

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <zmq.h>

//  The headers of czmq 2 and 3 have these classes; without them, ours will do
#if defined __ZCTX_H_INCLUDED__ \
    || (defined CZMQ_VERSION_MAJOR && CZMQ_VERSION_MAJOR < 4)
#   include <czmq.h>
#else
#   include "vtx_czmq.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define VTX_VERSION_MAJOR 1
#define VTX_VERSION_MINOR 0
#define VTX_VERSION_PATCH 0

//  The monitor event that is VTX's own: a message or a peering was refused
#define VTX_EVENT_REFUSED 0x8000

//  What a driver counts with vtx_driver_event: messages that will not be delivered
#define VTX_EVENT_DROPPED 0x10000

#ifndef VTX_PRINTF
#   if defined __GNUC__
#       define VTX_PRINTF(text, first) \
            __attribute__ ((format (printf, text, first)))
#   else
#       define VTX_PRINTF(text, first)
#   endif
#endif

//  Joins the sockets of one libzmq context to VTX endpoints
typedef struct _vtx_t vtx_t;

//  Make a vtx for the sockets of a libzmq context. ctx is a zctx_t, of vtx_czmq.h or of czmq 2 or 3,
//  and must outlive it; NULL stands for the context that czmq 3 and 4 keep for the whole process.
//  The caller owns the vtx_t and destroys it with vtx_destroy. Returns NULL with errno on failure:
//  EINVAL if ctx is no zctx_t, ENOTSUP if it is NULL and no czmq is in the process, ETERM, EMFILE.
vtx_t *
    vtx_new (zctx_t *ctx);

//  The same for a plain libzmq context, as other languages have it: pyzmq's Context.underlying,
//  cppzmq's context_t::handle (), ffi-rzmq's Context#context. It stays the caller's. Errors: EINVAL
//  if zmq_ctx is not an open libzmq context, ETERM, EMFILE.
vtx_t *
    vtx_new_raw (void *zmq_ctx);

//  Close every socket that vtx_socket made and end the endpoints of all others, each within its
//  ZMQ_LINGER, and null the caller's pointer. NULL and a pointer to NULL are fine. No other thread may
//  be using the vtx_t or its sockets. After the context has ended this still has to be called.
void
    vtx_destroy (vtx_t **self_p);

//  Make a socket of a libzmq type, ZMQ_PAIR to ZMQ_XSUB. It is a libzmq socket like any other and
//  belongs to one thread at a time; a zctx_t's linger and high-water marks are set on it. The vtx_t
//  owns it until vtx_close. Returns NULL with errno: EINVAL, EMFILE, ETERM, ENOTSUP for other types.
void *
    vtx_socket (vtx_t *self, int type);

//  Accept peers at endpoint, scheme://host:port[?name=value&...]; vtx_getmeta tells the port that *
//  found. The socket is a libzmq socket of the same context, whoever made it, or a zsock_t; call from
//  the thread that uses it. Errors: EINVAL for a malformed endpoint, ENOPROTOOPT for an unknown scheme,
//  ENOTSOCK, ENOTSUP for what the scheme or socket type cannot do, ETERM, EADDRINUSE and its like.
int
    vtx_bind (vtx_t *self, void *socket, const char *endpoint);

//  Stop accepting peers at an endpoint that vtx_bind was given or vtx_getmeta told, and end the peerings
//  it accepted. Same thread rule. Errors: ENOENT if the socket is not bound there, EBUSY while a message is
//  half received (ZMQ_RCVMORE), EINVAL, ENOTSOCK, ETERM.
int
    vtx_unbind (vtx_t *self, void *socket, const char *endpoint);

//  Look for a peer at endpoint, now and whenever it is lost, until vtx_disconnect. Returns at once;
//  messages wait for the peer as with zmq_connect, and an unknown host is tried again. DEALER, SUB, PUB
//  and REQ connect to the same endpoint once: another call does nothing. Sockets, thread rule and errors
//  are those of vtx_bind.
int
    vtx_connect (vtx_t *self, void *socket, const char *endpoint);

//  End what vtx_connect made for endpoint, however often; what was sent on it is delivered within
//  ZMQ_LINGER, in the background. Same thread rule. Errors: ENOENT if there is none, EBUSY as of vtx_unbind,
//  EINVAL, ENOTSOCK, ETERM.
int
    vtx_disconnect (vtx_t *self, void *socket, const char *endpoint);

//  Close a socket, whoever made it, after what was sent on it has left, within its ZMQ_LINGER. The
//  pointer is not to be used again; of a zsock_t the libzmq socket is closed, and zsock_destroy, which
//  should follow at once, frees the rest. Same thread rule. Errors: ENOTSOCK.
int
    vtx_close (vtx_t *self, void *socket);

//  Let scheme stand for a driver: one of the functions below, under its own name, which needs no registration,
//  or any other; or a function of your own, which now runs in a thread of its own until the vtx_t is destroyed.
//  Its sockets are open until it returns: one that hangs keeps a zmq_ctx_term of yours waiting, while vtx_destroy
//  and zctx_destroy give it up after seconds. A scheme can be registered once in each vtx_t. Errors: ENOTUNIQ if
//  it was, EINVAL for a malformed scheme or no driver, ETERM, EMFILE.
int
    vtx_register (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn);

//  Set what libzmq has no socket option for: for one socket, or with a NULL socket for all that the
//  vtx_t will serve. It holds for later binds and connects. Secrets, such as the text of a private key, are
//  taken here only, never in an endpoint. Errors: EINVAL for an unknown name or a value that is not allowed,
//  ENOTSOCK.
int
    vtx_setopt (vtx_t *self, void *socket_or_null, const char *name, const char *value);

//  Tell a fact about a socket: "endpoint", the last one bound or connected, as in use; "peers", how many;
//  "stats", counters as JSON; and of its only peer, or with ":" and a routing id of a ROUTER's: "sender",
//  its address; "user", who it is for the ZAP handler; "property:NAME", what it says of itself, such as
//  "property:Socket-Type"; "tls.subject" and its like, what the transport has verified. The caller frees the
//  string. Returns NULL with errno: EINVAL for an unknown name, ENOENT if there is nothing to tell, ENOTSUP
//  if the socket cannot know it, ENOTSOCK.
char *
    vtx_getmeta (vtx_t *self, void *socket, const char *name);

//  Report what happens to the socket's endpoints to a ZMQ_PAIR bound at inproc_endpoint, which the caller
//  connects to: the two frames and ZMQ_EVENT_ numbers of zmq_socket_monitor, and for a failure a third,
//  a sentence on one printable line. VTX_EVENT_REFUSED is a message or peering that was refused. events is the sum of those
//  wanted. A second call ends the first one's reports, and may name the same endpoint; 0 events end them.
//  Errors: EINVAL, EADDRINUSE, ENOTSOCK, ETERM.
int
    vtx_monitor (vtx_t *self, void *socket, const char *inproc_endpoint, int events);

//  The same, and let a driver of your own know whether to trace what it does: the first frame that it receives
//  is "1", or "0" as for vtx_register. The built-in drivers print nothing.
int
    vtx_register_verbose (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn, int verbose);

//  For a driver: here is a peer of the endpoint that BIND or CONNECT called vtxname. Returns the socket through which
//  its messages pass, frame by frame as on a ZMTP connection, to be polled and used without blocking in the thread
//  that opened it: a PAIR for a PAIR, PULL for PUSH, PUSH for PULL, and a DEALER otherwise. routing_id is what
//  the peer calls itself, address where it is; either may be NULL. Returns NULL with errno if the application
//  does not take the peer, and vtx_error says why, for the peer to be told: ECONNREFUSED, EMFILE, EAGAIN
//  for not now, EISCONN if a connected endpoint has its peer, ENOENT for a vtxname that is closed, EINVAL.
void *
    vtx_peering_open (zctx_t *ctx, const char *vtxname, const char *routing_id, const char *address);

//  For a driver: the peer is gone, or after UNBIND or DISCONNECT the last message has been sent to it. What was sent
//  through the socket is still delivered; what was not received from it goes to the next peer of a connected endpoint.
//  The socket is closed. Same thread. Errors: ENOTSOCK if it is not an open peering.
int
    vtx_peering_close (zctx_t *ctx, void *peering);

//  For a driver: tell the monitor of an endpoint's socket an event of zmq_socket_monitor, or VTX_EVENT_REFUSED, with
//  its value and for a failure a sentence, or NULL; or count with VTX_EVENT_DROPPED that value messages will
//  not be delivered, where text is the key in the statistics: too_big, full, duplicate, lost, malformed, stray,
//  network or unsent. Any thread. Errors: ENOENT for an unknown vtxname, EINVAL.
int
    vtx_driver_event (zctx_t *ctx, const char *vtxname, int event, int value, const char *text);

//  The last failure of a call in this thread, as a sentence that names the endpoint and
//  the cause; "" if there was none. The string is the library's, and changes with the next failure.
const char *
    vtx_error (void);

//  The version of the library in use. Any pointer may be NULL.
void
    vtx_version (int *major, int *minor, int *patch);

//  --------------------------------------------------------------------------
//  The built-in drivers, for vtx_register. They are names, not to be called.

zthread_attached_fn vtx_ipc_driver;
zthread_attached_fn vtx_sasl_driver;
zthread_attached_fn vtx_sasl_tls_driver;
zthread_attached_fn vtx_tcp_driver;
zthread_attached_fn vtx_tls_driver;
zthread_attached_fn vtx_udp_driver;

//  --------------------------------------------------------------------------
//  Other call forms, for C and C++. With more arguments than the functions above
//  have, these names stand for the following:
//
//      int vtx_bind (vtx_t *self, void *socket, const char *format, ...);
//      int vtx_connect (vtx_t *self, void *socket, const char *format, ...);
//      int vtx_register (vtx_t *self, const char *scheme,
//                        zthread_attached_fn *driver_fn, int verbose);
//
//  The first two format the endpoint as printf does; an endpoint that stands alone is
//  never a format. The last one is vtx_register_verbose. In parentheses, (vtx_bind), a
//  name is the plain function.

static inline int
    vtx_bind_format_ (vtx_t *self, void *socket, const char *format, ...) VTX_PRINTF (3, 4);
static inline int
    vtx_connect_format_ (vtx_t *self, void *socket, const char *format, ...) VTX_PRINTF (3, 4);

//  One byte more than an endpoint may have, so that the library refuses one that was cut
#define VTX_FORMAT_(call) \
    char endpoint [1026]; \
    va_list args; \
    va_start (args, format); \
    int length = format? vsnprintf (endpoint, sizeof endpoint, format, args): 0; \
    va_end (args); \
    return (call) (self, socket, format && length >= 0? endpoint: NULL)

static inline int
vtx_bind_format_ (vtx_t *self, void *socket, const char *format, ...)
{
    VTX_FORMAT_ (vtx_bind);
}

static inline int
vtx_connect_format_ (vtx_t *self, void *socket, const char *format, ...)
{
    VTX_FORMAT_ (vtx_connect);
}

#undef VTX_FORMAT_

//  As the original's drivers came with: register one under its own name.
static inline int
vtx_ipc_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "ipc", vtx_ipc_driver, verbose);
}

static inline int
vtx_sasl_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "sasl", vtx_sasl_driver, verbose);
}

static inline int
vtx_sasl_tls_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "sasl+tls", vtx_sasl_tls_driver, verbose);
}

static inline int
vtx_tcp_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "tcp", vtx_tcp_driver, verbose);
}

static inline int
vtx_tls_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "tls", vtx_tls_driver, verbose);
}

static inline int
vtx_udp_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "udp", vtx_udp_driver, verbose);
}

//  The twentieth argument: what stands there depends on how many came before. The last
//  one given is a filler, as C before C23 wants at least one argument for the dots.
#define VTX_20TH_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, ...) t
#define VTX_OVER_3_(three, more, ...) VTX_20TH_ (__VA_ARGS__, \
    more, more, more, more, more, more, more, more, \
    more, more, more, more, more, more, more, more, three, three, three, 0)

#define vtx_bind(...) \
    VTX_OVER_3_ (vtx_bind, vtx_bind_format_, __VA_ARGS__) (__VA_ARGS__)
#define vtx_connect(...) \
    VTX_OVER_3_ (vtx_connect, vtx_connect_format_, __VA_ARGS__) (__VA_ARGS__)
#define vtx_register(...) \
    VTX_OVER_3_ (vtx_register, vtx_register_verbose, __VA_ARGS__) (__VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
