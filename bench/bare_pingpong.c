/*  UDP ping-pong with recvfrom and sendto: what a round trip costs without any library.

    bare_pingpong server                        prints its port, echoes until killed
    bare_pingpong client PORT SIZE SECONDS      round trips for that long
*/

#include "bare.h"

static char body [65536];

static void
server (void)
{
    int fd = bare_socket ();
    bare_tell (fd);
    while (1) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        ssize_t size = recvfrom (fd, body, sizeof body, 0, (struct sockaddr *) &peer, &length);
        if (size == -1
        ||  sendto (fd, body, (size_t) size, 0, (struct sockaddr *) &peer, length) == -1)
            die ("server", strerror (errno));
    }
}

static void
client (const char *port, size_t size, double seconds)
{
    int fd = bare_socket ();
    bare_timeout (fd, BENCH_PATIENCE_MS);
    struct sockaddr_in peer = bare_address (port);
    long count = 0;
    double start = seconds_now (), spent = 0;
    while ((spent = seconds_now () - start) < seconds) {
        if (sendto (fd, body, size, 0, (struct sockaddr *) &peer, sizeof peer) == -1
        ||  recvfrom (fd, body, sizeof body, 0, NULL, NULL) != (ssize_t) size)
            die ("client", strerror (errno));
        count++;
    }
    report ("roundtrips", size, count, spent);
}

int
main (int argc, char *argv [])
{
    if (argc == 2 && strcmp (argv [1], "server") == 0)
        server ();
    else
    if (argc == 5 && strcmp (argv [1], "client") == 0)
        client (argv [2], (size_t) number (argv [3], 0, 60000), number (argv [4], 0.01, 60));
    else {
        fputs ("usage: bare_pingpong server | client PORT SIZE SECONDS\n", stderr);
        return 1;
    }
    return 0;
}
