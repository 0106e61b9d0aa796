/*  Bad input: each gives -1 or NULL, the right errno and a sentence; the program goes on. */

#include <errno.h>
#include <sys/mman.h>
#include <vtx.h>
#include "check.h"

static void *zmq;
static vtx_t *vtx;
static void *socket_;

//  Every call that takes a socket, as one expression that is true if all failed so
#define ALL_CALLS_FAIL(vtx, socket, number, words) \
    do { \
        FAILS (vtx_bind (vtx, socket, "udp://127.0.0.1:*") == -1, number, words); \
        FAILS (vtx_unbind (vtx, socket, "udp://127.0.0.1:1") == -1, number, words); \
        FAILS (vtx_connect (vtx, socket, "udp://127.0.0.1:1") == -1, number, words); \
        FAILS (vtx_disconnect (vtx, socket, "udp://127.0.0.1:1") == -1, number, words); \
        FAILS (vtx_getmeta (vtx, socket, "endpoint") == NULL, number, words); \
        FAILS (vtx_monitor (vtx, socket, "inproc://news", ZMQ_EVENT_ALL) == -1, number, words); \
        FAILS (vtx_close (vtx, socket) == -1, number, words); \
    } while (0)

static void
null_pointers (void)
{
    FAILS (vtx_new_raw (NULL) == NULL, EINVAL, "context");
    FAILS (vtx_socket (NULL, ZMQ_REQ) == NULL, EINVAL, "NULL");
    FAILS (vtx_register (NULL, "udp", vtx_udp_driver) == -1, EINVAL, "NULL");
    FAILS (vtx_setopt (NULL, NULL, "udp.broadcast", "x") == -1, EINVAL, "NULL");
    ALL_CALLS_FAIL (NULL, socket_, EINVAL, "vtx_t");
    ALL_CALLS_FAIL (vtx, NULL, ENOTSOCK, "NULL");

    FAILS (vtx_bind (vtx, socket_, NULL) == -1, EINVAL, "endpoint is NULL");
    FAILS (vtx_unbind (vtx, socket_, NULL) == -1, EINVAL, "endpoint is NULL");
    FAILS (vtx_connect (vtx, socket_, NULL) == -1, EINVAL, "endpoint is NULL");
    FAILS (vtx_disconnect (vtx, socket_, NULL) == -1, EINVAL, "endpoint is NULL");
    FAILS (vtx_monitor (vtx, socket_, NULL, ZMQ_EVENT_ALL) == -1, EINVAL, "endpoint is NULL");
    FAILS (vtx_register (vtx, NULL, vtx_udp_driver) == -1, EINVAL, "scheme is NULL");
    FAILS (vtx_register (vtx, "lan", NULL) == -1, EINVAL, "driver is NULL");
    FAILS (vtx_setopt (vtx, NULL, NULL, "x") == -1, EINVAL, "name is NULL");
    FAILS (vtx_setopt (vtx, NULL, "udp.broadcast", NULL) == -1, EINVAL, "value is NULL");
    FAILS (vtx_getmeta (vtx, socket_, NULL) == NULL, EINVAL, "name is NULL");
    FAILS (vtx_getmeta (vtx, NULL, NULL) == NULL, EINVAL, "name is NULL");
    char *all = vtx_getmeta (vtx, NULL, "stats");   //  Of all sockets
    CHECK (all && strstr (all, "\"messages_in\":0"));
    free (all);

    vtx_destroy (NULL);
    vtx_t *none = NULL;
    vtx_destroy (&none);
    int minor = -1;
    vtx_version (NULL, &minor, NULL);
    CHECK (minor == VTX_VERSION_MINOR);
}

