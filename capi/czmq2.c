/*  The contexts of czmq 2 and their sockets, as vtx_czmq.h describes them, on libzmq.

    Each live zctx_t stands in one list. A pointer that is not in it is refused
    without being looked into, and that is also how vtx_new tells ours from the
    zctx_t of a czmq 2 or 3.
*/

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "internal.h"
#include "_cgo_export.h"

typedef struct _item_t {
    struct _item_t *next;
    void *socket;
    vtx_t *vtx;             //  Closes it, if it has endpoints of VTX
    int made_by_vtx;
    int linger;             //  As we set it; if it differs now, the program's own counts
} item_t;

struct _vtx_zctx_t {
    zctx_t *next;
    void *zmq;              //  NULL until needed
    int shadow;
    int driver;             //  A driver's: it may hang
    int ended;              //  The main context was destroyed
    int linger;
    int iothreads;
    int sndhwm;
    int rcvhwm;
    item_t *items;
};

//  One lock for the list, and for all that is in it. It is never held while
//  anything waits, and no call into Go is made under it.
static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static zctx_t *s_live;
static pthread_cond_t s_driver_gone = PTHREAD_COND_INITIALIZER;


//  Take the lock if self is a live context; otherwise set errno and return 0.
static int
s_enter (zctx_t *self)
{
    if (vtx_forked_ ()) {
        errno = ENOTSUP;
        return 0;
    }
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx && self; zctx = zctx->next)
        if (zctx == self)
            return 1;
    pthread_mutex_unlock (&s_lock);
    errno = EINVAL;
    return 0;
}

static void
s_leave (void)
{
    pthread_mutex_unlock (&s_lock);
}

//  Under the lock: the libzmq context, made if there is none
static void *
s_zmq (zctx_t *self)
{
    if (self->ended) {
        errno = ETERM;
        return NULL;
    }
    if (!self->zmq && !self->shadow) {
        self->zmq = zmq_ctx_new ();
        if (self->zmq)
            zmq_ctx_set (self->zmq, ZMQ_IO_THREADS, self->iothreads);
    }
    return self->zmq;
}

static zctx_t *
s_new (void *zmq, int shadow, zctx_t *model)
{
    zctx_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->zmq = zmq;
    self->shadow = shadow;
    self->linger = model? model->linger: 0;
    self->iothreads = 1;
    self->sndhwm = model? model->sndhwm: 1000;
    self->rcvhwm = model? model->rcvhwm: 1000;
    return self;
}

static zctx_t *
s_publish (zctx_t *self)
{
    if (self) {
        self->next = s_live;
        s_live = self;
    }
    return self;
}

zctx_t *
zctx_new (void)
{
    if (vtx_forked_ ()) {
        errno = ENOTSUP;
        return NULL;
    }
    pthread_mutex_lock (&s_lock);
    zctx_t *self = s_publish (s_new (NULL, 0, NULL));
    pthread_mutex_unlock (&s_lock);
    return self;
}

zctx_t *
zctx_shadow (zctx_t *ctx)
{
    if (!s_enter (ctx))
        return NULL;
    void *zmq = s_zmq (ctx);
    zctx_t *self = zmq? s_publish (s_new (zmq, 1, ctx)): NULL;
    s_leave ();
    return self;
}

zctx_t *
zctx_shadow_zmq_ctx (void *zmqctx)
{
    if (vtx_forked_ () || !zmqctx) {
        errno = zmqctx? ENOTSUP: EINVAL;
        return NULL;
    }
    pthread_mutex_lock (&s_lock);
    zctx_t *self = s_publish (s_new (zmqctx, 1, NULL));
    pthread_mutex_unlock (&s_lock);
    return self;
}

//  Close what the list holds, all at once so that the lingers do not add up.
static void
s_close (zctx_t *self, item_t *items)
{
    size_t count = 0;
    for (item_t *item = items; item; item = item->next) {
        int linger;
        size_t size = sizeof linger;
        if (vtx_is_socket_ (item->socket)
        &&  zmq_getsockopt (item->socket, ZMQ_LINGER, &linger, &size) == 0
        &&  linger == item->linger)
            zmq_setsockopt (item->socket, ZMQ_LINGER, &self->linger, sizeof (int));
        count++;
    }
    uintptr_t *vtxs = calloc (count + 1, sizeof *vtxs);
    void **sockets = calloc (count + 1, sizeof *sockets);
    size_t joined = 0;
    for (item_t *item = items; item && vtxs && sockets; item = item->next)
        if (item->vtx) {
            vtxs [joined] = (uintptr_t) item->vtx;
            sockets [joined++] = item->socket;
        }
    //  Ours first, whose linger may just have changed; then what VTX does for other threads
    if (joined)
        vtxgo_close_many (vtxs, sockets, joined);
    if (!self->shadow && self->zmq)
        vtxgo_close_context (self->zmq);

    //  What VTX closed is NULL now; the rest are plain sockets
    joined = 0;
    while (items) {
        item_t *item = items;
        items = item->next;
        void *socket = item->vtx && vtxs && sockets? sockets [joined++]: item->socket;
        if (vtx_is_socket_ (socket))
            zmq_close (socket);
        free (item);
    }
    free (vtxs);
    free (sockets);
}

