/*  The documented client: looks for a name server anywhere on the network, by UDP
    broadcast, and asks it once a second. Start server.c too; Ctrl-C ends either.
*/

#include <czmq.h>
#include <vtx.h>

static void
client_task (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    (void) pipe;

    //  Initialize virtual transport interface
    vtx_t *vtx = vtx_new (ctx);
    int rc = vtx_register (vtx, "udp", vtx_udp_driver);
    assert (rc == 0);

    //  Create client socket and connect to broadcast address
    void *client = vtx_socket (vtx, ZMQ_REQ);
    rc = vtx_connect (vtx, client, "udp://");
    assert (rc == 0);

    while (TRUE) {
        //  Look for name server anywhere on LAN
        zstr_send (client, "hello?");
        puts ("hello?");

        //  Wait for at most 1000msec for reply before retrying
        zmq_pollitem_t items [] = { { client, 0, ZMQ_POLLIN, 0 } };
        int rc = zmq_poll (items, 1, 1000 * ZMQ_POLL_MSEC);
        if (rc == -1)
            break;              //  Context has been shut down

        if (items [0].revents & ZMQ_POLLIN) {
            char *input = zstr_recv (client);
            puts (input);
            free (input);
            sleep (1);
        }
    }
    vtx_destroy (&vtx);
}

int
main (void)
{
    setvbuf (stdout, NULL, _IOLBF, 0);      //  Also into a pipe, line by line
    zsys_init ();                           //  czmq notes Ctrl-C in zsys_interrupted

    zctx_t *ctx = zctx_new ();
    zthread_fork (ctx, client_task, NULL);
    while (!zsys_interrupted)
        zclock_sleep (100);
    zctx_destroy (&ctx);
    return 0;
}
