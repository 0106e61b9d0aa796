/*  The smallest driver: loop://name, between the sockets of one process.

    A name is an abstract UNIX socket of this process, and over a connection go pointers
    to messages: no bytes are copied. The first message says why a peer cannot come in, or
    nothing. docs/writing-a-driver.md explains what a driver has to do; driver_unixgram.c
    is one for a real transport.
*/

#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vtx.h>

#define ITEMS_MAX 1000

//  What a vtxname stands for, or one of its peers
typedef struct _item_t {
    struct _item_t *next;
    enum { BINDING, CONNECTION, PEERING } kind;
    char vtxname [64], name [64];
    int fd;                 //  Connection: -1 while nobody has been found
    void *peering;          //  Where a peering's messages come from and go to
    zmq_msg_t *in, *out;    //  Its messages that the other side had no room for
    int deaf;               //  It takes no more
    int last;               //  All that it is to be sent is there
} item_t;

//  Append an item to the list
static item_t *
s_item (item_t **link, int kind, const char *vtxname, const char *name, int fd)
{
    while (*link)
        link = &(*link)->next;
    item_t *self = *link = calloc (1, sizeof *self);
    self->kind = kind;
    snprintf (self->vtxname, sizeof self->vtxname, "%s", vtxname);
    snprintf (self->name, sizeof self->name, "%s", name);
    self->fd = fd;
    return self;
}

static void
s_free (zmq_msg_t **message)
{
    if (*message)
        zmq_msg_close (*message);
    free (*message);
    *message = NULL;
}

//  Close a connection; the messages that lie in it are ours to free
static void
s_hang_up (int *fd)
{
    zmq_msg_t *message;
    shutdown (*fd, SHUT_RDWR);
    while (recv (*fd, &message, sizeof message, 0) == sizeof message)
        s_free (&message);
    close (*fd);
    *fd = -1;
}

//  Take an item off the list and free it
static void
s_remove (item_t **link, zctx_t *ctx)
{
    item_t *self = *link;
    *link = self->next;
    if (self->peering)
        vtx_peering_close (ctx, self->peering);
    s_free (&self->in);
    s_free (&self->out);
    if (self->kind == BINDING)
        close (self->fd);
    else
    if (self->fd != -1)
        s_hang_up (&self->fd);
    free (self);
}

//  Anybody may connect to an abstract socket or bind one, but pointers mean something
//  only within this process
static int
s_ours (int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == getpid ();
}

//  Open a socket and bind it to a name, or connect it. Returns an errno.
static int
s_open (const char *name, int to_bind, int *fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int size = snprintf (address.sun_path + 1, sizeof address.sun_path - 1, "vtx-loop-%d-%s", getpid (), name);
    if (!*name || size >= (int) sizeof address.sun_path - 1)
        return EINVAL;
    socklen_t length = offsetof (struct sockaddr_un, sun_path) + 1 + size;
    *fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd == -1)
        return errno;
    int rc = to_bind? bind (*fd, (struct sockaddr *) &address, length) || listen (*fd, 128)
                    : connect (*fd, (struct sockaddr *) &address, length);
    if (rc == 0 && (to_bind || s_ours (*fd)))
        return 0;
    rc = rc? errno: EPERM;
    close (*fd);
    *fd = -1;
    return rc;
}

