/*  How fast plain libzmq sockets are over a VTX endpoint. Server and client are processes
    of their own. The server binds, prints the endpoint that it got, and in the one-way
    modes waits for its clients and sends.

    vtx_perf MODE server ENDPOINT SIZE SECONDS [RATE [CLIENTS]]
    vtx_perf MODE client ENDPOINT SIZE SECONDS

    MODE        reqrep      the client counts round trips; the server runs until killed
                pushpull    each message goes to one of the clients
                pubsub      each message goes to all of them; the server waits for the slowest
                            at its high-water mark, since a PUB would throw away most of a flood
    ENDPOINT    udp://127.0.0.1:* and the like to bind, what the server printed to connect
    SIZE        of a body, in bytes
    SECONDS     how long; a client of a one-way mode counts until silence instead
    RATE        of sending, in messages a second; 0, the default, is as fast as it can
    CLIENTS     how many to wait for: 1 by default
*/

#include <vtx.h>
#include "sockets.h"

typedef struct {
    const char *name;
    int server;
    int client;
} pattern_t;

static const pattern_t modes [] = {
    { "reqrep", ZMQ_REP, ZMQ_REQ },
    { "pushpull", ZMQ_PUSH, ZMQ_PULL },
    { "pubsub", ZMQ_PUB, ZMQ_SUB }
};

static char *body;

static void
check_vtx (int ok, const char *what)
{
    if (!ok)
        die (what, vtx_error ());
}

//  The first round trip also finds the peer, and is not counted
static void
ask (void *socket, size_t size, double seconds)
{
    set (socket, ZMQ_RCVTIMEO, BENCH_PATIENCE_MS);
    long count = -1;
    double start = 0, spent = 0;
    while (count < 0 || spent < seconds) {
        stamp (body, size, count);
        check (zmq_send (socket, body, size, 0) == (int) size, "zmq_send");
        check (zmq_recv (socket, body, BENCH_MAX_SIZE, 0) == (int) size, "zmq_recv");
        if (++count == 0)
            start = seconds_now ();
        spent = seconds_now () - start;
    }
    report ("roundtrips", size, count, spent);
}

static void
await_clients (vtx_t *vtx, void *socket, int clients)
{
    double start = seconds_now ();
    int peers = 0;
    while (peers < clients) {
        if (seconds_now () - start > BENCH_PATIENCE_MS / 1000)
            die ("server", "not all clients came");
        struct timespec nap = { 0, 2000000 };
        nanosleep (&nap, NULL);
        char *text = vtx_getmeta (vtx, socket, "peers");
        check_vtx (text != NULL, "vtx_getmeta");
        peers = atoi (text);
        free (text);
    }
}

static void
send_all (void *socket, size_t size, double seconds, double rate)
{
    long count = 0;
    double start = seconds_now (), spent;
    while ((spent = seconds_now () - start) < seconds) {
        pace (start, count, rate);
        stamp (body, size, count);
        check (zmq_send (socket, body, size, 0) == (int) size, "zmq_send");
        count++;
    }
    report ("sent", size, count, spent);
}

static void
receive_all (void *socket, size_t size)
{
    set (socket, ZMQ_RCVTIMEO, BENCH_PATIENCE_MS);
    long count = 0;
    double first = 0, latest = 0;
    int rc;
    while ((rc = zmq_recv (socket, body, BENCH_MAX_SIZE, 0)) == (int) size) {
        latest = seconds_now ();
        if (count++ == 0) {
            first = latest;
            set (socket, ZMQ_RCVTIMEO, BENCH_SILENCE_MS);
        }
    }
    if (rc >= 0)
        die ("zmq_recv", "a message of the wrong size");
    check (errno == EAGAIN && count > 0, "zmq_recv");
    report ("received", size, count, latest - first);
}

int
main (int argc, char *argv [])
{
    const pattern_t *mode = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof modes [0]; i++)
        if (strcmp (argv [1], modes [i].name) == 0)
            mode = &modes [i];
    int server = argc > 2 && strcmp (argv [2], "server") == 0;
    int client = argc > 2 && strcmp (argv [2], "client") == 0;
    if (!mode || !(server || client) || argc < 6 || argc > (server? 8: 6)) {
        fputs ("usage: vtx_perf reqrep|pushpull|pubsub server ENDPOINT SIZE SECONDS [RATE [CLIENTS]]\n"
               "       vtx_perf reqrep|pushpull|pubsub client ENDPOINT SIZE SECONDS\n", stderr);
        return 1;
    }
    const char *endpoint = argv [3];
    size_t size = (size_t) number (argv [4], 0, BENCH_MAX_SIZE);
    double seconds = number (argv [5], 0.01, 3600);
    double rate = argc > 6? number (argv [6], 0, 1e9): 0;
    int clients = argc > 7? (int) number (argv [7], 1, 1000): 1;

    body = (char *) calloc (1, BENCH_MAX_SIZE);
    void *ctx = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (ctx);
    check_vtx (vtx != NULL, "vtx_new_raw");
    void *socket = zmq_socket (ctx, server? mode->server: mode->client);
    check (body && socket, "zmq_socket");
    set (socket, ZMQ_LINGER, 2000);
    if (mode->server == ZMQ_PUB && server)
        set (socket, ZMQ_XPUB_NODROP, 1);
    if (mode->client == ZMQ_SUB && client)
        check (zmq_setsockopt (socket, ZMQ_SUBSCRIBE, "", 0) == 0, "ZMQ_SUBSCRIBE");

    if (server) {
        check_vtx (vtx_bind (vtx, socket, endpoint) == 0, "vtx_bind");
        char *bound = vtx_getmeta (vtx, socket, "endpoint");
        check_vtx (bound != NULL, "vtx_getmeta");
        printf ("endpoint=%s\n", bound);
        fflush (stdout);
        free (bound);
        if (mode->server == ZMQ_REP)
            echo (socket, body);
        await_clients (vtx, socket, clients);
        send_all (socket, size, seconds, rate);
    }
    else {
        check_vtx (vtx_connect (vtx, socket, endpoint) == 0, "vtx_connect");
        if (mode->client == ZMQ_REQ)
            ask (socket, size, seconds);
        else
            receive_all (socket, size);
    }
    vtx_close (vtx, socket);
    vtx_destroy (&vtx);
    zmq_ctx_term (ctx);
    free (body);
    return 0;
}