static void
wild_pointers (void)
{
    //  Nothing there, odd, unreadable, the last word before nothing, and plain data
    long page = sysconf (_SC_PAGESIZE);
    char *memory = (char *) mmap (NULL, (size_t) page * 2, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK (memory != MAP_FAILED);
    mprotect (memory + page, (size_t) page, PROT_NONE);
    static char data [8192];
    void *wild [] = {
        (void *) 1, (void *) 8, (void *) 4095, (void *) -1, (void *) -8,
        (void *) 0xdeadbeefdeadbee8, memory + page, memory + page - 8, memory + page - 64,
        memory + 1, memory, data, (void *) &null_pointers, stdout
    };
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        ALL_CALLS_FAIL (vtx, wild [i], ENOTSOCK, "0x");
        FAILS (vtx_setopt (vtx, wild [i], "udp.broadcast", "127.255.255.255") == -1, ENOTSOCK, "0x");
        ALL_CALLS_FAIL ((vtx_t *) wild [i], socket_, EINVAL, "vtx_t");
        FAILS (vtx_socket ((vtx_t *) wild [i], ZMQ_REQ) == NULL, EINVAL, "vtx_t");
        FAILS (vtx_new_raw (wild [i]) == NULL, EINVAL, "context");
        FAILS (vtx_new ((zctx_t *) wild [i]) == NULL, EINVAL, "zctx_t");
        vtx_t *other = (vtx_t *) wild [i];
        vtx_destroy (&other);
        CHECK (other == NULL);
    }
    //  Good pointers of the wrong kind
    ALL_CALLS_FAIL (vtx, zmq, ENOTSOCK, "socket");
    ALL_CALLS_FAIL (vtx, vtx, ENOTSOCK, "socket");
    ALL_CALLS_FAIL ((vtx_t *) zmq, socket_, EINVAL, "vtx_t");
    FAILS (vtx_new_raw (socket_) == NULL, EINVAL, "context");
    FAILS (vtx_new ((zctx_t *) zmq) == NULL, EINVAL, "zctx_t");
    munmap (memory, (size_t) page * 2);
}

static void
gone (void)
{
    //  A manager that was destroyed, also through a second pointer to it
    vtx_t *first = vtx_new_raw (zmq);
    CHECK (first != NULL);
    vtx_t *second = first;
    vtx_destroy (&first);
    CHECK (first == NULL);
    FAILS (vtx_socket (second, ZMQ_REQ) == NULL, EINVAL, "destroyed");
    ALL_CALLS_FAIL (second, socket_, EINVAL, "destroyed");
    vtx_destroy (&second);

    //  Sockets that were closed
    void *socket = zmq_socket (zmq, ZMQ_REQ);
    zmq_close (socket);
    pause_ms (100);
    ALL_CALLS_FAIL (vtx, socket, ENOTSOCK, "not an open socket");
    socket = zmq_socket (zmq, ZMQ_REQ);
    CHECK (vtx_close (vtx, socket) == 0);
    pause_ms (100);
    FAILS (vtx_close (vtx, socket) == -1, ENOTSOCK, "not an open socket");

    //  A context that has ended
    void *ended = zmq_ctx_new ();
    zmq_ctx_term (ended);
    FAILS (vtx_new_raw (ended) == NULL, EINVAL, "context");
    zctx_t *zctx = zctx_new ();
    zctx_t *stale = zctx;
    zctx_destroy (&zctx);
    FAILS (vtx_new (stale) == NULL, EINVAL, "zctx_t");
    CHECK (zctx_shadow (stale) == NULL && errno == EINVAL);
    CHECK (zsocket_new (stale, ZMQ_REQ) == NULL && errno == EINVAL);
    zctx_set_linger (stale, 1);
    zctx_destroy (&stale);
    zctx_destroy (&stale);
    zctx_destroy (NULL);
}