//  Seconds that the end of a context waits for drivers
#define DRIVER_PATIENCE 2

//  Wait for the drivers that use a libzmq context, whose sockets fail from now on.
//  Returns 0 if one of them hangs: its sockets would keep zmq_ctx_term waiting for ever.
static int
s_drivers_gone (void *zmq)
{
    //  The shadows must not touch a libzmq context that is being freed
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
        if (zctx->zmq == zmq)
            zctx->ended = 1;
    pthread_mutex_unlock (&s_lock);
    zmq_ctx_shutdown (zmq);
    struct timespec until;
    clock_gettime (CLOCK_REALTIME, &until);
    until.tv_sec += DRIVER_PATIENCE;
    int gone = 0, rc = 0;
    pthread_mutex_lock (&s_lock);
    while (!gone && rc != ETIMEDOUT) {
        gone = 1;
        for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
            if (zctx->driver && zctx->zmq == zmq)
                gone = 0;
        if (!gone)
            rc = pthread_cond_timedwait (&s_driver_gone, &s_lock, &until);
    }
    pthread_mutex_unlock (&s_lock);
    return gone;
}

void
zctx_destroy (zctx_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    zctx_t *self = *self_p;
    *self_p = NULL;
    if (!s_enter (self))
        return;
    for (zctx_t **link = &s_live; *link; link = &(*link)->next)
        if (*link == self) {
            *link = self->next;
            break;
        }
    item_t *items = self->items;
    self->items = NULL;
    if (self->driver)
        pthread_cond_broadcast (&s_driver_gone);
    s_leave ();

    s_close (self, items);          //  Drivers still open peerings, for what is to be sent
    if (!self->shadow && self->zmq && s_drivers_gone (self->zmq))
        while (zmq_ctx_term (self->zmq) && errno == EINTR);
    free (self);
}

void
zctx_set_linger (zctx_t *self, int linger)
{
    if (s_enter (self)) {
        self->linger = linger;
        s_leave ();
    }
}

void
zctx_set_iothreads (zctx_t *self, int iothreads)
{
    if (s_enter (self)) {
        self->iothreads = iothreads;
        s_leave ();
    }
}

void
zctx_set_hwm (zctx_t *self, int hwm)
{
    zctx_set_sndhwm (self, hwm);
    zctx_set_rcvhwm (self, hwm);
}

void
zctx_set_sndhwm (zctx_t *self, int sndhwm)
{
    if (s_enter (self)) {
        self->sndhwm = sndhwm;
        s_leave ();
    }
}

void
zctx_set_rcvhwm (zctx_t *self, int rcvhwm)
{
    if (s_enter (self)) {
        self->rcvhwm = rcvhwm;
        s_leave ();
    }
}

void *
zctx_underlying (zctx_t *self)
{
    if (!s_enter (self))
        return NULL;
    void *zmq = s_zmq (self);
    s_leave ();
    return zmq;
}

zctx_t *
vtx_zctx_driver_ (void *zmq)
{
    zctx_t *self = zctx_shadow_zmq_ctx (zmq);
    if (!s_enter (self))
        return NULL;
    self->driver = 1;
    s_leave ();
    return self;
}

void *
vtx_zctx_zmq_ (zctx_t *self)
{
    return zctx_underlying (self);
}


//  Under the lock: list the socket. 0 if out of memory.
static int
s_list (zctx_t *self, void *socket, vtx_t *vtx)
{
    item_t *item = calloc (1, sizeof *item);
    if (!item)
        return 0;
    item->socket = socket;
    item->vtx = vtx;
    item->made_by_vtx = vtx != NULL;
    item->linger = self->linger;
    item->next = self->items;
    self->items = item;
    return 1;
}

//  Under the lock: list the socket and give it the context's settings. 0 if out of memory.
static int
s_adopt (zctx_t *self, void *socket, vtx_t *vtx)
{
    if (!s_list (self, socket, vtx))
        return 0;
    zmq_setsockopt (socket, ZMQ_LINGER, &self->linger, sizeof (int));
    zmq_setsockopt (socket, ZMQ_SNDHWM, &self->sndhwm, sizeof (int));
    zmq_setsockopt (socket, ZMQ_RCVHWM, &self->rcvhwm, sizeof (int));
    return 1;
}

void
vtx_zctx_adopt_ (zctx_t *self, void *socket, vtx_t *vtx)
{
    if (s_enter (self)) {
        s_adopt (self, socket, vtx);
        s_leave ();
    }
}

int
vtx_zctx_list_ (zctx_t *self, void *socket)
{
    if (!s_enter (self))
        return 0;
    int listed = s_list (self, socket, NULL);
    s_leave ();
    return listed;
}

void
vtx_zctx_joined_ (void *socket, vtx_t *vtx)
{
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
        for (item_t *item = zctx->items; item; item = item->next)
            if (item->socket == socket && !item->vtx)
                item->vtx = vtx;
    pthread_mutex_unlock (&s_lock);
}

