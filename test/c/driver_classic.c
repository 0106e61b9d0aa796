/*  A driver in the manner of the original VTX: it connects one DEALER to the data pipe of
    each vtxname, a vocket, and does all routing itself, from a table. The transport is
    UNIX sequenced packets: classic:///path. The first packet says the sender's socket type,
    or why a peer cannot come in; the others are messages, as zmsg_encode makes them.
*/

#define _GNU_SOURCE
#include <czmq.h>
#include <sys/un.h>
#include <vtx.h>

#define SCHEME      "classic"
#define PACKET_MAX  60000
#define RETRY       20              //  Milliseconds between two attempts to connect
#define FLUSH       1500            //  Milliseconds for what is left at the end

enum { ROUTE_NONE, ROUTE_SINGLE, ROUTE_REPLY, ROUTE_DEAL, ROUTE_ROUTER, ROUTE_PUBLISH };

//  How each socket type sends, and how many peerings it may have
static const struct { int routing; int most; } s_table [] = {
    [ZMQ_PAIR]   = { ROUTE_SINGLE, 1 },
    [ZMQ_PUB]    = { ROUTE_PUBLISH, 1000 },
    [ZMQ_SUB]    = { ROUTE_NONE, 1000 },
    [ZMQ_REQ]    = { ROUTE_DEAL, 1000 },
    [ZMQ_REP]    = { ROUTE_REPLY, 1000 },
    [ZMQ_DEALER] = { ROUTE_DEAL, 1000 },
    [ZMQ_ROUTER] = { ROUTE_ROUTER, 1000 },
    [ZMQ_PULL]   = { ROUTE_NONE, 1000 },
    [ZMQ_PUSH]   = { ROUTE_DEAL, 1000 },
    [ZMQ_XPUB]   = { ROUTE_PUBLISH, 1000 },
    [ZMQ_XSUB]   = { ROUTE_NONE, 1000 }
};

typedef struct {
    zctx_t *ctx;
    void *pipe;                     //  Commands
    int verbose;
    zlist_t *vockets;
    int serial;
} driver_t;

typedef struct {
    driver_t *driver;
    char *vtxname;
    int type;
    void *msgpipe;                  //  Messages from and to the application's socket
    zlist_t *bindings;
    zlist_t *peerings;              //  In the order in which it is their turn
    zlist_t *asked;                 //  Whose requests are to be answered, oldest first
    zmsg_t *held;                   //  Cannot be sent yet
    char *sender;                   //  Of the last message
} vocket_t;

typedef struct {
    char *address;
    int fd;
} binding_t;

typedef struct {
    vocket_t *vocket;
    char *address;
    int outgoing;                   //  Is looked for again when it is lost
    int alive;
    int type;                       //  The peer's
    int fd;
    int64_t retry;                  //  When to look for it
} peering_t;


//  --------------------------------------------------------------------------
//  Peerings

static int
s_socket (const char *path, int to_bind)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    if (*path != '/' || strlen (path) >= sizeof name.sun_path) {
        errno = EINVAL;
        return -1;
    }
    strcpy (name.sun_path, path);
    int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1
    || (to_bind? bind (fd, (struct sockaddr *) &name, sizeof name) || listen (fd, 100)
               : connect (fd, (struct sockaddr *) &name, sizeof name)) == 0)
        return fd;
    int rc = errno;
    close (fd);
    errno = rc;
    return -1;
}

static void
s_tell_type (vocket_t *vocket, int fd)
{
    char type = (char) vocket->type;
    send (fd, &type, 1, MSG_NOSIGNAL);
}

static peering_t *
peering_new (vocket_t *vocket, const char *address, int outgoing)
{
    peering_t *self = (peering_t *) zmalloc (sizeof (peering_t));
    self->vocket = vocket;
    self->address = strdup (address);
    self->outgoing = outgoing;
    self->fd = -1;
    zlist_append (vocket->peerings, self);
    return self;
}

static void
peering_raise (peering_t *self, int type)
{
    self->alive = 1;
    self->type = type;
    vtx_driver_event (self->vocket->driver->ctx, self->vocket->vtxname,
        self->outgoing? ZMQ_EVENT_CONNECTED: ZMQ_EVENT_ACCEPTED, 0, NULL);
}

static void
peering_lower (peering_t *self)
{
    if (self->alive)
        vtx_driver_event (self->vocket->driver->ctx, self->vocket->vtxname, ZMQ_EVENT_DISCONNECTED, 0, NULL);
    self->alive = 0;
    if (self->fd != -1)
        close (self->fd);
    self->fd = -1;
    self->retry = zclock_mono () + RETRY;
    while (zlist_exists (self->vocket->asked, self))
        zlist_remove (self->vocket->asked, self);
}

