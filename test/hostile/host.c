//go:build ignore
// This is not part of the Go package: main_test.go compiles it.

/*  A program with sockets, as a user's would be. It does what it is told on its standard input, line by line, with
    one line of answer for each, and ends with the input. It is the victim of the attacks, and in processes of their
    own it is the legitimate peers too. README.md lists the lines.

    host TAG: messages of legitimate peers begin with the tag, which no attacker knows.
*/

#include <vtx.h>
#include "../c/check.h"

#define SOCKETS_MAX 64
#define SENDERS_MAX 2048
#define WORDS_MAX 5
#define BURST 256           //  Messages of one socket before the others have their turn

typedef enum { MUTE, ECHO, SINK, SOURCE, ASK, ZAP, MONITOR } role_t;
static const char *roles [] = { "mute", "echo", "sink", "source", "ask", "zap", "monitor" };

//  How far a sink has heard a sender
typedef struct {
    char name [32];
    long long last;
} sender_t;

typedef struct {
    char name [32];
    void *socket;
    role_t role;
    sender_t senders [SENDERS_MAX];
    int senders_used;
    long long number;       //  Of what a source or an asker says next
    long long limit;        //  A source stops there; 0: never
    long pause, retry;      //  ms between two messages of a source or questions; ms after which to ask again, 0: never
    size_t size;            //  Of a source's or an asker's message, at least
    double asked, due;      //  Since when an answer is awaited, 0: none is; when to speak next
    double worst;           //  The longest wait for an answer, in seconds
    long long in, out, faults, lost, events;
} actor_t;

static const char *tag;
static void *ctx;
static vtx_t *vtx;
static actor_t actors [SOCKETS_MAX];
static int actors_used;

//  Say the actor's next message; 0 if it went
static int
s_say (actor_t *self)
{
    char text [128];
    size_t size = (size_t) snprintf (text, sizeof text, "%s %s %lld ", tag, self->name, self->number);
    zmq_msg_t msg;
    zmq_msg_init_size (&msg, size > self->size? size: self->size);
    memset (zmq_msg_data (&msg), '.', zmq_msg_size (&msg));
    memcpy (zmq_msg_data (&msg), text, size);
    if (zmq_msg_send (&msg, self->socket, ZMQ_DONTWAIT) == -1) {
        zmq_msg_close (&msg);
        return -1;
    }
    self->out++;
    return 0;
}

//  Tell who said what we received, and which of its messages that is. 0 if it was a legitimate peer
static int
s_parse (zmq_msg_t *msg, char name [32], long long *number)
{
    char text [128];
    size_t size = zmq_msg_size (msg), length = strlen (tag);
    if (size <= length || memcmp (zmq_msg_data (msg), tag, length) != 0)
        return -1;
    size -= length;
    if (size > sizeof text - 1)
        size = sizeof text - 1;
    memcpy (text, (char *) zmq_msg_data (msg) + length, size);
    text [size] = 0;
    return sscanf (text, " %31s %lld", name, number) == 2? 0: -1;
}

//  An answer has to be our question
static void
s_answered (actor_t *self, zmq_msg_t *msg, size_t parts)
{
    char name [32];
    long long number;
    if (parts != 1 || s_parse (msg, name, &number) != 0 || strcmp (name, self->name) != 0 || number > self->number) {
        self->faults++;
        return;
    }
    if (number < self->number || self->asked == 0) {
        if (!self->retry)               //  Who asks twice may be answered twice
            self->faults++;
        return;
    }
    double waited = now () - self->asked;
    if (waited > self->worst)
        self->worst = waited;
    self->asked = 0;
    self->number++;
    self->due = now () + (double) self->pause / 1000;
}

//  What a sender says comes in order, once, and without a gap
static void
s_heard (actor_t *self, zmq_msg_t *msg, size_t parts)
{
    char name [32];
    long long number;
    if (s_parse (msg, name, &number) != 0)
        return;                         //  An attacker's
    self->in++;
    self->faults += parts != 1;         //  Others' parts before it
    int i = self->senders_used - 1;     //  The latest have the most to say
    while (i >= 0 && strcmp (self->senders [i].name, name) != 0)
        i--;
    if (i == -1) {
        i = self->senders_used;
        CHECK (i < SENDERS_MAX);
        strcpy (self->senders [i].name, name);
        self->senders_used++;
    }
    else
    if (number <= self->senders [i].last) {
        self->faults++;
        return;
    }
    else
        self->lost += number - self->senders [i].last - 1;
    self->senders [i].last = number;
}