void *
vtx_zctx_item_ (void *socket)
{
    item_t *found = NULL;
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
        for (item_t *item = zctx->items; item; item = item->next)
            if (item->socket == socket)
                found = item;
    pthread_mutex_unlock (&s_lock);
    return found;
}

void
vtx_zctx_closed_ (void *item)
{
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
        for (item_t **link = &zctx->items; *link; link = &(*link)->next)
            if (*link == item) {
                *link = (*link)->next;
                free (item);
                break;
            }
    pthread_mutex_unlock (&s_lock);
}

void
vtx_zctx_vtx_gone_ (vtx_t *vtx)
{
    pthread_mutex_lock (&s_lock);
    for (zctx_t *zctx = s_live; zctx; zctx = zctx->next)
        for (item_t **link = &zctx->items; *link;) {
            item_t *item = *link;
            //  vtx closes what it made, but at the end of the context it has let go of it
            if (item->vtx == vtx && item->made_by_vtx) {
                *link = item->next;
                free (item);
                continue;
            }
            if (item->vtx == vtx)
                item->vtx = NULL;
            link = &item->next;
        }
    pthread_mutex_unlock (&s_lock);
}


//  --------------------------------------------------------------------------
//  zsocket

void *
zsocket_new (zctx_t *self, int type)
{
    if (!s_enter (self))
        return NULL;
    //  Under the lock, so that zctx_destroy in another thread cannot free the context
    void *zmq = s_zmq (self);
    void *socket = zmq? zmq_socket (zmq, type): NULL;
    if (socket && !s_adopt (self, socket, NULL)) {
        zmq_close (socket);
        socket = NULL;
        errno = ENOMEM;
    }
    s_leave ();
    return socket;
}

void
zsocket_destroy (zctx_t *self, void *socket)
{
    if (!s_enter (self))
        return;
    item_t *found = NULL;
    for (item_t **link = &self->items; *link; link = &(*link)->next)
        if ((*link)->socket == socket) {
            found = *link;
            *link = found->next;
            found->next = NULL;
            break;
        }
    zctx_t copy = *self;
    s_leave ();
    if (found) {
        copy.shadow = 1;            //  Only this socket ends
        s_close (&copy, found);
    }
}

//  Bind to the first free port of a range, from a random place in it if asked. Returns
//  the port, or -1 with errno.
static int
s_bind_range (void *socket, char *endpoint, char *service)
{
    int from = 0xC000, to = 0xFFFF, random = *service == '!';
    if (service [1]) {
        char end;
        if (sscanf (service + 1, "[%d-%d%c", &from, &to, &end) != 3 || end != ']') {
            to = 0xFFFF;
            if (sscanf (service + 1, "[%d-%c", &from, &end) != 2 || end != ']')
                from = 0;
        }
        if (from < 1 || to > 0xFFFF || from > to) {
            errno = EINVAL;
            return -1;
        }
    }
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    int count = to - from + 1;
    int skip = random? (int) (now.tv_nsec / 1000 % count): 0;
    for (int tries = 0; tries < count; tries++) {
        int port = from + (skip + tries) % count;
        char text [300];
        snprintf (text, sizeof text, "%.*s%d", (int) (service - endpoint), endpoint, port);
        if (zmq_bind (socket, text) == 0)
            return port;
        if (errno != EADDRINUSE && errno != EACCES)
            return -1;
    }
    errno = EADDRINUSE;
    return -1;
}

//  Format an endpoint. Returns 0, or -1 with errno if it is too long for libzmq.
static int
s_format (char *endpoint, size_t size, const char *format, va_list args)
{
    int length = format? vsnprintf (endpoint, size, format, args): -1;
    if (length >= 0 && (size_t) length < size)
        return 0;
    errno = EINVAL;
    return -1;
}

int
zsocket_bind (void *socket, const char *format, ...)
{
    char endpoint [256];
    va_list args;
    va_start (args, format);
    int rc = s_format (endpoint, sizeof endpoint, format, args);
    va_end (args);
    if (rc)
        return -1;
    if (strncmp (endpoint, "tcp://", 6))
        return zmq_bind (socket, endpoint);

    char *service = strrchr (endpoint, ':') + 1;
    if (*service == '*' || *service == '!')
        return s_bind_range (socket, endpoint, service);
    return zmq_bind (socket, endpoint)? -1: atoi (service);
}

int
zsocket_connect (void *socket, const char *format, ...)
{
    char endpoint [256];
    va_list args;
    va_start (args, format);
    int rc = s_format (endpoint, sizeof endpoint, format, args);
    va_end (args);
    return rc? -1: zmq_connect (socket, endpoint);
}

Bool
zsocket_poll (void *socket, int msecs)
{
    zmq_pollitem_t item = { socket, 0, ZMQ_POLLIN, 0 };
    return zmq_poll (&item, 1, (long) msecs * ZMQ_POLL_MSEC) == 1
        && (item.revents & ZMQ_POLLIN)? TRUE: FALSE;
}
