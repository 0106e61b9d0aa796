/*  What the programs of the benchmark have in common: a clock, an even pace, and the
    line that each prints, which bench/run reads.
*/

#ifndef BENCH_H_INCLUDED
#define BENCH_H_INCLUDED

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

//  A receiver that has had something ends after this much silence
#define BENCH_SILENCE_MS    250
//  and one that has had nothing ends after this much, having failed
#define BENCH_PATIENCE_MS   10000
//  Bodies have at most this many bytes
#define BENCH_MAX_SIZE      (1 << 20)

static inline double
seconds_now (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

//  Wait until message number count is due, if rate messages a second are to be sent. All that
//  came due in the meantime then goes out together, about once a millisecond.
static inline void
pace (double start, double count, double rate)
{
    struct timespec nap = { 0, 1000000 };
    while (rate > 0 && seconds_now () - start < count / rate)
        nanosleep (&nap, NULL);
}

static inline void
die (const char *what, const char *why)
{
    fprintf (stderr, "%s: %s\n", what, why);
    exit (1);
}

//  No two messages of a run are alike, as far as their size allows
static inline void
stamp (char *body, size_t size, long count)
{
    memcpy (body, &count, size < sizeof count? size: sizeof count);
}

static inline double
number (const char *text, double least, double most)
{
    char *end;
    double value = strtod (text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die (text, "is no number, or out of range");
    return value;
}

//  Every program ends with this line
static inline void
report (const char *what, size_t size, long count, double seconds)
{
    printf ("what=%s size=%zu count=%ld seconds=%.4f rate=%.0f\n",
        what, size, count, seconds, seconds > 0? count / seconds: 0);
}

#endif
