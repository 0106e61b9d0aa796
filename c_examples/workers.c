/*  Without czmq: a plain libzmq program whose PUSH socket hands out numbers to two
    PULL sockets over udp://, in one process so that there is one thing to start.
*/

#include <stdio.h>
#include <stdlib.h>
#include <vtx.h>

static void
check (int ok, const char *what)
{
    if (!ok) {
        fprintf (stderr, "%s: %s\n", what, vtx_error ());
        exit (1);
    }
}

int
main (void)
{
    void *ctx = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (ctx);
    check (vtx != NULL, "vtx_new_raw");

    //  Any socket of the context will do; this one libzmq made. Port * is a free one
    void *source = zmq_socket (ctx, ZMQ_PUSH);
    check (vtx_bind (vtx, source, "udp://127.0.0.1:*") == 0, "vtx_bind");
    char *endpoint = vtx_getmeta (vtx, source, "endpoint");
    check (endpoint != NULL, "vtx_getmeta");
    printf ("bound to %s\n", endpoint);

    void *workers [2];
    for (int i = 0; i < 2; i++) {
        workers [i] = zmq_socket (ctx, ZMQ_PULL);
        check (vtx_connect (vtx, workers [i], endpoint) == 0, "vtx_connect");
    }
    free (endpoint);

    //  A PUSH spreads its messages over the peers it has: wait for both
    int peers = 0;
    while (peers < 2) {
        char *text = vtx_getmeta (vtx, source, "peers");
        check (text != NULL, "vtx_getmeta");
        peers = atoi (text);
        free (text);
    }
    for (int job = 0; job < 10; job++) {
        char text [20];
        int size = snprintf (text, sizeof text, "job %d", job);
        check (zmq_send (source, text, (size_t) size, 0) == size, "zmq_send");
    }
    int count = 0;
    while (count < 10) {
        zmq_pollitem_t items [] = {
            { workers [0], 0, ZMQ_POLLIN, 0 },
            { workers [1], 0, ZMQ_POLLIN, 0 }
        };
        if (zmq_poll (items, 2, 2000 * ZMQ_POLL_MSEC) <= 0)
            break;
        for (int i = 0; i < 2; i++)
            if (items [i].revents & ZMQ_POLLIN) {
                char text [20];
                int size = zmq_recv (workers [i], text, sizeof text, 0);
                printf ("worker %d: %.*s\n", i, size, text);
                count++;
            }
    }
    printf ("%d of 10 jobs arrived\n", count);

    vtx_close (vtx, source);
    vtx_close (vtx, workers [0]);
    vtx_close (vtx, workers [1]);
    vtx_destroy (&vtx);
    zmq_ctx_term (ctx);
    return count == 10? 0: 1;
}
