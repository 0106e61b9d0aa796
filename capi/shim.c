/*  The public functions of libvtx: thin covers over the Go functions of exports.go.

    They do what only C can do. After fork the child has none of Go's threads, and a
    call into Go would hang: an atfork handler notes it and every function fails at
    once. NULL and memory that is not there are refused here, so that Go sees only
    real sockets and contexts. The sentence of vtx_error is per thread, and errno is
    set last, when nothing can change it any more.
*/

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "internal.h"
#include "_cgo_export.h"

//  The longest endpoint, and the longest of the other strings
#define ENDPOINT_MAX    1024
#define TEXT_MAX        65536

//  What libzmq 2 to 4 write into an open socket and context
#define SOCKET_TAG      0xbaddecafu
#define CONTEXT_TAG     0xabadcafeu

static volatile int s_forked;


//  --------------------------------------------------------------------------
//  Failing

//  The sentence of each thread. Not a thread-local array: Go makes the library's
//  thread-local memory of the kind that dlopen has little of to give away.
static pthread_key_t s_why_key;

//  This thread's sentence, to be written to
static char *
s_why (void)
{
    static char spare [VTX_WHY_SIZE];       //  Out of memory: better shared than none
    char *why = pthread_getspecific (s_why_key);
    if (!why) {
        why = calloc (1, VTX_WHY_SIZE);
        pthread_setspecific (s_why_key, why);
    }
    return why? why: spare;
}

//  Set the sentence and errno; returns -1.
static int
s_fail (int number, const char *format, ...) VTX_PRINTF (2, 3);

static int
s_fail (int number, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vsnprintf (s_why (), VTX_WHY_SIZE, format, args);
    va_end (args);
    errno = number;
    return -1;
}

//  Turn what a Go function gave into a return value. It has set the sentence.
static int
s_result (int number)
{
    if (number == 0)
        return 0;
    errno = number;
    return -1;
}

static void
s_in_child (void)
{
    s_forked = 1;
}

//  At load rather than at the first call: the fork may come before it
__attribute__ ((constructor)) static void
s_loaded (void)
{
    pthread_key_create (&s_why_key, free);
    pthread_atfork (NULL, NULL, s_in_child);
}

int
vtx_forked_ (void)
{
    return s_forked;
}


//  --------------------------------------------------------------------------
//  Looking at pointers

//  Copy up to size bytes from memory that may not be there. Returns how many there
//  are, or size with nothing copied if the system does not let us look.
static size_t
s_peek (void *address, char *buffer, size_t size)
{
    //  The system stops between pieces only, so each page is a piece
    size_t page = (size_t) sysconf (_SC_PAGESIZE);
    size_t first = page - (uintptr_t) address % page;
    if (first > size)
        first = size;
    struct iovec local = { buffer, size };
    struct iovec remote [] = {
        { address, first },
        { (char *) address + first, size - first }
    };
    ssize_t count = process_vm_readv (getpid (), &local, 1, remote, size > first? 2: 1, 0);
    if (count >= 0)
        return (size_t) count;
    memset (buffer, 0, size);
    return errno == EPERM || errno == ENOSYS? size: 0;
}

//  May libzmq look at this object for its tag? It lies somewhere in the first 4 kB, and
//  we cannot know where; but where fewer bytes are readable, it must be among them.
static int
s_may_look (void *object, uint32_t tag)
{
    _Alignas (8) char buffer [4096];
    if (!object || (uintptr_t) object % sizeof (void *))
        return 0;
    size_t size = s_peek (object, buffer, sizeof buffer);
    if (size == sizeof buffer)
        return 1;
    for (size_t at = 0; at + sizeof tag <= size; at += sizeof tag)
        if (memcmp (buffer + at, &tag, sizeof tag) == 0)
            return 1;
    return 0;
}

int
vtx_is_socket_ (void *socket)
{
    int type;
    size_t size = sizeof type;
    return s_may_look (socket, SOCKET_TAG)
        && (zmq_getsockopt (socket, ZMQ_TYPE, &type, &size) == 0 || errno != ENOTSOCK);
}

//  A function of czmq, if czmq is in this process. A library that was loaded for its
//  loader alone, as Python does, is found by name.
static void *
s_czmq (const char *name)
{
    void *function = dlsym (RTLD_DEFAULT, name);
    static const char *const names [] = { "libczmq.so.4", "libczmq.so.3", "libczmq.so.1" };
    for (size_t i = 0; !function && i < sizeof names / sizeof *names; i++) {
        void *library = dlopen (names [i], RTLD_LAZY | RTLD_NOLOAD);
        if (library) {
            function = dlsym (library, name);
            dlclose (library);
        }
    }
    return function;
}

