/*  How fast libzmq sockets are: over VTX's endpoints, or over libzmq's own. Run it without
    arguments to learn how.
*/

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>
#include "measure.h"
#include "sockets.h"
#include "subscriptions.h"

//  Of one SUB in its turn
#define TURN_MESSAGES   256
//  So many peers come at a time, since ZMQ_BACKLOG is 100
#define CONNECT_SLICE   50
//  For what is to arrive after all
#define LINGER_MS       2000

typedef struct {
    plan_t plan;
    side_t side;
    bool nodrop;
    char *body;
} run_t;

static void
send_body (run_t *self, void *socket, long number)
{
    stamp (self->body, self->plan.size, number);
    check (zmq_send (socket, self->body, self->plan.size, 0) == (int) self->plan.size, "zmq_send");
}

static void
check_size (run_t *self, size_t size)
{
    if (size != self->plan.size)
        die ("a message", "has the wrong size: both ends must be told the same");
}

//  --------------------------------------------------------------------------
//  throughput

//  Goes on after its report, for as long as somebody wants more
static void
send_all (run_t *self, void *socket)
{
    long count = 0, step = clock_step (self->plan.size);
    window_t window;
    while (count < MESSAGES_BEFORE)
        send_body (self, socket, count++);
    window_open (&window);
    do
        for (long i = 0; i < step; i++)
            send_body (self, socket, count++);
    while (window_spent (&window) < self->plan.seconds * SENDER_PART);
    window_report (&window, count - MESSAGES_BEFORE);
    report_end ();
    set_option (socket, ZMQ_SNDTIMEO, LEAVE_MS);
    while (zmq_send (socket, self->body, self->plan.size, 0) >= 0)
        stamp (self->body, self->plan.size, count++);
}

static void
receive (run_t *self, void *socket, zmq_msg_t *message)
{
    check (zmq_msg_recv (message, socket, 0) >= 0, "zmq_msg_recv");
    check_size (self, zmq_msg_size (message));
}

static void
receive_all (run_t *self, void *socket)
{
    long count = 0, step = clock_step (self->plan.size);
    window_t window;
    zmq_msg_t message;
    zmq_msg_init (&message);
    for (long i = 0; i < MESSAGES_BEFORE; i++)
        receive (self, socket, &message);
    window_open (&window);
    do {
        for (long i = 0; i < step; i++)
            receive (self, socket, &message);
        count += step;
    } while (window_spent (&window) < self->plan.seconds);
    window_report (&window, count);
    zmq_msg_close (&message);
}

//  --------------------------------------------------------------------------
//  loss

//  The first message waits for a peer
static void
send_paced (run_t *self, void *socket)
{
    set_option (socket, ZMQ_LINGER, LINGER_MS);
    send_body (self, socket, 0);
    long count = 1;
    window_t window;
    window_open (&window);
    while (window_spent (&window) < self->plan.seconds) {
        pace (window.start, count, self->plan.rate);
        send_body (self, socket, count++);
    }
    window_report (&window, count);
}

static void
receive_until_silence (run_t *self, void *socket)
{
    long count = 0;
    zmq_msg_t message;
    zmq_msg_init (&message);
    receive (self, socket, &message);
    set_option (socket, ZMQ_RCVTIMEO, SILENCE_MS);
    do
        count++;
    while (zmq_msg_recv (&message, socket, 0) >= 0);
    check (errno == EAGAIN, "zmq_msg_recv");
    report_figure ("messages", count, 0, "");
    zmq_msg_close (&message);
}

//  --------------------------------------------------------------------------
//  latency

//  Goes on after its report, for as long as somebody asks
static void
answer (run_t *self, void *socket)
{
    long count = -TRIPS_BEFORE;
    bool told = false;
    window_t window;
    int size;
    while ((size = zmq_recv (socket, self->body, self->plan.size, 0)) >= 0) {
        check_size (self, (size_t) size);
        if (count++ == 0)
            window_open (&window);
        check (zmq_send (socket, self->body, (size_t) size, 0) == size, "zmq_send");
        if (!told && count > 0 && window_spent (&window) >= self->plan.seconds * SENDER_PART) {
            window_report (&window, count);
            report_end ();
            told = true;
            set_option (socket, ZMQ_RCVTIMEO, LEAVE_MS);
        }
    }
    check (told, "zmq_recv");
}

typedef struct {
    run_t *run;
    void *socket;
} asking_t;

static void
ask_once (void *asking, long number)
{
    asking_t *self = asking;
    send_body (self->run, self->socket, number);
    int size = zmq_recv (self->socket, self->run->body, self->run->plan.size, 0);
    check (size >= 0, "zmq_recv");
    check_size (self->run, (size_t) size);
}

