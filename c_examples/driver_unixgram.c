/*  A driver for UNIX datagram sockets: unixgram:///path. docs/writing-a-driver.md goes
    through it step by step.

    What is bound is a datagram socket at its path, what is connected one with a name that
    the system gave it. The first byte of a datagram says what it is:

        H   hello: may I come in?          W   welcome: you may
        M   a message, as zmsg_encode      R   refused, and why
        P   are you there?                 B   bye

    The system loses no datagram and keeps their order. When the receiver's queue is full
    we try again; when the receiver has gone, sending to it fails, but what it sent before
    may still be in our queue.
*/

#include <czmq.h>
#include <sys/un.h>
#include <vtx.h>

#define MAX_BODY    60000           //  Bytes; the system takes somewhat more at once
#define PEERS_MAX   1000            //  In all
#define TICK        100             //  Milliseconds between two hellos

typedef struct { struct sockaddr_un name; socklen_t size; } address_t;

//  What one vtx_bind or vtx_connect has made
typedef struct _endpoint_t {
    struct _endpoint_t *next;
    char vtxname [64];
    address_t address;              //  Where it is bound, or whom it looks for
    int bound;
    int ending;                     //  All that is to be sent is in the pipes
    int closed;                     //  To be freed
    int fd;
    zmsg_t *in;                     //  Has come, but the pipe of its peer was full
    struct _peer_t *sender;         //  That peer
} endpoint_t;

//  Somebody at the other end. What is connected has at most one
typedef struct _peer_t {
    struct _peer_t *next;
    endpoint_t *endpoint;
    address_t address;
    void *pipe;                     //  From vtx_peering_open: his messages
    zframe_t *out;                  //  Is to be sent, but his queue was full
    int lost;                       //  Cannot be sent to; parted when all that he sent is read
    int gone;                       //  To be freed
} peer_t;

typedef struct {
    zctx_t *ctx;
    void *control;                  //  Commands from VTX
    endpoint_t *endpoints;
    peer_t *peers;
} driver_t;

//  Send a letter and what is behind it. Returns 0, or an errno: EAGAIN if the queue there is full.
static int
s_send (endpoint_t *self, address_t *to, char letter, const void *data, size_t size)
{
    struct iovec parts [] = { { &letter, 1 }, { (void *) data, size } };
    struct msghdr datagram = { &to->name, to->size, parts, 2, NULL, 0, 0 };
    return sendmsg (self->fd, &datagram, MSG_DONTWAIT | MSG_NOSIGNAL) == -1? errno: 0;
}

//  Send a peer a letter, if there is room, and see whether he is still there
static void
s_tell (peer_t *self, char letter)
{
    int rc = s_send (self->endpoint, &self->address, letter, NULL, 0);
    if (rc && rc != EAGAIN)
        self->lost = 1;
}

static peer_t *
s_peer (driver_t *driver, endpoint_t *endpoint, address_t *address)
{
    for (peer_t *peer = driver->peers; peer; peer = peer->next)
        if (!peer->gone && peer->endpoint == endpoint && (!address
        || (peer->address.size == address->size && !memcmp (&peer->address.name, &address->name, address->size))))
            return peer;
    return NULL;
}

//  Let a peer in. Returns NULL if VTX does not take him, and vtx_error says why.
static peer_t *
s_join (driver_t *driver, endpoint_t *endpoint, address_t *address)
{
    //  A name that the system gave starts with a zero byte
    const char *name = address->name.sun_path;
    char text [120];
    snprintf (text, sizeof text, "%s%s", *name? "": "@", *name? name: name + 1);
    void *pipe = vtx_peering_open (driver->ctx, endpoint->vtxname, NULL, text);
    if (!pipe)
        return NULL;
    peer_t *self = (peer_t *) zmalloc (sizeof (peer_t));
    *self = (peer_t) { driver->peers, endpoint, *address, pipe, NULL, 0, 0 };
    return driver->peers = self;
}

//  Close a peering, and count what is thrown away. VTX counts what is in the pipe.
static void
s_part (driver_t *driver, peer_t *self)
{
    endpoint_t *endpoint = self->endpoint;
    if (self->gone)
        return;
    if (self->out)
        vtx_driver_event (driver->ctx, endpoint->vtxname, VTX_EVENT_DROPPED, 1, "unsent");
    zframe_destroy (&self->out);
    if (endpoint->in && endpoint->sender == self) {
        vtx_driver_event (driver->ctx, endpoint->vtxname, VTX_EVENT_DROPPED, 1, "full");
        zmsg_destroy (&endpoint->in);
    }
    vtx_peering_close (driver->ctx, self->pipe);
    self->gone = 1;
}

