/*  The same plain libzmq sockets over VTX's stream transports and over libzmq's own. Server
    and client are processes of their own. The server binds and prints the endpoint that it
    got; it runs until killed, or until nobody has wanted anything for a while.

    stream_perf SIDE MODE server ENDPOINT SIZE SECONDS [COUNT]
    stream_perf SIDE MODE client ENDPOINT SIZE SECONDS [COUNT]
    stream_perf keys            prints a pair of CURVE keys, public and secret

    SIDE        vtx         vtx_bind and vtx_connect
                zmq         zmq_bind and zmq_connect
    MODE        pushpull    the client counts messages, once as many have come as both ends
                            may queue: until then the sender is filling its memory
                reqrep      the client counts round trips, and tells their median and 99th
                            percentile
                pubsub      the client has COUNT SUBs, counts what all of them receive, and tells
                            the share of what was published; the PUB never waits, and drops at
                            its high-water mark
                footprint   the client has COUNT DEALERs that say one word each and then nothing;
                            the server tells what memory and threads that takes
                handshake   the server takes connections in; another program is the client
    ENDPOINT    tcp://127.0.0.1:* or ipc://PATH to bind, what the server printed to connect.
                tls:// has its certificates in the directory BENCH_TLS; curve:// is tcp:// with
                CURVE, with the keys BENCH_CURVE_PUBLIC and BENCH_CURVE_SECRET at both ends
    SIZE        of a body, in bytes
    SECONDS     how long the client counts
    COUNT       of the client's sockets, 1 by default; a server needs it for footprint only

    libvtx is loaded by the vtx side only, so that the other has no thread and no byte of it.
*/

#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vtx.h>
#include "sockets.h"

//  Look at the clock once per so many bytes, not after each of the small messages
#define CLOCK_BYTES     32768
//  What a message costs beside its body, roughly
#define MESSAGE_BYTES   64
//  Messages before the count starts: both high-water marks
#define MESSAGES_BEFORE 2000
//  Round trips before the count starts, and at most that are counted
#define TRIPS_BEFORE    100
#define TRIPS_MAX       1000000
//  Of one SUB in its turn
#define TURN_MESSAGES   256
#define COUNT_MAX       10000
//  So many peers at a time, since ZMQ_BACKLOG is 100
#define CONNECT_SLICE   50
//  Until what a start or a peer needed only for a moment has been given back
#define SETTLE_MS       500

typedef struct {
    void *ctx;
    vtx_t *vtx;             //  NULL on the zmq side
    const char *endpoint;
    size_t size;
    double seconds;
    int count;
} run_t;

static char body [BENCH_MAX_SIZE];

//  --------------------------------------------------------------------------
//  The two sides

static struct {
    __typeof__ (vtx_new_raw) *new_raw;
    __typeof__ (vtx_destroy) *destroy;
    __typeof__ ((vtx_bind)) *bind;
    __typeof__ ((vtx_connect)) *connect;
    __typeof__ (vtx_close) *close;
    __typeof__ (vtx_getmeta) *getmeta;
    __typeof__ (vtx_setopt) *setopt;
    __typeof__ (vtx_error) *error;
} libvtx;

static void
check_vtx (int ok, const char *what)
{
    if (!ok)
        die (what, libvtx.error ());
}

static void *
symbol (void *library, const char *name)
{
    void *address = dlsym (library, name);
    if (!address)
        die (name, dlerror ());
    return address;
}

static void
load_vtx (void)
{
    void *library = dlopen ("libvtx.so.1", RTLD_NOW);
    if (!library)
        die ("dlopen", dlerror ());
    libvtx.new_raw = symbol (library, "vtx_new_raw");
    libvtx.destroy = symbol (library, "vtx_destroy");
    libvtx.bind = symbol (library, "vtx_bind");
    libvtx.connect = symbol (library, "vtx_connect");
    libvtx.close = symbol (library, "vtx_close");
    libvtx.getmeta = symbol (library, "vtx_getmeta");
    libvtx.setopt = symbol (library, "vtx_setopt");
    libvtx.error = symbol (library, "vtx_error");
}

