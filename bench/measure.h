/*  What vtxperf and bare have in common: the command line, the clock and the CPU time, and the
    report, which people read and bench/runner too.

    A program that binds prints its endpoint first. A report is lines of a name, a figure and its
    unit; an empty line ends it.
*/

#ifndef MEASURE_H_INCLUDED
#define MEASURE_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>

//  Longest wait for the other program, in which somebody may have to start it by hand
#define PATIENCE_MS     60000
//  After so much silence the other has gone
#define SILENCE_MS      250
//  Whoever sends ends after so much time in which nobody wants anything any more
#define LEAVE_MS        2000
//  Messages before the count starts: both high-water marks. Until then the sender fills its memory.
#define MESSAGES_BEFORE 2000
//  Round trips before the count starts, and at most that are counted
#define TRIPS_BEFORE    100
#define TRIPS_MAX       1000000
//  The sender's part of SECONDS, so that the receiver is still there when it ends, even if the machine stalls meanwhile
#define SENDER_PART     0.7
#define SIZE_MAX_BYTES  (64 << 20)

//  What the command line asks for
typedef struct {
    const char *test;
    bool binds;
    const char *endpoint;
    size_t size;            //  of a body, in bytes
    double seconds;
    double rate;            //  to send at, in messages a second; 0 is as fast as can be
    int count;
} plan_t;

//  A stretch of time in which messages are counted
typedef struct {
    double start;
    double cpu;
} window_t;

void die (const char *what, const char *why);

//  Reads TEST bind|connect ENDPOINT [NAME=VALUE...]. Returns how many of the arguments are not
//  known here, and moves those to the front; -1 if it is no such command line.
int plan_read (plan_t *plan, int argc, char *argv []);

//  The number after the = of an argument; ends the program if it is none from least to most
double argument_number (const char *argument, double least, double most);

double seconds_now (void);

//  So many messages are sent between two looks at the clock: some bytes' worth, since a look
//  costs as much as a small message
long clock_step (size_t size);

//  Wait until message number count is due. All that came due in the meantime then goes out
//  together, about once a millisecond.
void pace (double start, double count, double rate);

//  No two messages of a run are alike, as far as their size allows
void stamp (void *body, size_t size, long count);

void window_open (window_t *self);
double window_spent (window_t *self);

//  Reports the messages since window_open: how many, how fast and with how much CPU time
void window_report (window_t *self, long count);

//  Makes round trips for as long as is planned, by a function that is told the number of each, and reports them: percentiles
//  and a histogram, in microseconds
void trips_measure (const plan_t *plan, void (*make) (void *self, long number), void *self);

//  The number behind name in a file of /proc/self
long fact (const char *file, const char *name);

//  Waits until the memory of this process is what it will be
void settle (void);

void report_figure (const char *name, double figure, int decimals, const char *unit);
void report_end (void);
void report_endpoint (const char *scheme, const char *rest);

#endif