//  The libzmq socket for a libzmq socket or zsock_t, NULL for anything else.
static void *
s_resolve (void *socket)
{
    char buffer [64];
    if (!socket || (uintptr_t) socket % sizeof (void *)
    ||  s_peek (socket, buffer, sizeof buffer) < sizeof buffer)
        return NULL;
    void *(*zsock_resolve) (void *) = (void *(*) (void *)) s_czmq ("zsock_resolve");
    if (zsock_resolve)
        socket = zsock_resolve (socket);
    return vtx_is_socket_ (socket)? socket: NULL;
}


//  --------------------------------------------------------------------------
//  Checks that start each call. They return nonzero after a failure

static int
s_in_vain (void)
{
    if (s_forked)
        return s_fail (ENOTSUP, "VTX does not work in a forked child before exec");
    return 0;
}

static int
s_no_vtx (vtx_t *self)
{
    if (s_in_vain ())
        return -1;
    return self? 0: s_fail (EINVAL, "the vtx_t is NULL");
}

static int
s_no_socket (void **socket)
{
    if (!*socket)
        return s_fail (ENOTSOCK, "the socket is NULL");
    void *found = s_resolve (*socket);
    if (!found)
        return s_fail (ENOTSOCK, "%p is not an open socket", *socket);
    *socket = found;
    return 0;
}

static int
s_no_text (const char *text, const char *what, size_t max)
{
    if (!text)
        return s_fail (EINVAL, "the %s is NULL", what);
    if (strnlen (text, max + 1) > max)
        return s_fail (EINVAL, "the %s is too long: at most %zu bytes are allowed", what, max);
    return 0;
}


//  --------------------------------------------------------------------------
//  Managers

static void
s_at_exit (void)
{
    if (!s_forked)
        vtxgo_close_all ();
}

static void
s_register_exit (void)
{
    atexit (s_at_exit);
}

//  Exit handlers run last in, first out, and ours must come before the one with which
//  czmq ends its context: that one is registered when zsys_init is first called.
static pthread_once_t s_exit = PTHREAD_ONCE_INIT;
static pthread_once_t s_exit_czmq = PTHREAD_ONCE_INIT;

//  A signal may find its thread on one of Go's stacks, which are a few kB: let handlers run
//  on the stack that Go keeps for signals. Go does this when it is loaded, to those there
//  are; czmq's handler for Ctrl-C comes later.
static void
s_mend_handlers (void)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction (number, NULL, &action) == 0
        &&  action.sa_handler != SIG_DFL
        &&  action.sa_handler != SIG_IGN
        && !(action.sa_flags & SA_ONSTACK)) {
            action.sa_flags |= SA_ONSTACK;
            sigaction (number, &action, NULL);
        }
    }
}

//  Is this an open libzmq context?
static int
s_is_context (void *zmq)
{
    return s_may_look (zmq, CONTEXT_TAG) && zmq_ctx_get (zmq, ZMQ_IO_THREADS) >= 0;
}

static vtx_t *
s_new (zctx_t *ctx, void *zmq)
{
    if (!s_is_context (zmq)) {
        s_fail (EINVAL, "this is not an open libzmq context");
        return NULL;
    }
    pthread_once (&s_exit, s_register_exit);
    s_mend_handlers ();
    uintptr_t self = 0;
    int number = ctx?
        vtxgo_new ((uintptr_t) ctx, zmq, &self, s_why ()):
        vtxgo_new_raw (zmq, &self, s_why ());
    return s_result (number)? NULL: (vtx_t *) self;
}

vtx_t *
vtx_new (zctx_t *ctx)
{
    if (s_in_vain ())
        return NULL;
    if (!ctx) {
        void *(*zsys_init) (void) = (void *(*) (void)) s_czmq ("zsys_init");
        void *zmq = zsys_init? zsys_init (): NULL;
        if (zmq) {
            pthread_once (&s_exit_czmq, s_register_exit);
            return s_new (NULL, zmq);
        }
        s_fail (ENOTSUP, "vtx_new (NULL) needs a czmq in the process; vtx_new_raw takes a libzmq context");
        return NULL;
    }
    void *zmq = vtx_zctx_zmq_ (ctx);
    if (zmq)
        return s_new (ctx, zmq);

    //  A zctx_t of czmq 2 or 3 is larger than this, but of unknown layout
    char buffer [32];
    void *(*zctx_underlying_) (void *) = (void *(*) (void *)) s_czmq ("zctx_underlying");
    if (!zctx_underlying_ || (uintptr_t) ctx % sizeof (void *)
    ||  s_peek (ctx, buffer, sizeof buffer) < sizeof buffer) {
        s_fail (EINVAL, "this is not a zctx_t, or one that was destroyed");
        return NULL;
    }
    return s_new (NULL, zctx_underlying_ (ctx));
}

