/*  Peers that go at any moment, in a program that SIGPIPE would end, or that counts it: whatever the library is about to
    write then, there is none.

    Between a client and a server of ours stands a relay that cuts the connection after so many bytes: in the greeting, in a
    handshake of TLS or SASL, in a refusal, between messages.
*/

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <vtx.h>
#include "check.h"

enum { CUTS = 50, CLOSES = 20, PIECES = 20, WAYS = 3, FOREVER = 1 << 30 };

static void *zmq;
static vtx_t *vtx;
static const char *scheme;
static int secure, login, local;        //  what the scheme has


//  --------------------------------------------------------------------------
//  Two ends

typedef struct {
    int type;                   //  the client's; the server is a DEALER
    const char *domain;         //  ZMQ_ZAP_DOMAIN of the server
    int plain;                  //  the server wants libzmq's PLAIN
    const char *password;       //  the client's
} story_t;

static void *server, *client;
static int listener;                    //  the relay's
static struct sockaddr_storage target;  //  the server's address
static socklen_t target_size;

static void *
member (int type)
{
    void *socket = vtx_socket (vtx, type);
    CHECK (socket);
    set_linger (socket, 0);
    int soon = 1;
    zmq_setsockopt (socket, ZMQ_RECONNECT_IVL, &soon, sizeof soon);
    return socket;
}

static void
serve (const story_t *story)
{
    server = member (ZMQ_DEALER);
    if (story->domain)
        zmq_setsockopt (server, ZMQ_ZAP_DOMAIN, story->domain, strlen (story->domain));
    int on = 1;
    if (story->plain)
        zmq_setsockopt (server, ZMQ_PLAIN_SERVER, &on, sizeof on);
    if (secure) {
        CHECK (vtx_setopt (vtx, server, "tls.cert", "server.pem") == 0);
        CHECK (vtx_setopt (vtx, server, "tls.key", "server.key") == 0);
    }
    if (login)
        CHECK (vtx_setopt (vtx, server, "sasl.verifiers", "vtx.passwd") == 0);
    char where [64];
    snprintf (where, sizeof where, local? "%s://server": "%s://127.0.0.1:*", scheme);
    CHECK (vtx_bind (vtx, server, where) == 0);
    if (local) {
        struct sockaddr_un *to = (struct sockaddr_un *) &target;
        *to = (struct sockaddr_un) { .sun_family = AF_UNIX, .sun_path = "server" };
        target_size = sizeof *to;
        return;
    }
    char *found = vtx_getmeta (vtx, server, "endpoint");
    CHECK (found);
    struct sockaddr_in *to = (struct sockaddr_in *) &target;
    *to = (struct sockaddr_in) { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK),
        .sin_port = htons ((uint16_t) atoi (strrchr (found, ':') + 1)) };
    target_size = sizeof *to;
    free (found);
}

//  To the relay
static void
join (const story_t *story)
{
    client = member (story->type);
    if (secure)
        CHECK (vtx_setopt (vtx, client, "tls.ca", "ca.pem") == 0);
    if (login) {
        zmq_setsockopt (client, ZMQ_PLAIN_USERNAME, "alice", 5);
        zmq_setsockopt (client, ZMQ_PLAIN_PASSWORD, story->password, strlen (story->password));
    }
    char where [64];
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    if (local)
        snprintf (where, sizeof where, "%s://relay", scheme);
    else {
        CHECK (getsockname (listener, (struct sockaddr *) &at, &size) == 0);
        snprintf (where, sizeof where, "%s://127.0.0.1:%d", scheme, ntohs (at.sin_port));
    }
    CHECK (vtx_connect (vtx, client, where) == 0);
}

//  Says something at both ends and hears what there is; returns how many messages came
static int
talk (void)
{
    char body [500] = "";
    int heard = 0;
    if (client) {
        zmq_send (client, body, sizeof body, ZMQ_DONTWAIT);
        heard += zmq_recv (client, body, sizeof body, ZMQ_DONTWAIT) >= 0;
    }
    zmq_send (server, body, sizeof body, ZMQ_DONTWAIT);
    return heard + (zmq_recv (server, body, sizeof body, ZMQ_DONTWAIT) >= 0);
}


//  --------------------------------------------------------------------------
//  The relay

static void
open_relay (void)
{
    if (local) {
        struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "relay" };
        listener = socket (AF_UNIX, SOCK_STREAM, 0);
        CHECK (bind (listener, (struct sockaddr *) &at, sizeof at) == 0);
    }
    else {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
        listener = socket (AF_INET, SOCK_STREAM, 0);
        CHECK (bind (listener, (struct sockaddr *) &at, sizeof at) == 0);
    }
    CHECK (listen (listener, 10) == 0);
}

