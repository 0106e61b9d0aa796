/*  The command line, the clock and the report of vtxperf and bare */

#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "measure.h"

//  Look at the clock once per so many bytes
#define CLOCK_BYTES     32768
//  What a message costs beside its body, roughly
#define MESSAGE_BYTES   64
//  Until what a start or a peer needed only for a moment has been given back
#define SETTLE_MS       500
//  Of the histogram: buckets for each doubling, and the length of the longest bar
#define OCTAVE_BUCKETS  4
#define BUCKETS         (32 * OCTAVE_BUCKETS)
#define BAR_LENGTH      50

void
die (const char *what, const char *why)
{
    fprintf (stderr, "%s: %s\n", what, why);
    exit (1);
}

//  --------------------------------------------------------------------------
//  The command line

double
argument_number (const char *argument, double least, double most)
{
    const char *text = strchr (argument, '=') + 1;
    char *end;
    double value = strtod (text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die (argument, "is no number, or out of range");
    return value;
}

static bool
is (const char *argument, const char *name)
{
    size_t length = strlen (name);
    return strncmp (argument, name, length) == 0 && argument [length] == '=';
}

int
plan_read (plan_t *plan, int argc, char *argv [])
{
    *plan = (plan_t) { .size = 100, .seconds = 1, .count = 1 };
    if (argc < 3 || (strcmp (argv [1], "bind") != 0 && strcmp (argv [1], "connect") != 0))
        return -1;
    plan->test = argv [0];
    plan->binds = strcmp (argv [1], "bind") == 0;
    plan->endpoint = argv [2];
    int rest = 0;
    for (int i = 3; i < argc; i++) {
        if (!strchr (argv [i], '='))
            return -1;
        if (is (argv [i], "size"))
            plan->size = (size_t) argument_number (argv [i], 0, SIZE_MAX_BYTES);
        else
        if (is (argv [i], "seconds"))
            plan->seconds = argument_number (argv [i], 0.01, 3600);
        else
        if (is (argv [i], "rate"))
            plan->rate = argument_number (argv [i], 0, 1e9);
        else
        if (is (argv [i], "count"))
            plan->count = (int) argument_number (argv [i], 1, 1000000);
        else
            argv [rest++] = argv [i];
    }
    return rest;
}

//  --------------------------------------------------------------------------
//  The clock

double
seconds_now (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

long
clock_step (size_t size)
{
    return 1 + CLOCK_BYTES / (MESSAGE_BYTES + (long) size);
}

void
pace (double start, double count, double rate)
{
    struct timespec nap = { 0, 1000000 };
    while (rate > 0 && seconds_now () - start < count / rate)
        nanosleep (&nap, NULL);
}

void
stamp (void *body, size_t size, long count)
{
    memcpy (body, &count, size < sizeof count? size: sizeof count);
}

//  --------------------------------------------------------------------------
//  The window

//  User and system time of all threads
static double
cpu_now (void)
{
    struct rusage usage;
    getrusage (RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void
window_open (window_t *self)
{
    self->cpu = cpu_now ();
    self->start = seconds_now ();
}

double
window_spent (window_t *self)
{
    return seconds_now () - self->start;
}

void
window_report (window_t *self, long count)
{
    double spent = window_spent (self), cpu = cpu_now () - self->cpu;
    report_figure ("messages", count, 0, "");
    report_figure ("seconds", spent, 4, "");
    report_figure ("rate", spent > 0? count / spent: 0, 1, "messages/s");
    report_figure ("cpu", count > 0? cpu / count * 1e6: 0, 4, "us of CPU time for a message in this process");
}

//  --------------------------------------------------------------------------
//  The report

static int
compare (const void *one, const void *other)
{
    float a = *(const float *) one, b = *(const float *) other;
    return (a > b) - (a < b);
}

static void
report_histogram (const float *trip, long count)
{
    static long bucket [BUCKETS];
    long most = 1;
    for (long i = 0; i < count; i++) {
        int b = trip [i] > 1? (int) (log2 (trip [i]) * OCTAVE_BUCKETS): 0;
        if (b >= BUCKETS)
            b = BUCKETS - 1;
        if (++bucket [b] > most)
            most = bucket [b];
    }
    for (int b = 0; b < BUCKETS; b++)
        if (bucket [b]) {
            int bar = (int) (bucket [b] * BAR_LENGTH / most);
            printf ("from      %12.1f us %10ld  %.*s\n", exp2 ((double) b / OCTAVE_BUCKETS), bucket [b],
                bar, "##################################################");
        }
}

static void
trips_report (float *trip, long count)
{
    static const struct {
        const char *name;
        double part;
    } percentile [] = { { "median", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1 } };

    if (count == 0)
        die ("latency", "no round trip ended in time");
    qsort (trip, (size_t) count, sizeof *trip, compare);
    for (int i = 0; i < 5; i++)
        report_figure (percentile [i].name, trip [(long) ((count - 1) * percentile [i].part)], 1, "us");
    report_histogram (trip, count);
}

void
trips_measure (const plan_t *plan, void (*make) (void *self, long number), void *self)
{
    float *trip = malloc (TRIPS_MAX * sizeof *trip);
    if (!trip)
        die ("malloc", "out of memory");
    long count = -TRIPS_BEFORE;
    double before = 0, now = 0;
    window_t window = { .start = 0 };
    while (count < TRIPS_MAX && (count <= 0 || now - window.start < plan->seconds)) {
        if (count == 0) {
            window_open (&window);
            before = window.start;
        }
        make (self, count);
        now = seconds_now ();
        if (count >= 0)
            trip [count] = (float) ((now - before) * 1e6);
        before = now;
        count++;
    }
    window_report (&window, count);
    trips_report (trip, count);
    free (trip);
}

long
fact (const char *file, const char *name)
{
    char line [256];
    long value = -1;
    FILE *facts = fopen (file, "r");
    if (!facts)
        die (file, "cannot be opened");
    while (value < 0 && fgets (line, sizeof line, facts))
        if (strncmp (line, name, strlen (name)) == 0)
            value = atol (line + strlen (name));
    fclose (facts);
    if (value < 0)
        die (file, name);
    return value;
}

void
settle (void)
{
    struct timespec nap = { SETTLE_MS / 1000, SETTLE_MS % 1000 * 1000000 };
    nanosleep (&nap, NULL);
}

void
report_figure (const char *name, double figure, int decimals, const char *unit)
{
    printf ("%-9s %12.*f %s\n", name, decimals, figure, unit);
}

void
report_end (void)
{
    printf ("\n");
    fflush (stdout);
}

void
report_endpoint (const char *scheme, const char *rest)
{
    printf ("endpoint  %s%s\n", scheme, rest);
    fflush (stdout);
}
