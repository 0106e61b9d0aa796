/*  UDP one way with sendmmsg and recvmmsg, one message in each datagram: what they cost without any library.

    bare_oneway receiver                            prints its port, counts until silence
    bare_oneway sender SIZE SECONDS RATE PORT...    each message to every port; RATE a second,
                                                    0 is as fast as it can
*/

#define _GNU_SOURCE
#include "bare.h"

//  Datagrams that one system call moves
#define BATCH   32

//  Not a power of two apart, or all of them would meet in the same lines of the cache
#define LARGEST 4096

static char body [BATCH] [LARGEST + 64];
static struct iovec part [BATCH];
static struct mmsghdr batch [BATCH];

static void
prepare (size_t size)
{
    for (int i = 0; i < BATCH; i++) {
        part [i] = (struct iovec) { body [i], size };
        batch [i].msg_hdr.msg_iov = &part [i];
        batch [i].msg_hdr.msg_iovlen = 1;
    }
}

static void
receiver (void)
{
    int fd = bare_socket ();
    bare_timeout (fd, BENCH_PATIENCE_MS);
    bare_tell (fd);
    prepare (LARGEST);
    size_t last = 0;
    long count = 0;
    double first = 0, latest = 0;
    int n;
    while ((n = recvmmsg (fd, batch, BATCH, MSG_WAITFORONE, NULL)) > 0) {
        latest = seconds_now ();
        if (count == 0) {
            first = latest;
            bare_timeout (fd, BENCH_SILENCE_MS);
        }
        count += n;
        last = batch [n - 1].msg_len;
    }
    if (errno != EAGAIN || count == 0)
        die ("receiver", strerror (errno));
    report ("received", last, count, latest - first);
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
    prepare (size);
    long count = 0;
    double start = seconds_now (), spent = 0;
    while ((spent = seconds_now () - start) < seconds) {
        pace (start, count, rate);
        for (int i = 0; i < BATCH; i++)
            stamp (body [i], size, count + i);
        for (int p = 0; p < ports; p++) {
            for (int i = 0; i < BATCH; i++) {
                batch [i].msg_hdr.msg_name = &peer [p];
                batch [i].msg_hdr.msg_namelen = sizeof peer [p];
            }
            for (int sent = 0; sent < BATCH; ) {
                int n = sendmmsg (fd, batch + sent, (unsigned) (BATCH - sent), 0);
                if (n == -1)
                    die ("sender", strerror (errno));
                sent += n;
            }
        }
        count += BATCH;
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
        sender ((size_t) number (argv [2], 0, LARGEST), number (argv [3], 0.01, 60),
            number (argv [4], 0, 1e9), argc - 5, argv + 5);
    else {
        fputs ("usage: bare_oneway receiver | sender SIZE SECONDS RATE PORT...\n", stderr);
        return 1;
    }
    return 0;
}