//  Everything is libzmq's default but that no wait is endless, and nothing lingers
static void *
make_socket (run_t *run, int type)
{
    void *socket = zmq_socket (run->ctx, type);
    check (socket != NULL, "zmq_socket");
    set (socket, ZMQ_LINGER, 0);
    set (socket, ZMQ_SNDTIMEO, BENCH_PATIENCE_MS);
    set (socket, ZMQ_RCVTIMEO, BENCH_PATIENCE_MS);
    return socket;
}

static const char *
setting (const char *name)
{
    const char *value = getenv (name);
    if (!value)
        die (name, "is not set");
    return value;
}

//  Whoever binds and whoever connects show and want the same
static void
secure_vtx (run_t *run)
{
    static const char *option [] = { "tls.cert", "tls.key", "tls.ca" };
    static const char *file [] = { "cert.pem", "key.pem", "ca.pem" };
    for (int i = 0; strncmp (run->endpoint, "tls://", 6) == 0 && i < 3; i++) {
        char path [1024];
        snprintf (path, sizeof path, "%s/%s", setting ("BENCH_TLS"), file [i]);
        check_vtx (libvtx.setopt (run->vtx, NULL, option [i], path) == 0, option [i]);
    }
}

//  Returns the endpoint for libzmq
static const char *
secure_zmq (run_t *run, void *socket, int server)
{
    static char endpoint [1024];
    if (strncmp (run->endpoint, "curve://", 8) != 0)
        return run->endpoint;
    set (socket, ZMQ_CURVE_SERVER, server);
    const char *public = setting ("BENCH_CURVE_PUBLIC"), *secret = setting ("BENCH_CURVE_SECRET");
    check (zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, secret, strlen (secret)) == 0
        && zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, public, strlen (public)) == 0
        && (server || zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, public, strlen (public)) == 0), "CURVE");
    snprintf (endpoint, sizeof endpoint, "tcp://%s", run->endpoint + 8);
    return endpoint;
}

static void
bind_socket (run_t *run, void *socket)
{
    if (run->vtx)
        check_vtx (libvtx.bind (run->vtx, socket, run->endpoint) == 0, "vtx_bind");
    else
        check (zmq_bind (socket, secure_zmq (run, socket, 1)) == 0, "zmq_bind");
}

//  Clients can come from here on
static void
tell_endpoint (run_t *run, void *socket)
{
    char text [1024];
    size_t length = sizeof text;
    char *bound = text;
    if (run->vtx) {
        bound = libvtx.getmeta (run->vtx, socket, "endpoint");
        check_vtx (bound != NULL, "vtx_getmeta");
    }
    else
        check (zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, text, &length) == 0, "ZMQ_LAST_ENDPOINT");
    if (strncmp (run->endpoint, "curve://", 8) == 0)
        printf ("endpoint=curve%s\n", strchr (bound, ':'));
    else
        printf ("endpoint=%s\n", bound);
    fflush (stdout);
    if (bound != text)
        free (bound);
}

static void
connect_socket (run_t *run, void *socket)
{
    if (run->vtx)
        check_vtx (libvtx.connect (run->vtx, socket, run->endpoint) == 0, "vtx_connect");
    else
        check (zmq_connect (socket, secure_zmq (run, socket, 0)) == 0, "zmq_connect");
}

static void
close_socket (run_t *run, void *socket)
{
    if (run->vtx)
        check_vtx (libvtx.close (run->vtx, socket) == 0, "vtx_close");
    else
        check (zmq_close (socket) == 0, "zmq_close");
}

//  --------------------------------------------------------------------------
//  Messages a second

static long
clock_step (size_t size)
{
    return 1 + CLOCK_BYTES / (MESSAGE_BYTES + (long) size);
}

static void
send_all (run_t *run, void *socket)
{
    bind_socket (run, socket);
    tell_endpoint (run, socket);
    long count = 0, step = clock_step (run->size);
    double end = seconds_now () + run->seconds + BENCH_PATIENCE_MS / 1000.;
    do {
        for (long i = 0; i < step; i++) {
            stamp (body, run->size, count++);
            check (zmq_send (socket, body, run->size, 0) == (int) run->size, "zmq_send");
        }
    } while (seconds_now () < end);
}