static void
ask (run_t *self, void *socket)
{
    trips_measure (&self->plan, ask_once, &(asking_t) { self, socket });
}

//  --------------------------------------------------------------------------
//  fanout

//  An XPUB is a PUB that is told who comes and goes. Waits for a subscription; returns whether it was one and not
//  the end of the last.
static bool
subscription (void *socket, int flags)
{
    char topic [1];
    int size = zmq_recv (socket, topic, sizeof topic, flags);
    check (size == 1 || (size == -1 && errno == EAGAIN && flags), "zmq_recv");
    return size == -1 || topic [0] == 1;
}

static void
publish (run_t *self, void *socket)
{
    for (int i = 0; i < self->plan.count; i++)
        if (!subscription (socket, 0))
            die ("fanout", "a SUB left early");
    long count = 0, step = clock_step (self->plan.size);
    bool told = false;
    window_t window;
    window_open (&window);
    while (subscription (socket, ZMQ_DONTWAIT) && window_spent (&window) < self->plan.seconds + PATIENCE_MS / 1000) {
        for (long i = 0; i < step; i++)
            send_body (self, socket, count++);
        if (!told && window_spent (&window) >= self->plan.seconds * SENDER_PART) {
            window_report (&window, count);
            report_end ();
            told = true;
        }
    }
}

//  Take what has arrived at a SUB. latest is the number of the last message, which the
//  publisher stamps on each.
static long
take_turn (run_t *self, void *socket, zmq_msg_t *message, long *latest)
{
    long count = 0;
    while (count < TURN_MESSAGES && zmq_msg_recv (message, socket, ZMQ_DONTWAIT) >= 0) {
        check_size (self, zmq_msg_size (message));
        memcpy (latest, zmq_msg_data (message), sizeof *latest);
        count++;
    }
    check (count == TURN_MESSAGES || errno == EAGAIN, "zmq_msg_recv");
    return count;
}

//  Counts from when every SUB has had its first message. What was published meanwhile is the
//  distance between the newest messages that any SUB has seen then and at the end.
static void
subscribe (run_t *self, void *unused)
{
    (void) unused;
    int subs = self->plan.count;
    if (self->plan.size < sizeof (long))
        die ("fanout", "a body needs 8 bytes for its number");
    zmq_pollitem_t *sub = calloc ((size_t) subs, sizeof *sub);
    bool *begun = calloc ((size_t) subs, sizeof *begun);
    check (sub && begun, "calloc");
    for (int i = 0; i < subs; i++) {
        sub [i].socket = side_socket (&self->side, ZMQ_SUB);
        sub [i].events = ZMQ_POLLIN;
        check (zmq_setsockopt (sub [i].socket, ZMQ_SUBSCRIBE, "", 0) == 0, "ZMQ_SUBSCRIBE");
        side_connect (&self->side, sub [i].socket, self->plan.endpoint);
    }
    int missing = subs;
    long delivered = 0, newest = 0, oldest = 0;
    double patience = seconds_now () + PATIENCE_MS / 1000;
    window_t window;
    zmq_msg_t message;
    zmq_msg_init (&message);
    while (missing || window_spent (&window) < self->plan.seconds) {
        bool counting = missing == 0;
        long taken = 0;
        for (int i = 0; i < subs; i++) {
            long latest = 0, some = take_turn (self, sub [i].socket, &message, &latest);
            if (latest > newest)
                newest = latest;
            if (some > 0 && !begun [i]) {
                begun [i] = true;
                missing--;
            }
            taken += some;
        }
        if (taken == 0)
            check (zmq_poll (sub, subs, SILENCE_MS) >= 0, "zmq_poll");
        if (counting)
            delivered += taken;
        else {
            if (seconds_now () > patience)
                die ("fanout", "not every SUB received something");
            window_open (&window);
            oldest = newest;
        }
    }
    zmq_msg_close (&message);
    if (newest <= oldest)
        die ("fanout", "nothing was delivered");
    window_report (&window, delivered);
    report_figure ("share", (double) delivered / subs / (newest - oldest), 4, "of what was published");
    for (int i = 0; i < subs; i++)
        side_close_socket (&self->side, sub [i].socket);
    free (sub);
    free (begun);
}

//  --------------------------------------------------------------------------
//  peerings

