/*  Publishers and subscribers of a multicast group.

    group pub ENDPOINT NAME OPTION=VALUE...     publishes "NAME 1", "NAME 2"… until killed
    group sub ENDPOINT NAME OPTION=VALUE...     ends when it has heard ten in a row of NAME, and a large one
*/

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vtx.h>

#define LARGE 100000

static void
check (int ok, const char *what)
{
    if (!ok) {
        fprintf (stderr, "group: %s: %s; %s\n", what, zmq_strerror (errno), vtx_error ());
        exit (1);
    }
}

static void
publish (void *socket, const char *name)
{
    static char body [LARGE];
    for (int i = 1;; i++) {
        int size = snprintf (body, sizeof body, "%s %d", name, i);
        check (zmq_send (socket, body, i % 10? (size_t) size: sizeof body, 0) >= 0, "zmq_send");
        check (zmq_send (socket, "other", 5, 0) == 5, "zmq_send");
        check (zmq_poll (NULL, 0, 10) == 0, "zmq_poll");
    }
}

static void
subscribe (void *socket, const char *name)
{
    static char body [LARGE + 1];
    int patience = 20000, row = 0, large = 0;
    long last = 0;
    zmq_setsockopt (socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    while (row < 10 || !large) {
        int size = zmq_recv (socket, body, LARGE, 0);
        check (size > 0, "zmq_recv");
        body [size] = 0;
        long number = atol (body + strlen (name));
        check (strncmp (body, name, strlen (name)) == 0 && number > last, "a message out of order or not asked for");
        row = number == last + 1? row + 1: 1;
        large |= size == LARGE;
        last = number;
    }
    printf ("%s heard\n", name);
}

int
main (int argc, char *argv [])
{
    setvbuf (stdout, NULL, _IOLBF, 0);
    alarm (60);                 //  Whatever happens, not for ever
    if (argc < 4) {
        fputs ("usage: group pub|sub ENDPOINT NAME OPTION=VALUE...\n", stderr);
        return 1;
    }
    int pub = strcmp (argv [1], "pub") == 0;
    void *ctx = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (ctx);
    check (vtx != NULL, "vtx_new_raw");
    void *socket = vtx_socket (vtx, pub? ZMQ_PUB: ZMQ_SUB);
    for (int i = 4; i < argc; i++) {
        char *value = strchr (argv [i], '=');
        check (value != NULL, argv [i]);
        *value++ = 0;
        check (vtx_setopt (vtx, socket, argv [i], value) == 0, "vtx_setopt");
    }
    if (pub) {
        check (vtx_connect (vtx, socket, argv [2]) == 0, "vtx_connect");
        publish (socket, argv [3]);
    }
    else {
        zmq_setsockopt (socket, ZMQ_SUBSCRIBE, argv [3], strlen (argv [3]));
        check (vtx_bind (vtx, socket, argv [2]) == 0, "vtx_bind");
        subscribe (socket, argv [3]);
    }
    vtx_destroy (&vtx);
    zmq_ctx_term (ctx);
    return 0;
}