//  Send back all parts. Who does not take them goes without
static void
s_echo (actor_t *self, zmq_msg_t *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (zmq_msg_send (&parts [i], self->socket, ZMQ_DONTWAIT | (i + 1 < count? ZMQ_SNDMORE: 0)) == -1)
            return;
    self->out++;
}

//  Answer a question of RFC 27: the user alice has the password pencil; by other mechanisms all may come in
static void
s_zap (actor_t *self)
{
    char part [10][256];
    int parts = 0, more = 1;
    while (more) {
        zmq_msg_t msg;
        zmq_msg_init (&msg);
        if (zmq_msg_recv (&msg, self->socket, ZMQ_DONTWAIT) == -1)
            return;
        size_t size = zmq_msg_size (&msg);
        if (parts < 10 && size < sizeof part [0]) {
            memcpy (part [parts], zmq_msg_data (&msg), size);
            part [parts++][size] = 0;
        }
        else
            parts = 11;                 //  Odd, and refused
        more = zmq_msg_more (&msg);
        if (parts == 1)                 //  The sender's name may have any bytes
            zmq_msg_send (&msg, self->socket, ZMQ_SNDMORE);
        zmq_msg_close (&msg);
    }
    self->in++;
    int plain = parts > 7 && strcmp (part [7], "PLAIN") == 0;
    int good = !plain || (parts == 10 && strcmp (part [8], "alice") == 0 && strcmp (part [9], "pencil") == 0);
    const char *id = parts > 3 && parts < 11? part [3]: "";
    zmq_send (self->socket, "", 0, ZMQ_SNDMORE);
    zmq_send (self->socket, "1.0", 3, ZMQ_SNDMORE);
    zmq_send (self->socket, id, strlen (id), ZMQ_SNDMORE);
    zmq_send (self->socket, good? "200": "400", 3, ZMQ_SNDMORE);
    zmq_send (self->socket, "", 0, ZMQ_SNDMORE);
    zmq_send (self->socket, good? "alice": "", good? 5: 0, ZMQ_SNDMORE);
    zmq_send (self->socket, "", 0, 0);
}

//  Receive one whole message; -1 if there is none
static int
s_receive (actor_t *self)
{
    static zmq_msg_t *parts;
    static size_t room;
    size_t count = 0;
    int more = 1;
    while (more) {
        if (count == room) {
            room = 2 * room + 16;
            parts = realloc (parts, room * sizeof *parts);
            CHECK (parts != NULL);
        }
        zmq_msg_init (&parts [count]);
        if (zmq_msg_recv (&parts [count++], self->socket, ZMQ_DONTWAIT) == -1)
            break;
        more = zmq_msg_more (&parts [count - 1]);
    }
    if (!more) {
        self->in += self->role != SINK;
        self->events += self->role == MONITOR;
        if (self->role == SINK)
            s_heard (self, &parts [count - 1], count);
        if (self->role == ASK)
            s_answered (self, &parts [count - 1], count);
        if (self->role == ECHO)
            s_echo (self, parts, count);
    }
    for (size_t i = 0; i < count; i++)
        zmq_msg_close (&parts [i]);
    return more? -1: 0;
}

//  A source speaks while it may, an asker when it has been answered
static void
s_speak (actor_t *self)
{
    for (int i = 0; i < BURST && now () >= self->due; i++) {
        if (self->role == SOURCE && (!self->limit || self->number < self->limit)) {
            if (s_say (self) != 0)
                return;
            self->number++;
            if (self->pause)
                self->due = now () + (double) self->pause / 1000;
        }
        else
        if (self->role == ASK && (self->asked == 0 || (self->retry && now () > self->asked + (double) self->retry / 1000))) {
            if (self->asked != 0)
                self->number++;
            if (s_say (self) != 0)
                return;
            self->asked = now ();
        }
        else
            return;
    }
}

static void
s_state (void)
{
    printf ("ok rss=%ld fds=%d threads=%d", resident_kb (), count_fds (), count_threads ());
    for (int i = 0; i < actors_used; i++) {
        actor_t *self = &actors [i];
        double wait = self->asked != 0? now () - self->asked: 0;
        printf (" %s.in=%lld %s.out=%lld %s.faults=%lld %s.lost=%lld %s.events=%lld %s.number=%lld %s.worst=%.0f %s.wait=%.0f",
            self->name, self->in, self->name, self->out, self->name, self->faults, self->name, self->lost,
            self->name, self->events, self->name, self->number, self->name, self->worst * 1000, self->name, wait * 1000);
    }
    puts ("");
}