//  What the peerings take is the growth of memory that belongs to no file: pages of libraries
//  count as they are first used, whoever comes. The last peer is told when that has been seen.
static void
weigh (run_t *self, void *socket)
{
    zmq_msg_t identity, word;
    zmq_msg_init (&identity);
    zmq_msg_init (&word);
    settle ();
    long before = fact ("/proc/self/smaps_rollup", "Anonymous:");
    side_tell (&self->side, socket);
    for (int i = 0; i < self->plan.count; i++) {
        zmq_msg_t copy;
        zmq_msg_init (&copy);
        check (zmq_msg_recv (&identity, socket, 0) >= 0 && zmq_msg_recv (&word, socket, 0) >= 0, "zmq_msg_recv");
        check (zmq_msg_copy (&copy, &identity) == 0, "zmq_msg_copy");
        check (zmq_msg_send (&copy, socket, ZMQ_SNDMORE) >= 0 && zmq_msg_send (&word, socket, 0) >= 0, "zmq_msg_send");
    }
    settle ();
    long after = fact ("/proc/self/smaps_rollup", "Anonymous:");
    report_figure ("peerings", self->plan.count, 0, "");
    report_figure ("each", (double) (after - before) / self->plan.count, 1, "KiB of memory for a peering");
    report_figure ("memory", fact ("/proc/self/smaps_rollup", "Rss:"), 0, "KiB resident");
    report_figure ("threads", fact ("/proc/self/status", "Threads:"), 0, "");
    report_end ();
    set_option (socket, ZMQ_LINGER, LINGER_MS);
    check (zmq_msg_send (&identity, socket, ZMQ_SNDMORE) >= 0 && zmq_send (socket, "", 0, 0) >= 0, "zmq_send");
}

//  Each says one word and is answered; then all are silent until the last of them is told to go
static void
stay (run_t *self, void *unused)
{
    (void) unused;
    int peers = self->plan.count, answered = 0;
    void **peer = calloc ((size_t) peers, sizeof *peer);
    check (peer != NULL, "calloc");
    for (int i = 0; i < peers; i++) {
        peer [i] = side_socket (&self->side, ZMQ_DEALER);
        side_connect (&self->side, peer [i], self->plan.endpoint);
        send_body (self, peer [i], i);
        if ((i + 1) % CONNECT_SLICE == 0)
            for (; answered <= i; answered++)
                check (zmq_recv (peer [answered], self->body, self->plan.size, 0) >= 0, "zmq_recv");
    }
    for (; answered < peers; answered++)
        check (zmq_recv (peer [answered], self->body, self->plan.size, 0) >= 0, "zmq_recv");
    zmq_pollitem_t *told = calloc ((size_t) peers, sizeof *told);
    check (told != NULL, "calloc");
    for (int i = 0; i < peers; i++)
        told [i] = (zmq_pollitem_t) { .socket = peer [i], .events = ZMQ_POLLIN };
    check (zmq_poll (told, peers, PATIENCE_MS) > 0, "zmq_poll");
    for (int i = 0; i < peers; i++)
        side_close_socket (&self->side, peer [i]);
    free (told);
    free (peer);
}

//  --------------------------------------------------------------------------
//  subscriptions

static void
weigh_subscriptions (run_t *self, void *socket)
{
    subscriptions_weigh (&self->plan, &self->side, socket);
}

static void
make_subscriptions (run_t *self, void *unused)
{
    (void) unused;
    subscriptions_make (&self->plan, &self->side);
}

//  --------------------------------------------------------------------------

//  Another program is the client
static void
take_in (run_t *self, void *unused)
{
    (void) unused;
    report_end ();
    sleep ((unsigned) self->plan.seconds + PATIENCE_MS / 1000);
}

static const struct {
    const char *name;
    int binds;
    int connects;           //  -1: it makes its sockets itself, and connects them
    void (*serve) (run_t *self, void *socket);
    void (*use) (run_t *self, void *socket);
} tests [] = {
    { "throughput", ZMQ_PUSH, ZMQ_PULL, send_all, receive_all },
    { "loss", ZMQ_PUSH, ZMQ_PULL, send_paced, receive_until_silence },
    { "latency", ZMQ_REP, ZMQ_REQ, answer, ask },
    { "fanout", ZMQ_XPUB, -1, publish, subscribe },
    { "peerings", ZMQ_ROUTER, -1, weigh, stay },
    { "subscriptions", ZMQ_XPUB, -1, weigh_subscriptions, make_subscriptions },
    { "handshakes", ZMQ_PULL, -1, take_in, NULL }
};

