/*  tls:// from C: certificates by vtx_setopt, what is refused at once, and who the peer is. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static void *zmq;
static vtx_t *vtx;

//  An authority and a certificate for each end, in files of the working directory, which is this test's own
static void
make_certificates (void)
{
    static const char *commands [] = {
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -keyout ca.key -out ca.pem",
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server"
            " -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.csr",
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=alice -keyout client.key -out client.csr",
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -out server.pem",
        "openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out client.pem",
        "openssl pkey -in client.key -aes256 -passout pass:geheim -out encrypted.key"
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line [512];
        snprintf (line, sizeof line, "%s > openssl.log 2>&1 || { cat openssl.log; exit 1; }", commands [i]);
        CHECK (system (line) == 0);
    }
}

static char *
read_file (const char *name)
{
    static char text [8192];
    FILE *file = fopen (name, "r");
    CHECK (file);
    size_t size = fread (text, 1, sizeof text - 1, file);
    text [size] = 0;
    fclose (file);
    return text;
}

static void *
with_certificate (int type, const char *cert, const char *key)
{
    void *socket = vtx_socket (vtx, type);
    limit_wait (socket, 20000);
    set_linger (socket, 0);
    CHECK (vtx_setopt (vtx, socket, "tls.cert", cert) == 0);
    CHECK (vtx_setopt (vtx, socket, "tls.key", key) == 0);
    return socket;
}

static void
mutual (void)
{
    CHECK (vtx_setopt (vtx, NULL, "tls.ca", "ca.pem") == 0);
    void *router = with_certificate (ZMQ_ROUTER, "server.pem", "server.key");
    void *dealer = with_certificate (ZMQ_DEALER, "client.pem", read_file ("client.key"));
    zmq_setsockopt (dealer, ZMQ_ROUTING_ID, "guest", 5);
    CHECK (vtx_bind (vtx, router, "tls://127.0.0.1:*") == 0);
    char *where = vtx_getmeta (vtx, router, "endpoint");
    CHECK (vtx_connect (vtx, dealer, where) == 0);
    CHECK (say (dealer, "hello") == 0 && hears (router, "guest") && hears (router, "hello"));
    static const char *told [] [2] = {
        { "tls.subject:guest", "CN=alice" }, { "tls.version:guest", "1.3" }, { "tls.alpn:guest", "zmtp/3.1" }
    };
    for (int i = 0; i < 3; i++) {
        char *value = vtx_getmeta (vtx, router, told [i] [0]);
        CHECK (value && strcmp (value, told [i] [1]) == 0);
        free (value);
    }
    char *shown = vtx_getmeta (vtx, router, "tls.certificate:guest");
    CHECK (shown && strstr (read_file ("client.pem"), shown));
    free (shown);

    //  Another driver function and name for it, and a stranger whose event says what is wrong
    CHECK (vtx_register (vtx, "secure", vtx_tls_driver) == 0);
    void *stranger = vtx_socket (vtx, ZMQ_DEALER), *events = zmq_socket (zmq, ZMQ_PAIR);
    limit_wait (events, 20000);
    CHECK (vtx_monitor (vtx, stranger, "inproc://events", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0);
    CHECK (zmq_connect (events, "inproc://events") == 0);
    char other [256];
    snprintf (other, sizeof other, "secure%s", strchr (where, ':'));
    CHECK (vtx_connect (vtx, stranger, other) == 0);
    char sentence [512] = "";
    CHECK (zmq_recv (events, sentence, 6, 0) == 6);
    CHECK (zmq_recv (events, sentence, sizeof sentence - 1, 0) > 0);
    int size = zmq_recv (events, sentence, sizeof sentence - 1, 0);
    CHECK (size > 0);
    sentence [size] = 0;
    CHECK (strstr (sentence, "the server demands a certificate (tls.cert)"));
    free (where);
    zmq_close (events);
}

static void
refused (void)
{
    void *socket = vtx_socket (vtx, ZMQ_DEALER);
    FAILS (vtx_bind (vtx, socket, "tls://127.0.0.1:*") == -1, EINVAL, "tls.cert");
    FAILS (vtx_connect (vtx, socket, "tls://127.0.0.1:1?ca=nowhere.pem") == -1, ENOENT, "tls.ca");
    FAILS (vtx_connect (vtx, socket, "tls://127.0.0.1:1?cert=client.pem&key=server.key") == -1, EINVAL, "tls.key");
    FAILS (vtx_connect (vtx, socket, "tls://127.0.0.1:1?cert=client.pem&key=encrypted.key") == -1, EINVAL, "encrypted");
    FAILS (vtx_connect (vtx, socket, "tls://127.0.0.1:1?verify=no") == -1, EINVAL, "tls.verify");
    FAILS (vtx_setopt (vtx, socket, "tls.pins", "abc") == -1, EINVAL, "tls.pins");
    FAILS (vtx_setopt (vtx, socket, "tls.passphrase", "geheim") == -1, EINVAL, "tls.passphrase");
    CHECK (!strstr (vtx_error (), "geheim"));

    //  A key in an endpoint, as a program would put it there
    char endpoint [1024] = "tls://127.0.0.1:1?cert=client.pem&key=", *at = endpoint + strlen (endpoint);
    for (const char *p = read_file ("client.key"); *p; p++)
        at += sprintf (at, *p == ' ' || *p == '\n' || *p == '+' || *p == '='? "%%%02X": "%c", *p);
    FAILS (vtx_connect (vtx, socket, endpoint) == -1, EINVAL, "tls.key: a secret must not stand in an endpoint");
    CHECK (!strstr (vtx_error (), "PRIVATE"));
}

int
main (int argc, char *argv [])
{
    const char *part = argc > 1? argv [1]: "";
    watchdog (100);
    char dir [] = "/tmp/vtx-test-tls.XXXXXX";
    CHECK (mkdtemp (dir) && chdir (dir) == 0);
    make_certificates ();
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx);
    int known = 1;
    if (strcmp (part, "mutual") == 0)
        mutual ();
    else
    if (strcmp (part, "refused") == 0)
        refused ();
    else
        known = 0;
    CHECK (known);
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
    CHECK (system ("rm ca.* server.* client.* encrypted.key openssl.log") == 0);
    CHECK (chdir ("/") == 0 && rmdir (dir) == 0);
    return 0;
}
