#define _GNU_SOURCE
#include "subscriptions.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

//  What the publisher says to the one that listens, again and again, and in the end
#define TICK            "tick"
#define LAST_TICK       "tick: the last"
#define TICK_SECONDS    0.001

static void
tick (void *xpub, const char *what)
{
    check (zmq_send (xpub, what, strlen (what), 0) >= 0, "zmq_send");
}

void
subscriptions_weigh (const plan_t *plan, side_t *side, void *xpub)
{
    char topic [1];
    settle ();
    long before = fact ("/proc/self/smaps_rollup", "Anonymous:");
    side_tell (side, xpub);
    double next = seconds_now ();
    for (int missing = plan->count + 1; missing;) {
        if (zmq_recv (xpub, topic, sizeof topic, ZMQ_DONTWAIT) >= 0)
            missing--;
        else {
            check (errno == EAGAIN, "zmq_recv");
            zmq_pollitem_t item = { .socket = xpub, .events = ZMQ_POLLIN };
            check (zmq_poll (&item, 1, 1) >= 0, "zmq_poll");
        }
        double now = seconds_now ();
        if (now >= next) {
            tick (xpub, TICK);
            next = now + TICK_SECONDS;
        }
    }
    settle ();
    long after = fact ("/proc/self/smaps_rollup", "Anonymous:");
    tick (xpub, LAST_TICK);
    report_figure ("subscriptions", plan->count, 0, "");
    report_figure ("each", (double) (after - before) / plan->count, 2, "KiB of memory for a subscription");
    report_figure ("memory", fact ("/proc/self/smaps_rollup", "Rss:"), 0, "KiB resident");
    report_end ();
    set_option (xpub, ZMQ_LINGER, LEAVE_MS);
}

typedef struct {
    const plan_t *plan;
    side_t *side;
    sem_t begun;
    double wait;            //  seconds
} listener_t;

static void *
listen_until_last (void *arg)
{
    listener_t *self = arg;
    void *sub = side_socket (self->side, ZMQ_SUB);
    check (zmq_setsockopt (sub, ZMQ_SUBSCRIBE, TICK, strlen (TICK)) == 0, "ZMQ_SUBSCRIBE");
    side_connect (self->side, sub, self->plan->endpoint);
    char what [sizeof LAST_TICK];
    double heard = 0;
    for (;;) {
        int size = zmq_recv (sub, what, sizeof what, 0);
        check (size >= 0, "zmq_recv");
        if (size == (int) strlen (LAST_TICK))
            break;              //  before it the publisher was silent of itself
        double now = seconds_now ();
        if (heard == 0)
            sem_post (&self->begun);
        else
        if (now - heard > self->wait)
            self->wait = now - heard;
        heard = now;
    }
    side_close_socket (self->side, sub);
    return NULL;
}

void
subscriptions_make (const plan_t *plan, side_t *side)
{
    listener_t listener = { .plan = plan, .side = side };
    pthread_t thread;
    char *topic = malloc (plan->size + 16);
    check (topic && sem_init (&listener.begun, 0, 0) == 0, "sem_init");
    check (pthread_create (&thread, NULL, listen_until_last, &listener) == 0, "pthread_create");
    sem_wait (&listener.begun);

    void *sub = side_socket (side, ZMQ_SUB);
    set_option (sub, ZMQ_SNDHWM, 0);        //  libzmq drops subscriptions at the mark
    side_connect (side, sub, plan->endpoint);
    for (int i = 0; i < plan->count; i++) {
        memset (topic, 'x', plan->size);
        int digits = sprintf (topic, "%d", i);
        topic [digits] = '.';
        size_t size = plan->size > (size_t) digits? plan->size: (size_t) digits;
        check (zmq_setsockopt (sub, ZMQ_SUBSCRIBE, topic, size) == 0, "ZMQ_SUBSCRIBE");
    }
    pthread_join (thread, NULL);
    report_figure ("wait", listener.wait * 1000, 1, "ms, the longest silence that another subscriber heard");
    side_close_socket (side, sub);
    sem_destroy (&listener.begun);
    free (topic);
}