static void
endpoints (void)
{
    static const struct {
        const char *endpoint;
        int number;
        const char *words;
    } table [] = {
        { "", EINVAL, "://" },
        { "udp", EINVAL, "udp" },
        { "udp:127.0.0.1:1", EINVAL, "://" },
        { "://127.0.0.1:1", EINVAL, "scheme" },
        { "UDP://127.0.0.1:1", EINVAL, "scheme" },
        { "ud p://127.0.0.1:1", EINVAL, "scheme" },
        { "udp://127.0.0.1:1 ", EINVAL, "port" },
        { "udp://127.0.0.1:1\n", EINVAL, "byte" },
        { "udp://\x01\x02", EINVAL, "byte" },
        { "udp://\xff\xfe:1", EINVAL, "character" },
        { "udp://127.0.0.1", EINVAL, "127.0.0.1" },
        { "udp://127.0.0.1:", EINVAL, "127.0.0.1" },
        { "udp://127.0.0.1:port", EINVAL, "port" },
        { "udp://127.0.0.1:-1", EINVAL, "port" },
        { "udp://127.0.0.1:+1", EINVAL, "port" },
        { "udp://127.0.0.1:65536", EINVAL, "65535" },
        { "udp://127.0.0.1:4294967297", EINVAL, "port" },
        { "udp://127.0.0.1:99999999999999999999", EINVAL, "port" },
        { "udp://[::1:5", EINVAL, "[::1" },
        { "udp://::1:5", EINVAL, "::1" },
        { "udp://127.0.0.1:1?nonsense=1", EINVAL, "nonsense" },
        { "udp://127.0.0.1:1?nonsense", EINVAL, "nonsense" },
        { "udp://127.0.0.1:1?broadcast=%zz", EINVAL, "broadcast" },
        { "udp://127.0.0.1:%s%n%d", EINVAL, "%s%n%d" },
        { "nosuch://127.0.0.1:1", ENOPROTOOPT, "nosuch" },
        { "tcpx://*:1", ENOPROTOOPT, "tcpx" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        FAILS (vtx_bind (vtx, socket_, table [i].endpoint) == -1, table [i].number, table [i].words);
        FAILS (vtx_connect (vtx, socket_, table [i].endpoint) == -1, table [i].number, table [i].words);
    }
    static char longest [100000];
    memset (longest, 'x', sizeof longest - 1);
    memcpy (longest, "udp://", 6);
    FAILS (vtx_bind (vtx, socket_, longest) == -1, EINVAL, "long");
    FAILS (vtx_bind (vtx, socket_, "udp://%s:1", longest) == -1, EINVAL, "long");
    FAILS (vtx_connect (vtx, socket_, "udp://%s:1", longest) == -1, EINVAL, "long");
    FAILS (vtx_register (vtx, longest, vtx_udp_driver) == -1, EINVAL, "long");
    FAILS (vtx_setopt (vtx, NULL, longest, "1") == -1, EINVAL, "long");
    FAILS (vtx_getmeta (vtx, socket_, longest) == NULL, EINVAL, "long");
    longest [1025] = 0;
    FAILS (vtx_connect (vtx, socket_, longest) == -1, EINVAL, "");
    for (const char *c = vtx_error (); *c; c++)
        CHECK (*c >= ' ' && *c != 0x7f);

    FAILS (vtx_unbind (vtx, socket_, "udp://127.0.0.1:1") == -1, ENOENT, "127.0.0.1:1");
    FAILS (vtx_disconnect (vtx, socket_, "udp://127.0.0.1:1") == -1, ENOENT, "127.0.0.1:1");
    //  A name that nobody knows: refused here, while a connect would try again
    FAILS (vtx_bind (vtx, socket_, "udp://no-such-host.invalid:*") == -1, ENODEV, "no-such-host");
    //  An address that is not ours, and one that is taken
    FAILS (vtx_bind (vtx, socket_, "udp://192.0.2.1:*") == -1, EADDRNOTAVAIL, "192.0.2.1");
    void *server = vtx_socket (vtx, ZMQ_REP);
    BIND_ANY (vtx, server);
    char *endpoint = vtx_getmeta (vtx, server, "endpoint");
    CHECK (endpoint != NULL);
    FAILS (vtx_bind (vtx, socket_, endpoint) == -1, EADDRINUSE, endpoint);
    free (endpoint);
    CHECK (vtx_close (vtx, server) == 0);
}

static void
other_arguments (void)
{
    FAILS (vtx_socket (vtx, -1) == NULL, ENOTSUP, "type");
    FAILS (vtx_socket (vtx, ZMQ_STREAM) == NULL, ENOTSUP, "type");
    FAILS (vtx_socket (vtx, 12345) == NULL, ENOTSUP, "type");
    void *stream = zmq_socket (zmq, ZMQ_STREAM);
    FAILS (vtx_bind (vtx, stream, "udp://127.0.0.1:*") == -1, ENOTSUP, "type");
    zmq_close (stream);

    FAILS (vtx_setopt (vtx, NULL, "no.such.option", "1") == -1, EINVAL, "no.such.option");
    FAILS (vtx_setopt (vtx, socket_, "no.such.option", "1") == -1, EINVAL, "no.such.option");
    FAILS (vtx_setopt (vtx, NULL, "udp.broadcast", "not an address") == -1, EINVAL, "udp.broadcast");
    FAILS (vtx_getmeta (vtx, socket_, "nonsense") == NULL, EINVAL, "nonsense");
    FAILS (vtx_monitor (vtx, socket_, "tcp://127.0.0.1:*", ZMQ_EVENT_ALL) == -1, EINVAL, "inproc");

    //  Schemes: the first registration of each counts, aliases included
    CHECK (vtx_register (vtx, "udp", vtx_udp_driver) == 0);
    FAILS (vtx_register (vtx, "udp", vtx_udp_driver) == -1, ENOTUNIQ, "udp");
    CHECK (vtx_register (vtx, "lan", vtx_udp_driver) == 0);
    FAILS (vtx_register (vtx, "lan", vtx_udp_driver) == -1, ENOTUNIQ, "lan");
    FAILS (vtx_register (vtx, "LAN", vtx_udp_driver) == -1, EINVAL, "scheme");
    FAILS (vtx_register (vtx, "", vtx_udp_driver) == -1, EINVAL, "scheme");
    FAILS (vtx_register (vtx, "l n", vtx_udp_driver) == -1, EINVAL, "scheme");

    //  A socket of another context
    void *foreign = zmq_ctx_new ();
    void *socket = zmq_socket (foreign, ZMQ_REP);
    FAILS (vtx_bind (vtx, socket, "udp://127.0.0.1:*") == -1, EINVAL, "context");
    zmq_close (socket);
    zmq_ctx_term (foreign);
}

static void *
other_thread (void *arg)
{
    (void) arg;
    CHECK (strcmp (vtx_error (), "") == 0);
    FAILS (vtx_bind (vtx, NULL, "udp://127.0.0.1:*") == -1, ENOTSOCK, "NULL");
    return NULL;
}

static void
sentences (void)
{
    //  Each thread has its own, and a success does not clear it
    FAILS (vtx_bind (vtx, socket_, "nosuch://x") == -1, ENOPROTOOPT, "nosuch");
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, other_thread, NULL) == 0);
    pthread_join (thread, NULL);
    CHECK (strstr (vtx_error (), "nosuch"));
}

int
main (int argc, char **argv)
{
    watchdog (60);
    CHECK (strcmp (vtx_error (), "") == 0);
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx != NULL);
    socket_ = zmq_socket (zmq, ZMQ_REP);
    static const struct {
        const char *name;
        void (*run) (void);
    } tests [] = {
        { "null", null_pointers }, { "wild", wild_pointers }, { "gone", gone },
        { "endpoints", endpoints }, { "other", other_arguments }, { "sentences", sentences }
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc > 1 && strcmp (argv [1], tests [i].name) == 0) {
            tests [i].run ();
            //  Nothing of it has hurt the manager or the socket
            void *client = vtx_socket (vtx, ZMQ_REQ);
            CHECK (client != NULL);
            limit_wait (client, 20000);
            limit_wait (socket_, 20000);
            BIND_ANY (vtx, socket_);
            CONNECT_TO (vtx, client, vtx, socket_);
            ROUND_TRIP (client, socket_);
            CHECK (vtx_close (vtx, client) == 0);
            CHECK (vtx_close (vtx, socket_) == 0);
            vtx_destroy (&vtx);
            CHECK (zmq_ctx_term (zmq) == 0);
            return 0;
        }
    return 2;
}