static actor_t *
s_add (const char *name, void *socket, const char *role)
{
    CHECK (actors_used < SOCKETS_MAX);
    actor_t *self = &actors [actors_used];
    memset (self, 0, sizeof *self);
    snprintf (self->name, sizeof self->name, "%s", name);
    self->socket = socket;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp (roles [i], role) == 0)
            self->role = (role_t) i;
    actors_used++;
    return self;
}

static actor_t *
s_find (const char *name)
{
    for (int i = 0; i < actors_used; i++)
        if (strcmp (actors [i].name, name) == 0)
            return &actors [i];
    return NULL;
}

//  Watch for connections that end or fail, natively or through VTX
static int
s_monitor (actor_t *actor, const char *name, int native)
{
    char endpoint [64];
    snprintf (endpoint, sizeof endpoint, "inproc://%s", name);
    int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
               | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    int rc = native? zmq_socket_monitor (actor->socket, endpoint, events): vtx_monitor (vtx, actor->socket, endpoint, events);
    void *socket = zmq_socket (ctx, ZMQ_PAIR);
    if (rc == 0 && (rc = zmq_connect (socket, endpoint)) == 0)
        s_add (name, socket, "monitor");
    return rc;
}

static int
s_bytes (void *socket, int option, const char *hex)
{
    unsigned char bytes [1024];
    size_t size = strlen (hex) / 2;
    for (size_t i = 0; i < size && i < sizeof bytes; i++) {
        unsigned byte = 0;
        sscanf (hex + 2 * i, "%2x", &byte);
        bytes [i] = (unsigned char) byte;
    }
    return zmq_setsockopt (socket, option, bytes, size);
}