static void
close_relay (void)
{
    close (listener);
    if (local)
        unlink ("relay");
}

static int
readable (int fd, int msecs)
{
    struct pollfd look = { .fd = fd, .events = POLLIN };
    return poll (&look, 1, msecs) > 0;
}

//  The next connection, to both ends
static void
meet (int ends [2])
{
    while (!readable (listener, 1))
        talk ();
    ends [0] = accept (listener, NULL, NULL);
    ends [1] = socket (target.ss_family, SOCK_STREAM, 0);
    CHECK (ends [0] >= 0 && connect (ends [1], (struct sockaddr *) &target, target_size) == 0);
}

//  Pass on up to so many bytes, in so many pieces, until so many messages have come or an end has closed; returns the bytes
static int
pass (int ends [2], int most, int pieces, int messages)
{
    char buffer [4096];
    for (int passed = 0, still = 0;;) {
        messages -= talk ();
        int before = passed;
        for (int i = 0; i < 2; i++) {
            if (!readable (ends [i], still > 0))
                continue;
            size_t room = (size_t) (most - passed);
            ssize_t got = recv (ends [i], buffer, room < sizeof buffer? room: sizeof buffer, 0);
            if (got <= 0)
                return passed;
            send (ends [1 - i], buffer, (size_t) got, MSG_NOSIGNAL);
            passed += (int) got;
            if (passed == most || --pieces == 0)
                return passed;
        }
        if (messages <= 0)
            return passed;
        still = passed == before? still + 1: 0;
        if (still > 2000)       //  both wait: for a pause that is ours to make
            return passed;
    }
}

//  The ways to go: by a reset; by an end and a reset, after which the first that is written there raises the signal; by an
//  end, and a reset when both have said more
static void
cut (int ends [2], int way)
{
    for (int i = 0; i < 2; i++) {
        struct linger none = { 1, 0 };
        if (way < 2)
            setsockopt (ends [i], SOL_SOCKET, SO_LINGER, &none, sizeof none);
        if (way > 0)
            shutdown (ends [i], SHUT_WR);
    }
    if (way == 2) {
        readable (ends [0], 1);
        readable (ends [1], 1);
    }
    close (ends [0]);
    close (ends [1]);
    for (int i = 0; i < 5; i++)
        talk ();
}


//  --------------------------------------------------------------------------
//  What happens

static void
go_at_any_moment (const story_t *story, int cuts)
{
    int ends [2];
    open_relay ();
    serve (story);
    join (story);
    meet (ends);
    int whole = pass (ends, FOREVER, FOREVER, 6);
    CHECK (whole > 64);
    cut (ends, 0);
    for (int i = 0; i < cuts; i++)
        for (int way = 0; way < WAYS; way++) {
            meet (ends);
            if (i < PIECES)
                pass (ends, FOREVER, i + 1, FOREVER);
            else
                pass (ends, 1 + (int) ((long) whole * (i - PIECES) / (cuts - PIECES)), FOREVER, FOREVER);
            cut (ends, way);
        }
    CHECK (vtx_close (vtx, client) == 0);
    client = NULL;
    CHECK (vtx_close (vtx, server) == 0);
    close_relay ();
}

//  One end closes, before or after the other has gone
static void
close_and_go (const story_t *story)
{
    int ends [2];
    open_relay ();
    serve (story);
    for (int i = 0; i < CLOSES; i++) {
        join (story);
        meet (ends);
        pass (ends, FOREVER, FOREVER, 4);
        for (int n = 0; n < 100; n++)
            talk ();
        if (i % 2)
            cut (ends, i / 2 % WAYS);
        CHECK (vtx_close (vtx, client) == 0);
        client = NULL;
        if (i % 2 == 0)
            cut (ends, i / 2 % WAYS);
        //  What it had begun anew is over
        while (readable (listener, 0))
            close (accept (listener, NULL, NULL));
    }
    CHECK (vtx_close (vtx, server) == 0);
    close_relay ();
}

//  Denies all
static void *
zap_thread (void *handler)
{
    char id [256];
    for (;;) {
        int more = 1, size = 0;
        for (int frame = 0; more && size != -1; frame++) {
            char other [256];
            int got = zmq_recv (handler, frame == 1? id: other, 255, 0);
            size = frame == 1 || got == -1? got: size;
            size_t length = sizeof more;
            zmq_getsockopt (handler, ZMQ_RCVMORE, &more, &length);
        }
        if (size == -1)
            break;
        zmq_send (handler, "1.0", 3, ZMQ_SNDMORE);
        zmq_send (handler, id, (size_t) size, ZMQ_SNDMORE);
        zmq_send (handler, "400", 3, ZMQ_SNDMORE);
        zmq_send (handler, "No", 2, ZMQ_SNDMORE);
        zmq_send (handler, "", 0, ZMQ_SNDMORE);
        zmq_send (handler, "", 0, 0);
    }
    zmq_close (handler);
    return NULL;
}

