/*  Running out: of sockets and of file descriptors. The call that finds none fails with
    EMFILE and a sentence, and all goes on when there are some again. */

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <vtx.h>
#include "check.h"

static void *zmq;
static vtx_t *vtx;

static void
thousand_sockets (void)
{
    //  libzmq allows 1,023 in a context unless told otherwise
    static void *all [2000];
    int count = 0;
    while (count < 2000 && (all [count] = vtx_socket (vtx, ZMQ_REQ)))
        count++;
    int number = errno;
    printf ("%d sockets, then: %s\n", count, vtx_error ());
    CHECK (number == EMFILE && *vtx_error ());
    CHECK (count >= 500);
    //  With none left for pipes, connecting may fail but nothing else
    if (vtx_connect (vtx, all [0], "udp://127.0.0.1:9") == -1)
        CHECK (errno == EMFILE && *vtx_error ());
    while (count > 0)
        CHECK (vtx_close (vtx, all [--count]) == 0);
    pause_ms (500);
    live (vtx);             //  The manager still serves
}

//  1 if the call failed, for the right reason
static int
fails_well (int rc)
{
    CHECK (rc == 0 || (errno == EMFILE && *vtx_error ()));
    return rc == 0? 0: 1;
}

static void
no_descriptors (void)
{
    live (vtx);             //  The manager still serves
    void *server = vtx_socket (vtx, ZMQ_REP);
    struct rlimit limit;
    CHECK (getrlimit (RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 300;
    CHECK (setrlimit (RLIMIT_NOFILE, &limit) == 0);

    static int taken [300];
    int count = 0;
    int failures = 0;
    for (int i = 0; i < 50; i++) {
        //  Again each time: what was closed before may become free at any moment, and
        //  then a call succeeds. What counts is how it fails.
        pause_ms (20);
        while (count < 300 && (taken [count] = open ("/dev/null", O_RDONLY)) >= 0)
            count++;
        CHECK (count < 300 && errno == EMFILE);
        failures += fails_well (vtx_bind (vtx, server, "udp://127.0.0.1:*"));
        failures += fails_well (vtx_connect (vtx, server, "udp://127.0.0.1:9"));
        void *socket = vtx_socket (vtx, ZMQ_REQ);
        failures += fails_well (socket? vtx_close (vtx, socket): -1);
        vtx_t *other = vtx_new_raw (zmq);
        fails_well (other? 0: -1);
        vtx_destroy (&other);
    }
    printf ("%d calls failed\n", failures);
    CHECK (failures >= 50);
    while (count > 0)
        close (taken [--count]);
    pause_ms (500);
    BIND_ANY (vtx, server);
    CHECK (vtx_close (vtx, server) == 0);
    live (vtx);             //  The manager still serves
}

int
main (int argc, char **argv)
{
    watchdog (60);
    zmq = zmq_ctx_new ();
    vtx = vtx_new_raw (zmq);
    CHECK (vtx != NULL);
    if (argc > 1 && strcmp (argv [1], "sockets") == 0)
        thousand_sockets ();
    else
        no_descriptors ();
    vtx_destroy (&vtx);
    CHECK (zmq_ctx_term (zmq) == 0);
    return 0;
}