vtx_t *
vtx_new_raw (void *zmq_ctx)
{
    if (s_in_vain ())
        return NULL;
    return s_new (NULL, zmq_ctx);
}

void
vtx_destroy (vtx_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    vtx_t *self = *self_p;
    *self_p = NULL;
    if (s_no_vtx (self))
        return;
    //  First, since a new vtx_t may get the same address as soon as this one is gone
    vtx_zctx_vtx_gone_ (self);
    s_result (vtxgo_destroy ((uintptr_t) self, s_why ()));
}


//  --------------------------------------------------------------------------
//  Sockets

void *
vtx_socket (vtx_t *self, int type)
{
    if (s_no_vtx (self))
        return NULL;
    void *socket = NULL;
    uintptr_t zctx = 0;
    if (s_result (vtxgo_socket ((uintptr_t) self, type, &socket, &zctx, s_why ())))
        return NULL;
    if (zctx)
        vtx_zctx_adopt_ ((zctx_t *) zctx, socket, self);
    return socket;
}

//  The four calls that take an endpoint
typedef int (endpoint_fn) (uintptr_t self, void *socket, char *endpoint, char *why);

static int
s_endpoint (endpoint_fn *call, vtx_t *self, void *socket, const char *endpoint)
{
    if (s_no_vtx (self)
    ||  s_no_socket (&socket)
    ||  s_no_text (endpoint, "endpoint", ENDPOINT_MAX))
        return -1;
    int number = call ((uintptr_t) self, socket, (char *) endpoint, s_why ());
    if (number == 0 && (call == vtxgo_bind || call == vtxgo_connect))
        vtx_zctx_joined_ (socket, self);
    return s_result (number);
}

int
(vtx_bind) (vtx_t *self, void *socket, const char *endpoint)
{
    return s_endpoint (vtxgo_bind, self, socket, endpoint);
}

int
vtx_unbind (vtx_t *self, void *socket, const char *endpoint)
{
    return s_endpoint (vtxgo_unbind, self, socket, endpoint);
}

int
(vtx_connect) (vtx_t *self, void *socket, const char *endpoint)
{
    return s_endpoint (vtxgo_connect, self, socket, endpoint);
}

int
vtx_disconnect (vtx_t *self, void *socket, const char *endpoint)
{
    return s_endpoint (vtxgo_disconnect, self, socket, endpoint);
}

int
vtx_close (vtx_t *self, void *socket)
{
    if (s_no_vtx (self) || s_no_socket (&socket))
        return -1;
    //  Found first, since a new socket may get the same address as soon as this one is closed
    void *item = vtx_zctx_item_ (socket);
    int number = vtxgo_close ((uintptr_t) self, socket, s_why ());
    if (number == 0)
        vtx_zctx_closed_ (item);
    return s_result (number);
}


//  --------------------------------------------------------------------------
//  Drivers. A driver is named by a function, as documented; the built-in ones live in
//  Go, and their functions only stand for them. Any other function is run in a thread

#define BUILT_IN(name, scheme) \
    void name (void *args, zctx_t *ctx, void *pipe) { (void) args; (void) ctx; (void) pipe; }
#include "drivers.inc"
#undef BUILT_IN

static const struct {
    zthread_attached_fn *function;
    const char *symbol;
    const char *scheme;
} s_drivers [] = {
#define BUILT_IN(name, scheme) { name, #name, scheme },
#include "drivers.inc"
#undef BUILT_IN
};

//  A program that is linked to fixed addresses sees our functions at addresses of its
//  own. The dynamic linker tells them to who asks on behalf of the program.
static zthread_attached_fn *
s_seen_by_program (const char *symbol)
{
    void *program = dlopen (NULL, RTLD_LAZY);
    void *function = program? dlsym (program, symbol): NULL;
    if (program)
        dlclose (program);
    return (zthread_attached_fn *) function;
}

int
(vtx_register) (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn)
{
    return vtx_register_verbose (self, scheme, driver_fn, 0);
}