//  Do what a line says; the answer is printed here only if it is more than whether it succeeded
static int
s_obey (char *word [WORDS_MAX], int *answered)
{
    *answered = 0;
    actor_t *actor = s_find (word [1]);
    if (strcmp (word [0], "socket") == 0) {             //  NAME TYPE ROLE
        void *socket = vtx_socket (vtx, atoi (word [2]));
        if (!socket)
            return -1;
        set_linger (socket, 0);
        s_add (word [1], socket, word [3]);
        return 0;
    }
    if (strcmp (word [0], "zap") == 0) {
        void *socket = zmq_socket (ctx, ZMQ_ROUTER);
        s_add ("zap", socket, "zap");
        return zmq_bind (socket, "inproc://zeromq.zap.01");
    }
    if (strcmp (word [0], "state") == 0) {
        *answered = 1;
        s_state ();
        return 0;
    }
    if (strcmp (word [0], "option") == 0)               //  NAME OPTION VALUE, - for all
        return vtx_setopt (vtx, actor? actor->socket: NULL, word [2], word [3]);
    if (!actor) {
        errno = EINVAL;
        return -1;
    }
    if (strcmp (word [0], "int") == 0) {                //  NAME NUMBER VALUE
        int value = atoi (word [3]);
        return zmq_setsockopt (actor->socket, atoi (word [2]), &value, sizeof value);
    }
    if (strcmp (word [0], "bytes") == 0)                //  NAME NUMBER HEX
        return s_bytes (actor->socket, atoi (word [2]), word [3]);
    if (strcmp (word [0], "bind") == 0) {               //  NAME ENDPOINT
        if (vtx_bind (vtx, actor->socket, word [2]) != 0)
            return -1;
        char *endpoint = vtx_getmeta (vtx, actor->socket, "endpoint");
        printf ("ok %s\n", endpoint);
        free (endpoint);
        *answered = 1;
        return 0;
    }
    if (strcmp (word [0], "listen") == 0) {             //  NAME ENDPOINT: bind without VTX
        char endpoint [256];
        size_t size = sizeof endpoint;
        if (zmq_bind (actor->socket, word [2]) != 0 || zmq_getsockopt (actor->socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
            return -1;
        printf ("ok %s\n", endpoint);
        *answered = 1;
        return 0;
    }
    if (strcmp (word [0], "connect") == 0)              //  NAME ENDPOINT
        return vtx_connect (vtx, actor->socket, word [2]);
    if (strcmp (word [0], "native") == 0)               //  NAME ENDPOINT: connect without VTX
        return zmq_connect (actor->socket, word [2]);
    if (strcmp (word [0], "monitor") == 0)              //  NAME MONITOR native|vtx
        return s_monitor (actor, word [2], strcmp (word [3], "native") == 0);
    if (strcmp (word [0], "pace") == 0) {               //  NAME LIMIT PAUSE SIZE
        actor->limit = atoll (word [2]);
        actor->pause = atol (word [3]);
        actor->size = (size_t) atol (word [4]);
        return 0;
    }
    if (strcmp (word [0], "subscribe") == 0)            //  NAME: an XSUB, to all
        return zmq_send (actor->socket, "\1", 1, 0) == 1? 0: -1;
    if (strcmp (word [0], "retry") == 0) {              //  NAME MS
        actor->retry = atol (word [2]);
        return 0;
    }
    if (strcmp (word [0], "role") == 0) {               //  NAME ROLE
        actor_t *last = s_add ("", NULL, word [2]);
        actor->role = last->role;
        actors_used--;
        return 0;
    }
    if (strcmp (word [0], "close") == 0) {              //  NAME
        int rc = vtx_close (vtx, actor->socket);
        *actor = actors [--actors_used];
        return rc;
    }
    if (strcmp (word [0], "meta") == 0) {               //  NAME WHAT
        char *value = vtx_getmeta (vtx, actor->socket, word [2]);
        if (!value)
            return -1;
        printf ("ok %s\n", value);
        free (value);
        *answered = 1;
        return 0;
    }
    errno = EINVAL;
    return -1;
}

static void
s_line (char *line)
{
    char *word [WORDS_MAX] = { "", "", "", "", "" };
    for (int i = 0; i < WORDS_MAX && line; i++)
        word [i] = strsep (&line, " ");
    int answered;
    errno = 0;
    if (s_obey (word, &answered) != 0)
        printf ("error %s: %s; %s\n", word [0], zmq_strerror (errno), vtx_error ());
    else
    if (!answered)
        puts ("ok");
    fflush (stdout);
}

//  Read what there is of the input and obey its whole lines; -1 at its end
static int
s_input (void)
{
    static char text [65536];
    static size_t used;
    ssize_t size = read (STDIN_FILENO, text + used, sizeof text - 1 - used);
    if (size <= 0)
        return size < 0 && errno == EINTR? 0: -1;
    used += (size_t) size;
    text [used] = 0;
    char *line = text, *end;
    while ((end = strchr (line, '\n')) != NULL) {
        *end = 0;
        s_line (line);
        line = end + 1;
    }
    used -= (size_t) (line - text);
    memmove (text, line, used);
    return 0;
}

//  What to wait for, and for how long
static long
s_interest (zmq_pollitem_t *items)
{
    double soon = now () + 0.25;
    for (int i = 0; i < actors_used; i++) {
        actor_t *self = &actors [i];
        items [i] = (zmq_pollitem_t) { self->socket, 0, ZMQ_POLLIN, 0 };
        if (self->role == MUTE)
            items [i].events = 0;
        int speaks = (self->role == SOURCE && (!self->limit || self->number < self->limit))
                  || (self->role == ASK && self->asked == 0);
        if (speaks && now () >= self->due)
            items [i].events |= ZMQ_POLLOUT;
        else
        if (speaks && self->due < soon)
            soon = self->due;
    }
    items [actors_used] = (zmq_pollitem_t) { NULL, STDIN_FILENO, ZMQ_POLLIN, 0 };
    long wait = (long) ((soon - now ()) * 1000) + 1;
    return wait > 0? wait: 0;
}

int main (int argc, char **argv)
{
    CHECK (argc == 2);
    tag = argv [1];
    ctx = zmq_ctx_new ();
    CHECK (ctx != NULL);
    vtx = vtx_new_raw (ctx);
    CHECK (vtx != NULL);
    while (1) {
        zmq_pollitem_t items [SOCKETS_MAX + 1];
        long wait = s_interest (items);
        int count = actors_used;
        if (zmq_poll (items, count + 1, wait) == -1) {
            CHECK (errno == EINTR);
            continue;
        }
        for (int i = 0; i < count; i++) {
            actor_t *self = &actors [i];
            if (items [i].revents & ZMQ_POLLIN && self->role == ZAP)
                s_zap (self);
            else
            if (items [i].revents & ZMQ_POLLIN)
                for (int n = 0; n < BURST && s_receive (self) == 0; n++)
                    ;
            if (items [i].revents & ZMQ_POLLOUT || (self->role == ASK && self->retry))
                s_speak (self);
        }
        if (items [count].revents && s_input () != 0)
            break;
    }
    _exit (0);              //  What is still open is nobody's business: it could wait
}
