/*  The documented server: answers the clients of client.c on UDP port 32000.
    Ctrl-C ends it.
*/

#include <czmq.h>
#include <vtx.h>

static void
server_task (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    (void) pipe;

    //  Initialize virtual transport interface
    vtx_t *vtx = vtx_new (ctx);
    int rc = vtx_register (vtx, "udp", vtx_udp_driver);
    assert (rc == 0);

    //  Create server socket and bind to all network interfaces
    void *server = vtx_socket (vtx, ZMQ_REP);
    rc = vtx_bind (vtx, server, "udp://*:32000");
    assert (rc == 0);

    while (TRUE) {
        char *input = zstr_recv (server);
        if (!input)
            break;              //  Interrupted
        puts (input);
        free (input);
        zstr_send (server, "ack");
    }
    vtx_destroy (&vtx);
}

int
main (void)
{
    setvbuf (stdout, NULL, _IOLBF, 0);      //  Also into a pipe, line by line
    zsys_init ();                           //  czmq notes Ctrl-C in zsys_interrupted

    zctx_t *ctx = zctx_new ();
    zthread_fork (ctx, server_task, NULL);
    while (!zsys_interrupted)
        zclock_sleep (100);
    zctx_destroy (&ctx);
    return 0;
}