static void
peering_destroy (peering_t *self)
{
    peering_lower (self);
    zlist_remove (self->vocket->peerings, self);
    free (self->address);
    free (self);
}

//  Send a message, which stays the caller's. Returns 0, or EAGAIN if there is no room.
static int
peering_send (peering_t *self, zmsg_t *message)
{
    vocket_t *vocket = self->vocket;
    //  Our end of an envelope that REQ and REP do not have here: see s_deliver
    int strip = (vocket->type == ZMQ_ROUTER && self->type == ZMQ_REQ)
             || (vocket->type == ZMQ_DEALER && self->type == ZMQ_REP);
    zmsg_t *copy = zmsg_dup (message);
    zframe_t *first = strip && zframe_size (zmsg_first (copy)) == 0? zmsg_pop (copy): NULL;
    zframe_destroy (&first);
    zframe_t *packet = zmsg_encode (copy);
    zmsg_destroy (&copy);
    int rc = 0;
    if (zframe_size (packet) > PACKET_MAX + 5) {
        vtx_driver_event (vocket->driver->ctx, vocket->vtxname, VTX_EVENT_REFUSED, EMSGSIZE, "the message is too large");
        vtx_driver_event (vocket->driver->ctx, vocket->vtxname, VTX_EVENT_DROPPED, 1, "too_big");
    }
    else
    if (send (self->fd, zframe_data (packet), zframe_size (packet), MSG_NOSIGNAL) == -1)
        rc = errno == EAGAIN? EAGAIN: 0;    //  If it is lost, we shall read that
    zframe_destroy (&packet);
    return rc;
}


//  --------------------------------------------------------------------------
//  Vockets

//  Send a message to whom it is for. Returns 0, or EAGAIN if it has to wait.
static int
s_route (vocket_t *self, zmsg_t *message)
{
    int routing = s_table [self->type].routing;
    peering_t *peering = (peering_t *) zlist_first (self->peerings);
    if (routing == ROUTE_REPLY) {
        peering = (peering_t *) zlist_first (self->asked);
        if (peering && peering_send (peering, message))
            return EAGAIN;
        zlist_pop (self->asked);
    }
    else
    if (routing == ROUTE_ROUTER) {
        char *identity = zframe_strdup (zmsg_first (message));
        while (peering && (strncmp (identity, SCHEME "://", 10) || !streq (identity + 10, peering->address)))
            peering = (peering_t *) zlist_next (self->peerings);
        free (identity);
        if (!peering)
            return 0;
        if (!peering->alive)
            return EAGAIN;
        zframe_t *first = zmsg_pop (message);
        int rc = peering_send (peering, message);
        if (rc)
            zmsg_prepend (message, &first);
        zframe_destroy (&first);
        return rc;
    }
    else
    if (routing == ROUTE_PUBLISH)
        for (; peering; peering = (peering_t *) zlist_next (self->peerings)) {
            if (peering->alive)
                peering_send (peering, message);
        }
    else
    if (routing != ROUTE_NONE) {
        while (peering && (!peering->alive || peering_send (peering, message)))
            peering = (peering_t *) zlist_next (self->peerings);
        if (!peering)
            return EAGAIN;
        zlist_remove (self->peerings, peering);     //  Now it is the others' turn
        zlist_append (self->peerings, peering);
    }
    return 0;
}

//  Route what the application sends
static void
s_output (vocket_t *self)
{
    while (1) {
        if (!self->held) {
            if (!(zsock_events (self->msgpipe) & ZMQ_POLLIN))
                return;
            self->held = zmsg_recv (self->msgpipe);
        }
        if (!self->held || s_route (self, self->held))
            return;
        zmsg_destroy (&self->held);
    }
}

//  Give the application what a peer has sent
static void
s_deliver (vocket_t *self, peering_t *peering, zmsg_t *message)
{
    //  REQ and REP have no delimiter on the way; who sees it himself gets it back
    if ((self->type == ZMQ_ROUTER && peering->type == ZMQ_REQ)
    ||  (self->type == ZMQ_DEALER && peering->type == ZMQ_REP))
        zmsg_pushmem (message, NULL, 0);
    if (self->type == ZMQ_ROUTER)
        zmsg_pushstrf (message, SCHEME "://%s", peering->address);
    if (self->type == ZMQ_REP)
        zlist_append (self->asked, peering);
    free (self->sender);
    self->sender = strdup (peering->address);
    zmsg_send (&message, self->msgpipe);
}