//  Send what the application has sent, as far as there is room
static void
s_output (driver_t *driver, peer_t *self)
{
    while (!self->gone && !self->lost) {
        if (!self->out) {
            if (!(zsock_events (self->pipe) & ZMQ_POLLIN))
                break;
            zmsg_t *message = zmsg_recv (self->pipe);
            self->out = message? zmsg_encode (message): NULL;
            zmsg_destroy (&message);
            if (!self->out)
                break;              //  The context has ended
        }
        int rc = zframe_size (self->out) > MAX_BODY + 5? EMSGSIZE:
            s_send (self->endpoint, &self->address, 'M', zframe_data (self->out), zframe_size (self->out));
        if (rc == EAGAIN)
            return;
        if (rc && rc != EMSGSIZE) {
            self->lost = 1;
            break;
        }
        zframe_destroy (&self->out);
        if (rc) {
            vtx_driver_event (driver->ctx, self->endpoint->vtxname, VTX_EVENT_REFUSED, rc,
                "the message is larger than a datagram");
            vtx_driver_event (driver->ctx, self->endpoint->vtxname, VTX_EVENT_DROPPED, 1, "too_big");
        }
    }
    if (!self->gone && self->endpoint->ending) {
        s_send (self->endpoint, &self->address, 'B', NULL, 0);
        s_part (driver, self);
    }
}

//  Give the application the message that is waiting. Returns 0 if there is no room for it.
static int
s_deliver (endpoint_t *self)
{
    if (self->in) {
        if (!(zsock_events (self->sender->pipe) & ZMQ_POLLOUT))
            return 0;
        zmsg_send (&self->in, self->sender->pipe);
    }
    zmsg_destroy (&self->in);
    return 1;
}

//  Look at a datagram
static void
s_datagram (driver_t *driver, endpoint_t *self, address_t *from, char letter, char *data, size_t size)
{
    peer_t *peer = s_peer (driver, self, from);
    if (letter == 'H' && self->bound && !self->ending) {
        if (!peer && !(peer = s_join (driver, self, from))) {
            if (errno != EAGAIN)    //  Else he will ask again
                s_send (self, from, 'R', vtx_error (), strlen (vtx_error ()));
        }
        else
            s_tell (peer, 'W');
    }
    else
    if (letter == 'W' && !self->bound && !self->ending && !peer)
        s_join (driver, self, from);
    else
    if (letter == 'R' && !self->bound) {
        data [size] = 0;
        vtx_driver_event (driver->ctx, self->vtxname, ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, 0, data);
    }
    else
    if (letter == 'M' && peer) {
        zframe_t *frame = zframe_new (data, size);
        self->in = zmsg_decode (frame);
        self->sender = peer;
        zframe_destroy (&frame);
    }
    else
    if (letter == 'M')              //  We have forgotten him
        s_send (self, from, 'B', NULL, 0);
    else
    if (letter == 'B' && peer)
        s_part (driver, peer);
}

//  Receive until there is no more, or no room for it. Then whoever is lost has nothing more to say.
static void
s_input (driver_t *driver, endpoint_t *self)
{
    char buffer [MAX_BODY + 7];
    while (s_deliver (self)) {
        address_t from = { .size = sizeof from.name };
        memset (&from.name, 0, sizeof from.name);
        ssize_t size = recvfrom (self->fd, buffer, sizeof buffer - 1, MSG_DONTWAIT,
            (struct sockaddr *) &from.name, &from.size);
        if (size > 0)
            s_datagram (driver, self, &from, *buffer, buffer + 1, (size_t) size - 1);
        else
        if (size == -1) {
            for (peer_t *peer = driver->peers; peer; peer = peer->next)
                if (peer->endpoint == self && peer->lost)
                    s_part (driver, peer);
            return;
        }
    }
}

//  BIND and CONNECT. Returns 0 or an errno.
static int
s_open (driver_t *driver, const char *vtxname, const char *path, int bound)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    if (*path != '/' || strlen (path) >= sizeof name.sun_path)
        return EINVAL;
    strcpy (name.sun_path, path);
    int fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    //  Without a path the system finds a name
    if (fd == -1 || bind (fd, (struct sockaddr *) &name, bound? sizeof name: sizeof (sa_family_t))) {
        int rc = errno;
        close (fd);
        return rc;
    }
    endpoint_t *self = (endpoint_t *) zmalloc (sizeof (endpoint_t));
    snprintf (self->vtxname, sizeof self->vtxname, "%s", vtxname);
    self->address = (address_t) { name, sizeof name };
    self->bound = bound;
    self->fd = fd;
    self->next = driver->endpoints;
    driver->endpoints = self;
    if (!bound)
        s_send (self, &self->address, 'H', NULL, 0);
    return 0;
}

