/*  The drivers of c_examples, where the conformance suite does not look. */

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <vtx.h>
#include "check.h"

zthread_attached_fn driver_loop, driver_unixgram;

//  An abstract socket of driver_loop's for a name, in a process; bound or connected
static int
loop_socket (int to_bind, pid_t process, const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int size = snprintf (address.sun_path + 1, sizeof address.sun_path - 1, "vtx-loop-%d-%s", process, name);
    socklen_t length = offsetof (struct sockaddr_un, sun_path) + 1 + size;
    int fd = socket (AF_UNIX, SOCK_SEQPACKET, 0);
    int rc = to_bind? bind (fd, (struct sockaddr *) &address, length) || listen (fd, 1)
                    : connect (fd, (struct sockaddr *) &address, length);
    return rc == 0? fd: -1;
}

//  Another process: it says what would be a pointer, to whom is bound and to whom connects. Returns 0 if nobody
//  lets it in.
static int
stranger (pid_t victim, int go, int ready)
{
    size_t pointer = 8;
    char answer [8];
    int fd = loop_socket (1, victim, "bound");
    if (fd == -1 || write (ready, "", 1) != 1)
        return 1;
    int other = accept (fd, NULL, NULL);
    if (other == -1)
        return 2;
    send (other, &pointer, sizeof pointer, MSG_NOSIGNAL);
    if (recv (other, answer, sizeof answer, 0) > 0 || write (ready, "", 1) != 1 || read (go, answer, 1) != 1)
        return 3;
    fd = loop_socket (0, victim, "here");
    if (fd == -1)
        return 4;
    send (fd, &pointer, sizeof pointer, MSG_NOSIGNAL);
    return recv (fd, answer, sizeof answer, 0) > 0? 5: 0;
}

//  Processes that connect to a name of driver_loop's, or have taken one, are not believed
static void
strangers (void)
{
    int go [2], ready [2], status;
    char byte;
    CHECK (pipe (go) == 0 && pipe (ready) == 0);
    pid_t child = fork ();          //  Before VTX is used
    if (child == 0) {
        watchdog (100);
        _exit (stranger (getppid (), go [0], ready [1]));
    }
    CHECK (read (ready [0], &byte, 1) == 1);
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (zmq);
    CHECK (vtx_register (vtx, "loop", driver_loop) == 0);
    void *push = vtx_socket (vtx, ZMQ_PUSH), *pull = vtx_socket (vtx, ZMQ_PULL), *fooled = vtx_socket (vtx, ZMQ_PULL);
    limit_wait (push, 20000);
    limit_wait (pull, 20000);
    CHECK (vtx_connect (vtx, fooled, "loop://bound") == 0);
    CHECK (read (ready [0], &byte, 1) == 1);
    CHECK (vtx_bind (vtx, pull, "loop://here") == 0);
    CHECK (write (go [1], "", 1) == 1);
    CHECK (waitpid (child, &status, 0) == child && status == 0);
    CHECK (vtx_connect (vtx, push, "loop://here") == 0);
    CHECK (say (push, "hello") == 0 && hears (pull, "hello"));
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
}

//  What a sender had sent before it left is received, however slowly; after that it is gone. The sender is this
//  test, which speaks the driver's protocol.
static void
sender_leaves (void)
{
    char dir [] = "/tmp/vtx-examples-XXXXXX", text [16];
    struct sockaddr_un address = { .sun_family = AF_UNIX }, mine = { .sun_family = AF_UNIX };
    CHECK (mkdtemp (dir) != NULL);
    snprintf (address.sun_path, sizeof address.sun_path, "%s/s", dir);
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (zmq);
    CHECK (vtx_register (vtx, "unixgram", driver_unixgram) == 0);
    void *pull = vtx_socket (vtx, ZMQ_PULL);
    int one = 1, fd = socket (AF_UNIX, SOCK_DGRAM, 0);
    zmq_setsockopt (pull, ZMQ_RCVHWM, &one, sizeof one);
    limit_wait (pull, 20000);
    CHECK (vtx_bind (vtx, pull, "unixgram://%s/s", dir) == 0);
    CHECK (bind (fd, (struct sockaddr *) &mine, sizeof (sa_family_t)) == 0);
    CHECK (connect (fd, (struct sockaddr *) &address, sizeof address) == 0);
    CHECK (send (fd, "H", 1, 0) == 1 && recv (fd, text, sizeof text, 0) == 1 && *text == 'W');
    int sent = 0;
    for (int tries = 0; tries < 100; tries++) {         //  Until nothing has room any more
        int size;
        do
            size = snprintf (text, sizeof text, "M%c%04d", 4, sent);
        while (send (fd, text, (size_t) size, MSG_DONTWAIT) == size && ++sent < 5000);
        CHECK (sent == 5000 || errno == EAGAIN);
        pause_ms (1);
    }
    close (fd);
    pause_ms (300);                 //  For a driver that looks away too soon to show itself
    for (int i = 0; i < sent; i++) {
        snprintf (text, sizeof text, "%04d", i);
        CHECK (hears (pull, text));
    }
    for (double until = now () + 20; ; pause_ms (1)) {
        char *peers = vtx_getmeta (vtx, pull, "peers");
        CHECK (peers != NULL && now () < until);
        int none = !strcmp (peers, "0");
        free (peers);
        if (none)
            break;
    }
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
    CHECK (rmdir (dir) == 0);
}

int
main (int argc, char *argv [])
{
    watchdog (200);
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "strangers", strangers }, { "sender_leaves", sender_leaves }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