static void
streams (void)
{
    const story_t good = { .type = ZMQ_DEALER, .password = "pencil" };
    const story_t wrong_type = { .type = ZMQ_PUB, .password = "pencil" };
    const story_t wrong_mechanism = { .type = ZMQ_DEALER, .plain = 1 };
    const story_t denied = { .type = ZMQ_DEALER, .domain = "nowhere" };
    const story_t wrong_password = { .type = ZMQ_DEALER, .password = "crayon" };
    go_at_any_moment (&good, CUTS);
    go_at_any_moment (&wrong_type, CUTS);
    close_and_go (&good);
    if (login) {
        go_at_any_moment (&wrong_password, 1);  //  who guesses has to wait
        return;
    }
    go_at_any_moment (&wrong_mechanism, CUTS);
    void *handler = zmq_socket (zmq, ZMQ_REP);
    CHECK (zmq_bind (handler, "inproc://zeromq.zap.01") == 0);
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, zap_thread, handler) == 0);
    go_at_any_moment (&denied, CUTS);
    vtx_destroy (&vtx);
    zmq_ctx_shutdown (zmq);             //  ends the handler
    pthread_join (thread, NULL);
}

//  Datagrams to nobody, of whom the system tells; and a life with them
static void
datagrams (void)
{
    for (int i = 0; i < 20; i++) {
        void *peer = member (ZMQ_DEALER), *lonely = member (ZMQ_DEALER);
        BIND_ANY (vtx, peer);
        CONNECT_TO (vtx, lonely, vtx, peer);
        say (lonely, "hello");
        limit_wait (peer, 20000);
        CHECK (hears (peer, "hello"));
        CHECK (vtx_close (vtx, peer) == 0);
        for (int n = 0; n < 20; n++) {
            zmq_send (lonely, "still there?", 12, ZMQ_DONTWAIT);
            pause_ms (1);
        }
        CHECK (vtx_close (vtx, lonely) == 0);
        live (vtx);
    }
}

static void
make_secrets (void)
{
    static const char *commands [] = {
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -keyout ca.key -out ca.pem",
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server"
            " -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.csr",
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -out server.pem",
        "echo pencil | " VTX_PASSWD " add alice"
    };
    for (size_t i = secure? 0: 3; i < (login? 4: 3); i++) {
        char line [512];
        snprintf (line, sizeof line, "{ %s; } > log 2>&1 || { cat log; exit 1; }", commands [i]);
        CHECK (system (line) == 0);
    }
}

static volatile sig_atomic_t signals;

static void
count (int number)
{
    (void) number;
    signals++;
}

int
main (int argc, char *argv [])
{
    CHECK (argc == 3);
    scheme = argv [1];
    secure = strstr (scheme, "tls") != NULL;
    login = strstr (scheme, "sasl") != NULL;
    local = strcmp (scheme, "ipc") == 0;
    watchdog (280);
    char dir [] = "/tmp/vtx-test-sigpipe.XXXXXX";
    CHECK (mkdtemp (dir) && chdir (dir) == 0);
    make_secrets ();

    //  Before and after: neither is to depend on what Go, or the library, found or left
    struct sigaction how = { .sa_handler = SIG_DFL };
    if (strcmp (argv [2], "counted") == 0)
        how = (struct sigaction) { .sa_handler = count, .sa_flags = SA_ONSTACK };
    sigset_t pipe_alone;
    sigemptyset (&pipe_alone);
    sigaddset (&pipe_alone, SIGPIPE);
    pthread_sigmask (SIG_UNBLOCK, &pipe_alone, NULL);
    sigaction (SIGPIPE, &how, NULL);
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx);
    sigaction (SIGPIPE, &how, NULL);
    if (strcmp (scheme, "udp") == 0)
        datagrams ();
    else
        streams ();
    if (vtx)
        vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
    if (signals)
        fprintf (stderr, "%d times SIGPIPE\n", (int) signals);
    CHECK (signals == 0);
    CHECK (system ("rm -f ca.* server.* vtx.passwd log") == 0);
    CHECK (chdir ("/") == 0 && rmdir (dir) == 0);
    return 0;
}
