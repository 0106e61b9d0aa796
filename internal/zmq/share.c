#include "share.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SHARE_FROM = 34, SHARE_TO = 1024, SHARED_MIN = 2048, SHARED_SIZE = 16000, SHARED_SPARE = 256 };
enum { SLOTS = SHARED_SIZE / sizeof (void *), AHEAD = 6 };

//  For each message in memory of ours, libzmq takes this much from malloc, in bytes, on the engine's thread, and gives it
//  back on the application's. Such a one-way street is malloc's worst case: each thread's own store runs empty or over,
//  and both take the lock. So whoever frees a message takes a piece from its thread's store, just before libzmq puts one
//  there, and leaves it in the message's slot; the engine's thread frees what it finds in a slot just before libzmq takes
//  one. Were the size another, this would be no faster, but as right.
enum { PIECE_SIZE = 40 };

//  Between the threads is libzmq, and its order would do; as an atomic it is plain to tools that do not look into libzmq.
typedef _Atomic (void *) slot_t;

//  Bodies of messages from the beginning, their slots from the end
typedef struct vtxz_shared_t {
    struct vtxz_shared_t *next; //  of the spare ones
    atomic_long users;          //  messages that libzmq has not freed yet, or more: see MANY
    size_t pieces;              //  slots that have been used: all but those of messages in use hold a piece, or NULL
    union {
        unsigned char body [SHARED_SIZE];
        slot_t slot [SLOTS];    //  of a message in use, what it belongs to
    };
} shared_t;

//  What users starts with, so that counting the messages one by one is left to those who free them.
#define MANY (1L << 40)

static struct {
    pthread_mutex_t lock;
    shared_t *first;
    int count;
} s_spare = { .lock = PTHREAD_MUTEX_INITIALIZER };

static shared_t *s_take (void)
{
    pthread_mutex_lock (&s_spare.lock);
    shared_t *shared = s_spare.first;
    if (shared) {
        s_spare.first = shared->next;
        s_spare.count--;
    }
    pthread_mutex_unlock (&s_spare.lock);
    if (!shared) {
        shared = malloc (sizeof *shared);
        if (!shared)
            return NULL;
        shared->pieces = 0;
    }
    atomic_init (&shared->users, MANY);
    return shared;
}

static void s_give (shared_t *shared)
{
    pthread_mutex_lock (&s_spare.lock);
    int keep = s_spare.count < SHARED_SPARE;
    if (keep) {
        shared->next = s_spare.first;
        s_spare.first = shared;
        s_spare.count++;
    }
    pthread_mutex_unlock (&s_spare.lock);
    if (keep)
        return;
    for (size_t i = 1; i <= shared->pieces; i++)
        free (shared->slot [SLOTS - i]);
    free (shared);
}

static void s_drop (shared_t *shared, long users)
{
    if (atomic_fetch_sub_explicit (&shared->users, users, memory_order_acq_rel) == users)
        s_give (shared);
}

//  Called by libzmq, on any thread
static void s_freed (void *body, void *hint)
{
    (void) body;
    slot_t *slot = hint;
    shared_t *shared = atomic_load_explicit (slot, memory_order_acquire);
    atomic_store_explicit (slot, malloc (PIECE_SIZE), memory_order_relaxed);
    s_drop (shared, 1);
}

void vtxz_unshare (vtxz_sharing_t *self)
{
    if (self->shared)
        s_drop (self->shared, MANY - (long) self->messages);
    self->shared = NULL;
}

//  The next message's slot, without what was in it
static slot_t *s_slot (vtxz_sharing_t *self)
{
    shared_t *shared = self->shared;
    slot_t *slot = &shared->slot [SLOTS - 1 - self->messages];
    if (self->messages == shared->pieces) {
        shared->pieces++;
        return slot;
    }
    if (self->messages + AHEAD < shared->pieces) {      //  another processor had them last
        char *soon = atomic_load_explicit (&slot [-AHEAD], memory_order_relaxed);
        __builtin_prefetch (soon - sizeof (size_t), 1);
        __builtin_prefetch (soon + PIECE_SIZE - 1, 1);
    }
    free (atomic_load_explicit (slot, memory_order_relaxed));
    return slot;
}

int vtxz_share (vtxz_sharing_t *self, zmq_msg_t *message, const unsigned char *body, size_t size, size_t left)
{
    if (size < SHARE_FROM || size > SHARE_TO)
        return 0;
    if (self->shared) {
        size_t slots = self->messages < self->shared->pieces ? self->shared->pieces : self->messages + 1;
        if (self->used + size > (SLOTS - slots) * sizeof (void *))
            vtxz_unshare (self);
    }
    if (!self->shared) {
        if (left < SHARED_MIN)
            return 0;           //  a lone message keeps no others' memory
        *self = (vtxz_sharing_t) { .shared = s_take () };
        if (!self->shared)
            return 0;
    }
    unsigned char *to = self->shared->body + self->used;
    slot_t *slot = s_slot (self);
    if (zmq_msg_init_data (message, to, size, s_freed, slot) == -1) {
        atomic_store_explicit (slot, NULL, memory_order_relaxed);
        return 0;
    }
    atomic_store_explicit (slot, self->shared, memory_order_release);
    memcpy (to, body, size);
    self->used += size;
    self->messages++;
    return 1;
}
