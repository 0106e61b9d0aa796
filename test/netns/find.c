/*  A server with a name, and a client that asks whoever it finds by broadcast for it.

    find server NAME            answers with NAME until killed
    find client NAME NAME...    asks until NAME has answered, then until the next one has;
                                prints each new answer with the address that it came from
*/

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vtx.h>

static void
check (int ok, const char *what)
{
    if (!ok) {
        fprintf (stderr, "find: %s: %s; %s\n", what, zmq_strerror (errno), vtx_error ());
        exit (1);
    }
}

static void
server (vtx_t *vtx, void *socket, const char *name)
{
    check (vtx_bind (vtx, socket, "udp://*:32000") == 0, "vtx_bind");
    puts ("ready");
    while (1) {
        char request [10];
        check (zmq_recv (socket, request, sizeof request, 0) >= 0, "zmq_recv");
        check (zmq_send (socket, name, strlen (name), 0) >= 0, "zmq_send");
    }
}

static void
client (vtx_t *vtx, void *socket, int names, char *name [])
{
    //  Short, so that a server that was killed is soon missed
    check (vtx_setopt (vtx, socket, "udp.timeout", "1000") == 0, "vtx_setopt");
    int patience = 15000;
    zmq_setsockopt (socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    check (vtx_connect (vtx, socket, "udp://") == 0, "vtx_connect");
    char last [100] = "";
    while (names) {
        char answer [100];
        check (zmq_send (socket, "who?", 4, 0) == 4, "zmq_send");
        int size = zmq_recv (socket, answer, sizeof answer - 1, 0);
        check (size >= 0, "zmq_recv");
        answer [size] = 0;
        if (strcmp (answer, last)) {
            char *sender = vtx_getmeta (vtx, socket, "sender");
            printf ("%s %s\n", answer, sender? sender: "?");
            free (sender);
            strcpy (last, answer);
        }
        if (strcmp (answer, *name) == 0) {
            name++;
            names--;
        }
        check (zmq_poll (NULL, 0, 50) == 0, "zmq_poll");
    }
}

int
main (int argc, char *argv [])
{
    setvbuf (stdout, NULL, _IOLBF, 0);
    alarm (60);                 //  Whatever happens, not for ever
    void *ctx = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (ctx);
    check (vtx != NULL, "vtx_new_raw");
    void *socket;
    if (argc == 3 && strcmp (argv [1], "server") == 0) {
        socket = vtx_socket (vtx, ZMQ_REP);
        server (vtx, socket, argv [2]);
    }
    else
    if (argc > 2 && strcmp (argv [1], "client") == 0) {
        socket = vtx_socket (vtx, ZMQ_REQ);
        client (vtx, socket, argc - 2, argv + 2);
    }
    else {
        fputs ("usage: find server NAME | client NAME NAME...\n", stderr);
        return 1;
    }
    vtx_destroy (&vtx);
    zmq_ctx_term (ctx);
    return 0;
}