//  Let those in who have connected to a binding, or tell them why not
static void
s_accept (item_t *self, item_t **items, zctx_t *ctx)
{
    int fd;
    while ((fd = accept4 (self->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
        if (!s_ours (fd)) {
            close (fd);
            continue;
        }
        void *peering = vtx_peering_open (ctx, self->vtxname, NULL, self->name);
        const char *why = peering? "": vtx_error ();
        zmq_msg_t *answer = malloc (sizeof *answer);
        zmq_msg_init_size (answer, strlen (why));
        memcpy (zmq_msg_data (answer), why, strlen (why));
        if (send (fd, &answer, sizeof answer, MSG_NOSIGNAL) == -1)
            s_free (&answer);
        if (peering)
            s_item (items, PEERING, self->vtxname, self->name, fd)->peering = peering;
        else
            close (fd);
    }
}

//  Look at the answer of who was connected to
static void
s_enter (item_t *self, item_t **items, zctx_t *ctx)
{
    zmq_msg_t *answer = NULL;
    ssize_t size = recv (self->fd, &answer, sizeof answer, 0);
    if (size == -1 && errno == EAGAIN)
        return;
    void *peering = NULL;
    if (size > 0 && zmq_msg_size (answer) == 0)
        peering = vtx_peering_open (ctx, self->vtxname, NULL, self->name);
    else
    if (size > 0) {
        char why [256];
        snprintf (why, sizeof why, "%.*s", (int) zmq_msg_size (answer), (char *) zmq_msg_data (answer));
        vtx_driver_event (ctx, self->vtxname, ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, 0, why);
    }
    s_free (&answer);
    if (peering) {
        s_item (items, PEERING, self->vtxname, self->name, self->fd)->peering = peering;
        self->fd = -1;
    }
    else
        s_hang_up (&self->fd);
}

//  Move messages both ways until there are none or there is no room. Returns -1 at the end.
static int
s_move (item_t *self)
{
    while (self->out || !self->deaf) {
        if (!self->out) {
            zmq_msg_t *message = self->out = malloc (sizeof *message);
            zmq_msg_init (message);
            if (zmq_msg_recv (message, self->peering, ZMQ_DONTWAIT) == -1) {
                s_free (&self->out);
                if (self->last)
                    return -1;      //  All is sent
                break;
            }
        }
        if (send (self->fd, &self->out, sizeof self->out, MSG_NOSIGNAL) == -1) {
            if (errno == EAGAIN)
                break;
            self->deaf = 1;         //  It has gone, but may have left something
            s_free (&self->out);
        }
        self->out = NULL;
    }
    while (1) {
        ssize_t size = self->in? 0: recv (self->fd, &self->in, sizeof self->in, 0);
        if (!self->in)
            return size == -1 && errno == EAGAIN && !self->deaf? 0: -1;
        int more = zmq_msg_more (self->in)? ZMQ_SNDMORE: 0;
        if (zmq_msg_send (self->in, self->peering, ZMQ_DONTWAIT | more) == -1 && errno == EAGAIN)
            return 0;
        s_free (&self->in);
    }
}

//  A command of VTX's: [command] [socket type] [vtxname] [address]. Returns -1 at the end.
static int
s_command (item_t **items, zctx_t *ctx, void *pipe)
{
    char command [16], type [16], vtxname [64], address [1100], answer [16] = "0";
    char *frames [] = { command, type, vtxname, address };
    int sizes [] = { sizeof command, sizeof type, sizeof vtxname, sizeof address };
    for (int i = 0; i < 4; i++) {
        int size = zmq_recv (pipe, frames [i], sizes [i] - 1, 0);
        if (size == -1)
            return -1;
        frames [i] [size] = 0;
    }
    int fd = -1, rc = 0;
    if (!strcmp (command, "BIND")) {
        rc = s_open (address, 1, &fd);
        if (rc == 0)
            s_item (items, BINDING, vtxname, address, fd);
    }
    else
    if (!strcmp (command, "CONNECT")) {
        if (*address && strlen (address) < 64)
            s_item (items, CONNECTION, vtxname, address, -1);
        else
            rc = EINVAL;
    }
    else
    if (!strcmp (command, "GETMETA"))
        *answer = 0;                //  Nothing to tell
    else
        //  UNBIND, DISCONNECT: peerings end when all is sent. CLOSE: everything ends now
        for (item_t **link = items; *link;) {
            item_t *item = *link;
            int same = !strcmp (item->vtxname, vtxname);
            if (same && (item->kind != PEERING || !strcmp (command, "CLOSE")))
                s_remove (link, ctx);
            else {
                if (same) {
                    item->last = 1;
                    rc = EINPROGRESS;
                }
                link = &item->next;
            }
        }
    if (rc)
        snprintf (answer, sizeof answer, "%d", rc);
    zmq_send (pipe, answer, strlen (answer), 0);
    return strcmp (command, "SHUTDOWN")? 0: -1;
}

//  Is there a peering for what is to be connected?
static int
s_found (item_t *items, item_t *self)
{
    for (; items; items = items->next)
        if (items->kind == PEERING && !strcmp (items->vtxname, self->vtxname))
            return 1;
    return 0;
}

void
driver_loop (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    char verbose [2];
    zmq_recv (pipe, verbose, sizeof verbose, 0);

    item_t *items = NULL;
    zmq_pollitem_t poll [1 + 2 * ITEMS_MAX];
    while (1) {
        long timeout = -1;
        int count = 1;
        poll [0] = (zmq_pollitem_t) { pipe, 0, ZMQ_POLLIN, 0 };
        for (item_t *item = items; item && count < 2 * ITEMS_MAX; item = item->next) {
            short in = item->in? 0: ZMQ_POLLIN, out = item->out? ZMQ_POLLOUT: 0;
            if (item->fd == -1)
                timeout = 10;       //  Look again soon
            else
            if (in | out)
                poll [count++] = (zmq_pollitem_t) { NULL, item->fd, in | out, 0 };
            in = item->out || item->deaf? 0: ZMQ_POLLIN;
            out = item->in? ZMQ_POLLOUT: 0;
            if (item->peering && (in | out))
                poll [count++] = (zmq_pollitem_t) { item->peering, 0, in | out, 0 };
        }
        if (zmq_poll (poll, count, timeout) == -1 && errno != EINTR)
            break;                  //  The context has ended
        if ((poll [0].revents & ZMQ_POLLIN) && s_command (&items, ctx, pipe))
            break;
        for (item_t **link = &items; *link;) {
            item_t *item = *link;
            if (item->kind == BINDING)
                s_accept (item, &items, ctx);
            else
            if (item->kind == CONNECTION && item->fd != -1)
                s_enter (item, &items, ctx);
            else
            if (item->kind == CONNECTION && !s_found (items, item))
                s_open (item->name, 0, &item->fd);
            else
            if (item->kind == PEERING && s_move (item)) {
                s_remove (link, ctx);
                continue;
            }
            link = &item->next;
        }
    }
    while (items)
        s_remove (&items, ctx);
}
