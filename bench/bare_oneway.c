/*  UDP one way with sendto and recvfrom: what messages cost without any library.

    bare_oneway receiver                            prints its port, counts until silence
    bare_oneway sender SIZE SECONDS RATE PORT...    each message to every port; RATE a second,
                                                    0 is as fast as it can
*/

#include "bare.h"

static char body [65536];

static void
receiver (void)
{
    int fd = bare_socket ();
    bare_timeout (fd, BENCH_PATIENCE_MS);
    bare_tell (fd);
    ssize_t size, last = 0;
    long count = 0;
    double first = 0, latest = 0;
    while ((size = recvfrom (fd, body, sizeof body, 0, NULL, NULL)) >= 0) {
        latest = seconds_now ();
        if (count++ == 0) {
            first = latest;
            bare_timeout (fd, BENCH_SILENCE_MS);
        }
        last = size;
    }
    if (errno != EAGAIN || count == 0)
        die ("receiver", strerror (errno));
    report ("received", (size_t) last, count, latest - first);
}

static void
sender (size_t size, double seconds, double rate, int ports, char *port [])
{
    int fd = bare_socket ();
    struct sockaddr_in peer [16];
    if (ports > 16)
        die ("sender", "at most 16 ports");
    for (int i = 0; i < ports; i++)
        peer [i] = bare_address (port [i]);
    long count = 0;
    double start = seconds_now (), spent = 0;
    while ((spent = seconds_now () - start) < seconds) {
        pace (start, count, rate);
        stamp (body, size, count);
        for (int i = 0; i < ports; i++)
            if (sendto (fd, body, size, 0, (struct sockaddr *) &peer [i], sizeof peer [i]) == -1)
                die ("sender", strerror (errno));
        count++;
    }
    report ("sent", size, count, spent);
}

int
main (int argc, char *argv [])
{
    if (argc == 2 && strcmp (argv [1], "receiver") == 0)
        receiver ();
    else
    if (argc >= 6 && strcmp (argv [1], "sender") == 0)
        sender ((size_t) number (argv [2], 0, 60000), number (argv [3], 0.01, 60),
            number (argv [4], 0, 1e9), argc - 5, argv + 5);
    else {
        fputs ("usage: bare_oneway receiver | sender SIZE SECONDS RATE PORT...\n", stderr);
        return 1;
    }
    return 0;
}
