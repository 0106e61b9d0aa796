/*  What the C tests have in common: checks that name the place, and a watchdog. */

#ifndef CHECK_H_INCLUDED
#define CHECK_H_INCLUDED

#ifndef _GNU_SOURCE
#   define _GNU_SOURCE
#endif
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

//  Stop the program at the first thing that is not so. _exit, since what ends a
//  program normally may be just what is being tested.
#define CHECK(truth) \
    do { \
        if (!(truth)) { \
            fprintf (stderr, "%s:%d: not so: %s\n  errno %d (%s), vtx_error \"%s\"\n", \
                __FILE__, __LINE__, #truth, errno, zmq_strerror (errno), vtx_error ()); \
            _exit (1); \
        } \
    } while (0)

//  The call fails with this errno and a sentence that has these words in it
#define FAILS(failed, number, words) \
    do { \
        errno = 0; \
        int failed_ = (failed); \
        int errno_ = errno; \
        if (!failed_ || errno_ != (number) || !strstr (vtx_error (), words)) { \
            fprintf (stderr, "%s:%d: %s\n  wanted errno %d (%s) and \"%s\"\n  %s errno %d (%s), vtx_error \"%s\"\n", \
                __FILE__, __LINE__, #failed, (number), zmq_strerror (number), words, \
                failed_? "failed with": "succeeded,", errno_, zmq_strerror (errno_), vtx_error ()); \
            _exit (1); \
        } \
    } while (0)

//  A hang check, generous enough for a machine that is busy: SIGALRM ends the program
static inline void
watchdog (unsigned seconds)
{
    signal (SIGALRM, SIG_DFL);
    alarm (seconds);
}

static inline double
now (void)
{
    struct timespec ts;
    clock_gettime (CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static inline void
pause_ms (int msecs)
{
    struct timespec ts = { msecs / 1000, (long) (msecs % 1000) * 1000000L };
    nanosleep (&ts, NULL);
}

//  What this process has of something that is listed under /proc
static inline int
count_entries (const char *path)
{
    int count = 0;
    DIR *dir = opendir (path);
    while (dir && readdir (dir))
        count++;
    closedir (dir);
    return count;
}

//  Open descriptors of this process
static inline int
count_fds (void)
{
    return count_entries ("/proc/self/fd");
}

//  Its threads
static inline int
count_threads (void)
{
    return count_entries ("/proc/self/task");
}

//  Resident memory in kB
static inline long
resident_kb (void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen ("/proc/self/statm", "r");
    if (!file || fscanf (file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (file)
        fclose (file);
    return resident * (sysconf (_SC_PAGESIZE) / 1024);
}

//  Give receiving a limit, so that a lost message is a failure and not a hang
static inline void
limit_wait (void *socket, int msecs)
{
    zmq_setsockopt (socket, ZMQ_RCVTIMEO, &msecs, sizeof msecs);
    zmq_setsockopt (socket, ZMQ_SNDTIMEO, &msecs, sizeof msecs);
}

static inline void
set_linger (void *socket, int msecs)
{
    zmq_setsockopt (socket, ZMQ_LINGER, &msecs, sizeof msecs);
}

//  Send a string; 0 if it went
static inline int
say (void *socket, const char *text)
{
    return zmq_send (socket, text, strlen (text), 0) == (int) strlen (text)? 0: -1;
}

//  Receive a string, and tell whether it is this one
static inline int
hears (void *socket, const char *text)
{
    char buffer [256];
    int size = zmq_recv (socket, buffer, sizeof buffer, 0);
    return size == (int) strlen (text) && memcmp (buffer, text, (size_t) size) == 0;
}

//  Bind to a free port and connect to it
#define BIND_ANY(vtx, socket) \
    CHECK (vtx_bind (vtx, socket, "udp://127.0.0.1:*") == 0)

#define CONNECT_TO(vtx, socket, server_vtx, server) \
    do { \
        char *endpoint_ = vtx_getmeta (server_vtx, server, "endpoint"); \
        CHECK (endpoint_ != NULL); \
        CHECK (vtx_connect (vtx, socket, endpoint_) == 0); \
        free (endpoint_); \
    } while (0)

//  One request and its answer
#define ROUND_TRIP(client, server) \
    do { \
        CHECK (say (client, "hello?") == 0); \
        CHECK (hears (server, "hello?")); \
        CHECK (say (server, "ack") == 0); \
        CHECK (hears (client, "ack")); \
    } while (0)

//  A life: two sockets meet, talk once and end. The manager may be shared.
static inline void
live (vtx_t *vtx)
{
    void *server = vtx_socket (vtx, ZMQ_REP);
    void *client = vtx_socket (vtx, ZMQ_REQ);
    CHECK (server != NULL && client != NULL);
    limit_wait (server, 30000);
    limit_wait (client, 30000);
    BIND_ANY (vtx, server);
    CONNECT_TO (vtx, client, vtx, server);
    ROUND_TRIP (client, server);
    CHECK (vtx_close (vtx, client) == 0);
    CHECK (vtx_close (vtx, server) == 0);
}

#endif