static void
receive (run_t *run, void *socket, zmq_msg_t *message)
{
    check (zmq_msg_recv (message, socket, 0) >= 0, "zmq_msg_recv");
    if (zmq_msg_size (message) != run->size)
        die ("zmq_msg_recv", "a message of the wrong size");
}

static void
receive_all (run_t *run, void *socket)
{
    connect_socket (run, socket);
    long count = 0, step = clock_step (run->size);
    double start, spent;
    zmq_msg_t message;
    zmq_msg_init (&message);
    for (long i = 0; i < MESSAGES_BEFORE; i++)
        receive (run, socket, &message);
    start = seconds_now ();
    do {
        for (long i = 0; i < step; i++)
            receive (run, socket, &message);
        count += step;
        spent = seconds_now () - start;
    } while (spent < run->seconds);
    zmq_msg_close (&message);
    report ("received", run->size, count, spent);
}

//  --------------------------------------------------------------------------
//  Latency

static void
answer_all (run_t *run, void *socket)
{
    bind_socket (run, socket);
    tell_endpoint (run, socket);
    echo (socket, body);
}

static int
compare (const void *one, const void *other)
{
    float a = *(const float *) one, b = *(const float *) other;
    return (a > b) - (a < b);
}

static void
ask (run_t *run, void *socket)
{
    float *trip = malloc (TRIPS_MAX * sizeof *trip);
    check (trip != NULL, "malloc");
    connect_socket (run, socket);
    long count = -TRIPS_BEFORE;
    double start = 0, before = 0, now = 0;
    while (count < TRIPS_MAX && (count <= 0 || now - start < run->seconds)) {
        if (count == 0)
            start = before = seconds_now ();
        stamp (body, run->size, count);
        check (zmq_send (socket, body, run->size, 0) == (int) run->size, "zmq_send");
        int size = zmq_recv (socket, body, BENCH_MAX_SIZE, 0);
        check (size >= 0, "zmq_recv");
        if (size != (int) run->size)
            die ("zmq_recv", "a message of the wrong size");
        now = seconds_now ();
        if (count >= 0)
            trip [count] = (float) ((now - before) * 1e6);
        before = now;
        count++;
    }
    qsort (trip, (size_t) count, sizeof *trip, compare);
    report ("roundtrips", run->size, count, now - start);
    printf ("median=%.1f p99=%.1f\n", trip [count / 2], trip [count - 1 - count / 100]);
    free (trip);
}

//  --------------------------------------------------------------------------
//  One to many

//  Take what has arrived at a SUB. latest is the number of the last message, which the
//  publisher stamps on each.
static long
take_turn (run_t *run, void *socket, zmq_msg_t *message, long *latest)
{
    long count = 0;
    while (count < TURN_MESSAGES && zmq_msg_recv (message, socket, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_size (message) != run->size)
            die ("zmq_msg_recv", "a message of the wrong size");
        memcpy (latest, zmq_msg_data (message), sizeof *latest);
        count++;
    }
    check (count == TURN_MESSAGES || errno == EAGAIN, "zmq_msg_recv");
    return count;
}