int
vtx_register_verbose (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn, int verbose)
{
    if (s_no_vtx (self) || s_no_text (scheme, "scheme", ENDPOINT_MAX))
        return -1;
    if (!driver_fn)
        return s_fail (EINVAL, "the driver is NULL");
    for (size_t i = 0; i < sizeof s_drivers / sizeof *s_drivers; i++)
        if (driver_fn == s_drivers [i].function
        ||  driver_fn == s_seen_by_program (s_drivers [i].symbol))
            return s_result (vtxgo_register ((uintptr_t) self,
                (char *) scheme, (char *) s_drivers [i].scheme, s_why ()));
    return s_result (vtxgo_register_verbose ((uintptr_t) self,
        (char *) scheme, (uintptr_t) driver_fn, verbose, s_why ()));
}

void *
vtx_peering_open (zctx_t *ctx, const char *vtxname, const char *routing_id, const char *address)
{
    if (!routing_id)
        routing_id = "";
    if (!address)
        address = "";
    if (s_in_vain ()
    ||  s_no_text (vtxname, "vtxname", ENDPOINT_MAX)
    ||  s_no_text (routing_id, "routing id", 255)
    ||  s_no_text (address, "address", ENDPOINT_MAX))
        return NULL;
    if (!vtx_zctx_zmq_ (ctx)) {
        s_fail (EINVAL, "this is not the zctx_t of a driver");
        return NULL;
    }
    void *peering = NULL;
    if (s_result (vtxgo_peering_open ((char *) vtxname,
        (char *) routing_id, (char *) address, &peering, s_why ())))
        return NULL;
    if (!vtx_zctx_list_ (ctx, peering)) {
        vtxgo_peering_close (peering, NULL);
        s_fail (ENOMEM, "out of memory");
        return NULL;
    }
    return peering;
}

int
vtx_peering_close (zctx_t *ctx, void *peering)
{
    (void) ctx;                     //  Each zctx_t knows its sockets
    if (s_in_vain ())
        return -1;
    if (!peering)
        return s_fail (ENOTSOCK, "the peering is NULL");
    //  Found first, since a new socket may get the same address as soon as this one is closed
    void *item = vtx_zctx_item_ (peering);
    int number = vtxgo_peering_close (peering, s_why ());
    if (number == 0)
        vtx_zctx_closed_ (item);
    return s_result (number);
}

int
vtx_driver_event (zctx_t *ctx, const char *vtxname, int event, int value, const char *text)
{
    (void) ctx;                     //  A vtxname stands once in the process
    if (!text)
        text = "";
    if (s_in_vain ()
    ||  s_no_text (vtxname, "vtxname", ENDPOINT_MAX)
    ||  s_no_text (text, "text", TEXT_MAX))
        return -1;
    return s_result (vtxgo_driver_event ((char *) vtxname, event, value, (char *) text, s_why ()));
}


//  --------------------------------------------------------------------------
//  Options, facts, events

int
vtx_setopt (vtx_t *self, void *socket_or_null, const char *name, const char *value)
{
    if (s_no_vtx (self)
    || (socket_or_null && s_no_socket (&socket_or_null))
    ||  s_no_text (name, "option's name", ENDPOINT_MAX)
    ||  s_no_text (value, "option's value", TEXT_MAX))
        return -1;
    return s_result (vtxgo_setopt ((uintptr_t) self, socket_or_null,
        (char *) name, (char *) value, s_why ()));
}

char *
vtx_getmeta (vtx_t *self, void *socket, const char *name)
{
    if (s_no_vtx (self)
    ||  s_no_text (name, "name", ENDPOINT_MAX)
    || ((socket || strcmp (name, "stats")) && s_no_socket (&socket)))
        return NULL;
    char *value = NULL;
    int number = vtxgo_getmeta ((uintptr_t) self, socket, (char *) name, &value, s_why ());
    return s_result (number)? NULL: value;
}

int
vtx_monitor (vtx_t *self, void *socket, const char *inproc_endpoint, int events)
{
    //  To end the reports no endpoint is needed
    if (!inproc_endpoint && events == 0)
        inproc_endpoint = "";
    if (s_no_vtx (self)
    ||  s_no_socket (&socket)
    ||  s_no_text (inproc_endpoint, "endpoint", ENDPOINT_MAX))
        return -1;
    return s_result (vtxgo_monitor ((uintptr_t) self, socket,
        (char *) inproc_endpoint, events, s_why ()));
}

const char *
vtx_error (void)
{
    return s_why ();
}

void
vtx_version (int *major, int *minor, int *patch)
{
    if (major)
        *major = VTX_VERSION_MAJOR;
    if (minor)
        *minor = VTX_VERSION_MINOR;
    if (patch)
        *patch = VTX_VERSION_PATCH;
}