//  Receive from a peer. Returns -1 if it has gone.
static int
s_input (vocket_t *self, peering_t *peering)
{
    char buffer [PACKET_MAX + 6];
    while (peering->fd != -1 && (zsock_events (self->msgpipe) & ZMQ_POLLOUT)) {
        ssize_t size = recv (peering->fd, buffer, sizeof buffer - 1, 0);
        if (size == -1 && errno == EAGAIN)
            return 0;
        if (size <= 0)
            return -1;
        buffer [size] = 0;
        if (peering->alive) {
            zframe_t *frame = zframe_new (buffer, (size_t) size);
            zmsg_t *message = zmsg_decode (frame);
            zframe_destroy (&frame);
            if (message)
                s_deliver (self, peering, message);
        }
        else
        if (*buffer == 'R') {
            vtx_driver_event (self->driver->ctx, self->vtxname, ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, 0, buffer + 1);
            return -1;
        }
        else {
            if (!peering->outgoing)
                s_tell_type (self, peering->fd);
            peering_raise (peering, *buffer);
        }
    }
    return 0;
}

static vocket_t *
vocket_new (driver_t *driver, int type, const char *vtxname)
{
    vocket_t *self = (vocket_t *) zmalloc (sizeof (vocket_t));
    self->driver = driver;
    self->vtxname = strdup (vtxname);
    self->type = type;
    self->bindings = zlist_new ();
    self->peerings = zlist_new ();
    self->asked = zlist_new ();
    self->sender = strdup ("");
    self->msgpipe = zsocket_new (driver->ctx, ZMQ_DEALER);
    zsocket_connect (self->msgpipe, "inproc://%s", vtxname);
    zlist_append (driver->vockets, self);
    return self;
}

static void
s_unbind (vocket_t *self)
{
    binding_t *binding;
    while ((binding = (binding_t *) zlist_pop (self->bindings))) {
        unlink (binding->address);
        close (binding->fd);
        free (binding->address);
        free (binding);
    }
}

static void
vocket_destroy (vocket_t *self)
{
    //  Somebody counts on what could not be sent
    int unsent = 0;
    for (; self->held; unsent++) {
        zmsg_destroy (&self->held);
        if (zsock_events (self->msgpipe) & ZMQ_POLLIN)
            self->held = zmsg_recv (self->msgpipe);
    }
    if (unsent)
        vtx_driver_event (self->driver->ctx, self->vtxname, VTX_EVENT_DROPPED, unsent, "unsent");
    s_unbind (self);
    while (zlist_size (self->peerings))
        peering_destroy ((peering_t *) zlist_first (self->peerings));
    zlist_destroy (&self->bindings);
    zlist_destroy (&self->peerings);
    zlist_destroy (&self->asked);
    zsocket_destroy (self->driver->ctx, self->msgpipe);
    zlist_remove (self->driver->vockets, self);
    free (self->sender);
    free (self->vtxname);
    free (self);
}