//  Counts from when every SUB has had its first message. What was published meanwhile is the
//  distance between the newest messages that any SUB has seen then and at the end.
static void
subscribe (run_t *run, void *unused)
{
    (void) unused;
    if (run->size < sizeof (long))
        die ("pubsub", "a body needs 8 bytes for its number");
    zmq_pollitem_t *sub = calloc ((size_t) run->count, sizeof *sub);
    char *begun = calloc ((size_t) run->count, 1);
    check (sub && begun, "calloc");
    for (int i = 0; i < run->count; i++) {
        sub [i].socket = make_socket (run, ZMQ_SUB);
        sub [i].events = ZMQ_POLLIN;
        check (zmq_setsockopt (sub [i].socket, ZMQ_SUBSCRIBE, "", 0) == 0, "ZMQ_SUBSCRIBE");
        connect_socket (run, sub [i].socket);
    }
    int missing = run->count;
    long delivered = 0, newest = 0, oldest = 0;
    double start = seconds_now (), patience = start + BENCH_PATIENCE_MS / 1000., spent = 0;
    zmq_msg_t message;
    zmq_msg_init (&message);
    while (spent < run->seconds) {
        int counting = missing == 0;
        long taken = 0;
        for (int i = 0; i < run->count; i++) {
            long latest = 0, some = take_turn (run, sub [i].socket, &message, &latest);
            if (latest > newest)
                newest = latest;
            if (some > 0 && !begun [i]) {
                begun [i] = 1;
                missing--;
            }
            taken += some;
        }
        if (taken == 0)
            check (zmq_poll (sub, run->count, BENCH_SILENCE_MS) >= 0, "zmq_poll");
        double now = seconds_now ();
        if (counting) {
            delivered += taken;
            spent = now - start;
        }
        else {
            if (now > patience)
                die ("pubsub", "not every SUB received something");
            start = now;
            oldest = newest;
        }
    }
    zmq_msg_close (&message);
    if (newest <= oldest)
        die ("pubsub", "nothing was delivered");
    report ("delivered", run->size, delivered, spent);
    printf ("share=%.4f\n", (double) delivered / run->count / (newest - oldest));
    for (int i = 0; i < run->count; i++)
        close_socket (run, sub [i].socket);
    free (sub);
    free (begun);
}

//  --------------------------------------------------------------------------
//  Memory and threads

//  The number behind name in a file of /proc/self
static long
fact (const char *file, const char *name)
{
    char line [256];
    long value = -1;
    FILE *facts = fopen (file, "r");
    check (facts != NULL, file);
    while (value < 0 && fgets (line, sizeof line, facts))
        if (strncmp (line, name, strlen (name)) == 0)
            value = atol (line + strlen (name));
    fclose (facts);
    if (value < 0)
        die (file, name);
    return value;
}

static void
settle (void)
{
    struct timespec nap = { SETTLE_MS / 1000, SETTLE_MS % 1000 * 1000000 };
    nanosleep (&nap, NULL);
}

//  What the peerings take is the growth of memory that belongs to no file: pages of libraries
//  count as they are first used, whoever comes.
static void
weigh (run_t *run, void *socket)
{
    bind_socket (run, socket);
    settle ();
    long before = fact ("/proc/self/smaps_rollup", "Anonymous:");
    tell_endpoint (run, socket);
    zmq_msg_t message;
    zmq_msg_init (&message);
    for (int i = 0; i < 2 * run->count; i++) {          //  identity and word of each
        check (zmq_msg_recv (&message, socket, 0) >= 0, "zmq_msg_recv");
        check (zmq_msg_send (&message, socket, i % 2? 0: ZMQ_SNDMORE) >= 0, "zmq_msg_send");
    }
    settle ();
    long after = fact ("/proc/self/smaps_rollup", "Anonymous:");
    printf ("peerings=%d each=%.1f memory=%ld threads=%ld\n", run->count, (double) (after - before) / run->count,
        fact ("/proc/self/smaps_rollup", "Rss:"), fact ("/proc/self/status", "Threads:"));
    fflush (stdout);
    sleep (BENCH_PATIENCE_MS / 1000);
}

static void
stay (run_t *run, void *unused)
{
    (void) unused;
    void **peer = calloc ((size_t) run->count, sizeof *peer);
    check (peer != NULL, "calloc");
    for (int done = 0, i = 0; i < run->count; i++) {
        peer [i] = make_socket (run, ZMQ_DEALER);
        connect_socket (run, peer [i]);
        check (zmq_send (peer [i], body, run->size, 0) == (int) run->size, "zmq_send");
        if (i + 1 == run->count || (i + 1) % CONNECT_SLICE == 0)
            for (; done <= i; done++)
                check (zmq_recv (peer [done], body, BENCH_MAX_SIZE, 0) == (int) run->size, "zmq_recv");
    }
    sleep (BENCH_PATIENCE_MS / 1000);
    for (int i = 0; i < run->count; i++)
        close_socket (run, peer [i]);
    free (peer);
}

