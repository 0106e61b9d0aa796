/*  sasl:// from C: a user of vtx-passwd, who logs in by libzmq's options, and what is refused at once. */

#include <errno.h>
#include <vtx.h>
#include "check.h"

static void *zmq;
static vtx_t *vtx;

static void *
member (int type, const char *password)
{
    void *socket = vtx_socket (vtx, type);
    limit_wait (socket, 20000);
    set_linger (socket, 0);
    zmq_setsockopt (socket, ZMQ_PLAIN_USERNAME, "alice", 5);
    zmq_setsockopt (socket, ZMQ_PLAIN_PASSWORD, password, strlen (password));
    return socket;
}

static void
login (void)
{
    CHECK (system (VTX_PASSWD " add alice < password") == 0);
    void *router = vtx_socket (vtx, ZMQ_ROUTER);
    limit_wait (router, 20000);
    CHECK (vtx_setopt (vtx, router, "sasl.verifiers", "vtx.passwd") == 0);
    CHECK (vtx_bind (vtx, router, "sasl://127.0.0.1:*") == 0);
    char *where = vtx_getmeta (vtx, router, "endpoint");

    void *dealer = member (ZMQ_DEALER, "pencil");
    zmq_setsockopt (dealer, ZMQ_ROUTING_ID, "guest", 5);
    CHECK (vtx_connect (vtx, dealer, where) == 0);
    CHECK (say (dealer, "hello") == 0 && hears (router, "guest") && hears (router, "hello"));
    char *user = vtx_getmeta (vtx, router, "user:guest");
    CHECK (user && strcmp (user, "alice") == 0);
    free (user);

    //  The driver functions, under other names; and a wrong password, of which the server's monitor is told
    CHECK (vtx_register (vtx, "login", vtx_sasl_driver) == 0);
    CHECK (vtx_register (vtx, "login+tls", vtx_sasl_tls_driver) == 0);
    void *stranger = member (ZMQ_DEALER, "crayon"), *events = zmq_socket (zmq, ZMQ_PAIR);
    limit_wait (events, 20000);
    CHECK (vtx_monitor (vtx, router, "inproc://events", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0);
    CHECK (zmq_connect (events, "inproc://events") == 0);
    char other [256];
    snprintf (other, sizeof other, "login%s", strchr (where, ':'));
    CHECK (vtx_connect (vtx, stranger, other) == 0);
    char sentence [512] = "";
    CHECK (zmq_recv (events, sentence, 6, 0) == 6);
    CHECK (zmq_recv (events, sentence, sizeof sentence - 1, 0) > 0);
    int size = zmq_recv (events, sentence, sizeof sentence - 1, 0);
    CHECK (size > 0);
    sentence [size] = 0;
    CHECK (strstr (sentence, "user \"alice\": the password is wrong, or there is no such user"));
    CHECK (!strstr (sentence, "crayon"));
    free (where);
    zmq_close (events);
}

static void
refused (void)
{
    CHECK (vtx_sasl_load (vtx, 0) == 0);
    CHECK (vtx_sasl_tls_load (vtx, 0) == 0);
    void *socket = vtx_socket (vtx, ZMQ_DEALER);
    FAILS (vtx_bind (vtx, socket, "sasl://127.0.0.1:*") == -1, EINVAL, "sasl.verifiers");
    FAILS (vtx_bind (vtx, socket, "sasl://127.0.0.1:*?verifiers=nowhere") == -1, ENOENT, "sasl.verifiers");
    FAILS (vtx_bind (vtx, socket, "sasl://127.0.0.1:*?verifiers=password") == -1, EINVAL, "line 1");
    CHECK (!strstr (vtx_error (), "pencil"));
    FAILS (vtx_connect (vtx, socket, "sasl://127.0.0.1:1") == -1, EINVAL, "ZMQ_PLAIN_USERNAME");
    FAILS (vtx_connect (vtx, socket, "sasl+tls://127.0.0.1:1?password=geheim") == -1, EINVAL, "a secret must not stand in an endpoint");
    CHECK (!strstr (vtx_error (), "geheim"));
    FAILS (vtx_connect (vtx, socket, "sasl://alice:geheim@127.0.0.1:1") == -1, EINVAL, "a user and a password must not stand in it");
    CHECK (!strstr (vtx_error (), "geheim"));
}

int
main (int argc, char *argv [])
{
    const char *part = argc > 1? argv [1]: "";
    watchdog (100);
    char dir [] = "/tmp/vtx-test-sasl.XXXXXX";
    CHECK (mkdtemp (dir) && chdir (dir) == 0);
    CHECK (system ("echo pencil > password") == 0);
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx);
    int known = 1;
    if (strcmp (part, "login") == 0)
        login ();
    else
    if (strcmp (part, "refused") == 0)
        refused ();
    else
        known = 0;
    CHECK (known);
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
    CHECK (system ("rm -f password vtx.passwd") == 0);
    CHECK (chdir ("/") == 0 && rmdir (dir) == 0);
    return 0;
}