//  Let peers in, look for others, move messages
static void
s_work (vocket_t *self)
{
    for (binding_t *binding = (binding_t *) zlist_first (self->bindings); binding;
         binding = (binding_t *) zlist_next (self->bindings)) {
        int fd;
        while ((fd = accept4 (binding->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
            if ((int) zlist_size (self->peerings) < s_table [self->type].most) {
                char *address = zsys_sprintf ("%s.%d", binding->address, ++self->driver->serial);
                peering_new (self, address, 0)->fd = fd;
                free (address);
                continue;
            }
            const char *why = "RMax peerings reached for socket";
            send (fd, why, strlen (why), MSG_NOSIGNAL);
            close (fd);
        }
    }
    zlist_t *peerings = zlist_dup (self->peerings);
    for (peering_t *peering = (peering_t *) zlist_pop (peerings); peering; peering = (peering_t *) zlist_pop (peerings)) {
        if (peering->outgoing && peering->fd == -1 && zclock_mono () >= peering->retry) {
            peering->fd = s_socket (peering->address, 0);
            peering->retry = zclock_mono () + RETRY;
            if (peering->fd != -1)
                s_tell_type (self, peering->fd);
        }
        if (s_input (self, peering) == 0)
            continue;
        if (peering->outgoing)
            peering_lower (peering);
        else
            peering_destroy (peering);
    }
    zlist_destroy (&peerings);
    s_output (self);
}

//  Send what is left, for a moment, if there is a peer or one that has yet to say what it is
static void
s_flush (vocket_t *self)
{
    for (int64_t end = zclock_mono () + FLUSH; ; zclock_sleep (1)) {
        s_work (self);
        int there = 0;
        for (peering_t *peering = (peering_t *) zlist_first (self->peerings); peering;
             peering = (peering_t *) zlist_next (self->peerings))
            there |= peering->fd != -1;
        if (!self->held || !there || zclock_mono () > end)
            return;
    }
}


//  --------------------------------------------------------------------------
//  The driver

static int
s_command (driver_t *self)
{
    zmsg_t *request = zmsg_recv (self->pipe);
    if (!request)
        return -1;
    char *command = zmsg_popstr (request), *type = zmsg_popstr (request);
    char *vtxname = zmsg_popstr (request), *address = zmsg_popstr (request);
    zmsg_destroy (&request);
    if (self->verbose)
        zclock_log ("I: (classic) %s %s %s %s", command, type, vtxname, address);

    vocket_t *vocket = (vocket_t *) zlist_first (self->vockets);
    while (vocket && !streq (vocket->vtxname, vtxname))
        vocket = (vocket_t *) zlist_next (self->vockets);

    const char *answer = "0";
    char number [16];
    int rc = 0, over = 0;
    if (streq (command, "BIND") || streq (command, "CONNECT")) {
        if (!vocket)
            vocket = vocket_new (self, atoi (type), vtxname);
        if (*address != '/')
            rc = EINVAL;
        else
        if (streq (command, "CONNECT"))
            peering_new (vocket, address, 1);
        else {
            int fd = s_socket (address, 1);
            if (fd == -1)
                rc = errno;
            else {
                binding_t *binding = (binding_t *) zmalloc (sizeof (binding_t));
                *binding = (binding_t) { strdup (address), fd };
                zlist_append (vocket->bindings, binding);
            }
        }
    }
    else
    if (streq (command, "GETMETA"))
        answer = vocket && streq (address, "sender")? vocket->sender:
                 streq (address, "max_body")? "60000": "";
    else
    if (streq (command, "SHUTDOWN"))
        over = -1;
    else
    if (!vocket)
        rc = ENOENT;
    else
    if (streq (command, "CLOSE"))
        vocket_destroy (vocket);
    else {
        s_unbind (vocket);
        s_flush (vocket);
    }
    if (rc) {
        snprintf (number, sizeof number, "%d", rc);
        answer = number;
    }
    zstr_send (self->pipe, answer);
    free (command);
    free (type);
    free (vtxname);
    free (address);
    return over;
}

void
driver_classic (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    driver_t self = { ctx, pipe, 0, zlist_new (), 0 };
    char *verbose = zstr_recv (pipe);
    self.verbose = verbose && atoi (verbose);
    free (verbose);

    zmq_pollitem_t items [3000];
    while (1) {
        int count = 0;
        items [count++] = (zmq_pollitem_t) { pipe, 0, ZMQ_POLLIN, 0 };
        long timeout = -1;
        for (vocket_t *vocket = (vocket_t *) zlist_first (self.vockets); vocket && count < 2000;
             vocket = (vocket_t *) zlist_next (self.vockets)) {
            int room = zsock_events (vocket->msgpipe) & ZMQ_POLLOUT;
            if (vocket->held)
                timeout = 1;
            items [count++] = (zmq_pollitem_t) { vocket->msgpipe, 0,
                (vocket->held? 0: ZMQ_POLLIN) | (room? 0: ZMQ_POLLOUT), 0 };
            for (binding_t *binding = (binding_t *) zlist_first (vocket->bindings); binding;
                 binding = (binding_t *) zlist_next (vocket->bindings))
                items [count++] = (zmq_pollitem_t) { NULL, binding->fd, ZMQ_POLLIN, 0 };
            for (peering_t *peering = (peering_t *) zlist_first (vocket->peerings); peering && count < 2999;
                 peering = (peering_t *) zlist_next (vocket->peerings))
                if (peering->fd != -1 && room)
                    items [count++] = (zmq_pollitem_t) { NULL, peering->fd, ZMQ_POLLIN, 0 };
                else
                if (peering->fd == -1 && timeout == -1)
                    timeout = RETRY;
        }
        if (zmq_poll (items, count, timeout) == -1 && errno != EINTR)
            break;
        if ((items [0].revents & ZMQ_POLLIN) && s_command (&self))
            break;
        zlist_t *vockets = zlist_dup (self.vockets);
        for (vocket_t *vocket = (vocket_t *) zlist_pop (vockets); vocket; vocket = (vocket_t *) zlist_pop (vockets))
            s_work (vocket);
        zlist_destroy (&vockets);
    }
    while (zlist_size (self.vockets))
        vocket_destroy ((vocket_t *) zlist_first (self.vockets));
    zlist_destroy (&self.vockets);
}