//  --------------------------------------------------------------------------

//  The harness ends it
static void
take_in (run_t *run, void *socket)
{
    bind_socket (run, socket);
    tell_endpoint (run, socket);
    sleep (BENCH_PATIENCE_MS / 1000);
}

static const struct {
    const char *name;
    int server;
    int client;             //  -1: it makes its sockets itself, and connects them
    void (*serve) (run_t *run, void *socket);
    void (*use) (run_t *run, void *socket);
} modes [] = {
    { "pushpull", ZMQ_PUSH, ZMQ_PULL, send_all, receive_all },
    { "reqrep", ZMQ_REP, ZMQ_REQ, answer_all, ask },
    { "pubsub", ZMQ_PUB, -1, send_all, subscribe },
    { "footprint", ZMQ_ROUTER, -1, weigh, stay },
    { "handshake", ZMQ_PULL, -1, take_in, NULL }
};

//  Each peering takes a descriptor, and a socket or two of one
static void
allow_many (void *ctx, int count)
{
    struct rlimit files;
    check (zmq_ctx_set (ctx, ZMQ_MAX_SOCKETS, ZMQ_MAX_SOCKETS_DFLT + 2 * count) == 0, "ZMQ_MAX_SOCKETS");
    check (getrlimit (RLIMIT_NOFILE, &files) == 0, "getrlimit");
    files.rlim_cur = files.rlim_max;
    check (setrlimit (RLIMIT_NOFILE, &files) == 0, "setrlimit");
}

int
main (int argc, char *argv [])
{
    size_t mode = 0, known = sizeof modes / sizeof modes [0];
    while (argc > 2 && mode < known && strcmp (argv [2], modes [mode].name) != 0)
        mode++;
    int vtx = argc > 1 && strcmp (argv [1], "vtx") == 0;
    int zmq = argc > 1 && strcmp (argv [1], "zmq") == 0;
    int server = argc > 3 && strcmp (argv [3], "server") == 0;
    int client = argc > 3 && strcmp (argv [3], "client") == 0;
    if (argc == 2 && strcmp (argv [1], "keys") == 0) {
        char public [41], secret [41];
        check (zmq_curve_keypair (public, secret) == 0, "zmq_curve_keypair");
        printf ("%s %s\n", public, secret);
        return 0;
    }
    if (!(vtx || zmq) || mode == known || !(server || (client && modes [mode].use)) || argc < 7 || argc > 8) {
        fputs ("usage: stream_perf keys, or stream_perf vtx|zmq pushpull|reqrep|pubsub|footprint|handshake server|client "
               "ENDPOINT SIZE SECONDS [COUNT]\n", stderr);
        return 1;
    }
    run_t run = { .endpoint = argv [4] };
    run.size = (size_t) number (argv [5], 1, BENCH_MAX_SIZE);
    run.seconds = number (argv [6], 0.01, 3600);
    run.count = argc > 7? (int) number (argv [7], 1, COUNT_MAX): 1;

    run.ctx = zmq_ctx_new ();
    check (run.ctx != NULL, "zmq_ctx_new");
    if (run.count > 1)
        allow_many (run.ctx, run.count);
    if (vtx) {
        load_vtx ();
        run.vtx = libvtx.new_raw (run.ctx);
        check_vtx (run.vtx != NULL, "vtx_new_raw");
        secure_vtx (&run);
    }
    int type = server? modes [mode].server: modes [mode].client;
    void *socket = type >= 0? make_socket (&run, type): NULL;
    if (server)
        modes [mode].serve (&run, socket);
    else
        modes [mode].use (&run, socket);
    fflush (stdout);
    if (socket)
        close_socket (&run, socket);
    if (run.vtx)
        libvtx.destroy (&run.vtx);
    zmq_ctx_term (run.ctx);
    return 0;
}