//  Free what is over
static void
s_sweep (driver_t *driver, int all)
{
    for (peer_t **link = &driver->peers, *self; (self = *link);) {
        if (all || self->endpoint->closed)
            s_part (driver, self);
        if (self->gone) {
            *link = self->next;
            free (self);
        }
        else
            link = &self->next;
    }
    for (endpoint_t **link = &driver->endpoints, *self; (self = *link);)
        if (all || self->closed) {
            *link = self->next;
            close (self->fd);
            free (self);
        }
        else
            link = &self->next;
}

//  A command: [command] [socket type] [vtxname] [address]. Returns -1 at the end.
static int
s_command (driver_t *driver)
{
    zmsg_t *request = zmsg_recv (driver->control);
    if (!request)
        return -1;                  //  The context has ended
    char *command = zmsg_popstr (request), *type = zmsg_popstr (request);
    char *vtxname = zmsg_popstr (request), *address = zmsg_popstr (request);
    zmsg_destroy (&request);
    endpoint_t *self = driver->endpoints;
    while (self && (self->closed || !streq (self->vtxname, vtxname)))
        self = self->next;
    int rc = 0, over = streq (command, "SHUTDOWN");
    if (streq (command, "BIND") || streq (command, "CONNECT"))
        rc = s_open (driver, vtxname, address, streq (command, "BIND"));
    else
    if (self && !streq (command, "GETMETA")) {
        //  UNBIND, DISCONNECT: what is in the pipes is still sent. CLOSE: it is not
        if (self->bound && !self->ending)
            unlink (self->address.name.sun_path);
        self->ending = 1;
        self->closed = streq (command, "CLOSE");
        if (self->closed)
            s_sweep (driver, 0);    //  While VTX still counts for it
        else
        if (s_peer (driver, self, NULL))
            rc = EINPROGRESS;
    }
    char answer [16];
    snprintf (answer, sizeof answer, "%d", rc);
    if (streq (command, "GETMETA"))
        snprintf (answer, sizeof answer, streq (address, "max_body")? "%d": "", MAX_BODY);
    zstr_send (driver->control, answer);
    free (command);
    free (type);
    free (vtxname);
    free (address);
    return over? -1: 0;
}

//  Look for whom is to be found, and see who has gone
static void
s_tick (driver_t *driver)
{
    for (endpoint_t *self = driver->endpoints; self; self = self->next)
        if (!self->bound && !self->ending && !s_peer (driver, self, NULL))
            s_send (self, &self->address, 'H', NULL, 0);
    for (peer_t *self = driver->peers; self; self = self->next)
        s_tell (self, 'P');
}

void
driver_unixgram (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    driver_t driver = { ctx, pipe, NULL, NULL };
    char *verbose = zstr_recv (pipe);
    free (verbose);
    int64_t tick = zclock_mono ();
    zmq_pollitem_t items [1 + 2 * PEERS_MAX];
    while (1) {
        int count = 0;
        long timeout = driver.endpoints? TICK: -1;
        items [count++] = (zmq_pollitem_t) { pipe, 0, ZMQ_POLLIN, 0 };
        for (endpoint_t *self = driver.endpoints; self && count < PEERS_MAX; self = self->next)
            if (!self->in)
                items [count++] = (zmq_pollitem_t) { NULL, self->fd, ZMQ_POLLIN, 0 };
        for (peer_t *self = driver.peers; self && count <= 2 * PEERS_MAX; self = self->next) {
            short full = self->endpoint->in && self->endpoint->sender == self? ZMQ_POLLOUT: 0;
            items [count++] = (zmq_pollitem_t) { self->pipe, 0, (self->out || self->lost? 0: ZMQ_POLLIN) | full, 0 };
            if (self->out || self->lost)
                timeout = 1;        //  Nobody tells us when there is room again
        }
        if (zmq_poll (items, count, timeout) == -1 && errno != EINTR)
            break;
        if ((items [0].revents & ZMQ_POLLIN) && s_command (&driver))
            break;
        for (endpoint_t *self = driver.endpoints; self; self = self->next)
            s_input (&driver, self);
        for (peer_t *self = driver.peers; self; self = self->next)
            s_output (&driver, self);
        if (zclock_mono () >= tick + TICK) {
            s_tick (&driver);
            tick = zclock_mono ();
        }
        s_sweep (&driver, 0);
    }
    s_sweep (&driver, 1);
}