static const char usage [] =
    "usage: vtxperf vtx|zmq TEST bind|connect ENDPOINT [NAME=VALUE...]\n"
    "       vtxperf versions\n"
    "\n"
    "Measures libzmq sockets, over VTX's transports (vtx) or over libzmq's own (zmq). Start it twice,\n"
    "and tell both the same:\n"
    "\n"
    "    vtxperf vtx latency bind 'tcp://127.0.0.1:5555' size=10\n"
    "    vtxperf vtx latency connect tcp://127.0.0.1:5555 size=10\n"
    "\n"
    "Either end may be stock libzmq, where it has the transport. Port * takes a free one, and is printed.\n"
    "\n"
    "tests\n"
    "    throughput     PUSH (binds) to PULL: messages a second, counted once 2000 have come, until\n"
    "                   which the sender only fills both queues\n"
    "    latency        REP (binds), REQ: round trips, their percentiles and histogram\n"
    "    fanout         PUB (binds) to count SUBs in one process: what all of them are delivered\n"
    "    peerings       ROUTER (binds), count DEALERs that say a word and then nothing: memory, threads\n"
    "    subscriptions  PUB (binds), a SUB with count of them, of size bytes: memory, and how long another SUB hears nothing\n"
    "    loss           PUSH (binds) to PULL at a rate, for seconds, until silence: compare both counts\n"
    "    handshakes     PULL (binds): takes connections in, of another program\n"
    "\n"
    "names\n"
    "    size=100       bytes of a message's body\n"
    "    seconds=1      how long to count\n"
    "    count=1        of SUBs, peerings or subscriptions\n"
    "    rate=0         of loss: messages a second; 0 is as fast as possible\n"
    "    nodrop=0       of fanout: 1 has the publisher wait for the slowest instead of dropping\n"
    "    curve=0        1 secures tcp and ipc with CURVE, with built-in keys\n"
    "    tls.cert=FILE  and any other name with a dot: an option of VTX, as in vtx_setopt\n"
    "\n"
    "Each end also tells the CPU time, user and system, that its process spent on a message.\n";

int
main (int argc, char *argv [])
{
    if (argc == 2 && strcmp (argv [1], "versions") == 0) {
        side_versions ();
        return 0;
    }
    run_t self = { .nodrop = false };
    bool vtx = argc > 1 && strcmp (argv [1], "vtx") == 0;
    bool zmq = argc > 1 && strcmp (argv [1], "zmq") == 0;
    int rest = vtx || zmq? plan_read (&self.plan, argc - 2, argv + 2): -1;
    size_t test = 0, known = sizeof tests / sizeof tests [0];
    while (rest >= 0 && test < known && strcmp (tests [test].name, self.plan.test) != 0)
        test++;
    if (rest < 0 || test == known || !(self.plan.binds || tests [test].use)) {
        fputs (usage, stderr);
        return 1;
    }
    bool curve = false;
    for (int i = 2; i < rest + 2; i++)
        if (strncmp (argv [i], "curve=", 6) == 0)
            curve = argument_number (argv [i], 0, 1);
        else
        if (strncmp (argv [i], "nodrop=", 7) == 0)
            self.nodrop = argument_number (argv [i], 0, 1);
        else
        if (!memchr (argv [i], '.', strcspn (argv [i], "=")))
            die (argv [i], "is unknown");
    bool weighs_subscriptions = tests [test].serve == weigh_subscriptions;
    side_open (&self.side, vtx, curve, weighs_subscriptions? 2: self.plan.count);
    for (int i = 2; i < rest + 2; i++)
        if (memchr (argv [i], '.', strcspn (argv [i], "=")))
            side_option (&self.side, argv [i]);
    self.body = calloc (1, self.plan.size + sizeof (long));
    check (self.body != NULL, "calloc");

    int type = self.plan.binds? tests [test].binds: tests [test].connects;
    void *socket = type >= 0? side_socket (&self.side, type): NULL;
    if (type == ZMQ_XPUB) {
        set_option (socket, ZMQ_XPUB_VERBOSE, 1);
        set_option (socket, ZMQ_XPUB_NODROP, self.nodrop);
    }
    if (self.plan.binds) {
        side_bind (&self.side, socket, self.plan.endpoint);
        if (tests [test].serve != weigh && !weighs_subscriptions)      //  which look at their memory first
            side_tell (&self.side, socket);
        tests [test].serve (&self, socket);
    }
    else {
        if (socket)
            side_connect (&self.side, socket, self.plan.endpoint);
        tests [test].use (&self, socket);
    }
    if (socket)
        side_close_socket (&self.side, socket);
    report_end ();
    side_close (&self.side);
    free (self.body);
    return 0;
}
