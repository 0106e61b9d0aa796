#define _GNU_SOURCE
#include "block.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

//  Sizes go up by a factor of two from the first. What a block has beyond its content is not touched, so that the system
//  need not give it.
enum { FIRST_SIZE = 32 << 10, SIZES = 8, LAST_SIZE = FIRST_SIZE << (SIZES - 1) };

//  In front of what is given away, which stays as well aligned as malloc's
typedef union piece_t {
    struct {
        union piece_t *next;    //  of the spare ones
        size_t room;
        int kind;               //  the index of its size, SIZES: not to be kept
    };
    char line [64];
} piece_t;

static struct {
    pthread_mutex_t lock;
    piece_t *first [SIZES];
    size_t kept;
} s_spare = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_size_t s_taken;

//  What is left to everybody else, in bytes: Go's heap grows by 64 MiB at a time, a thread has a stack of 8 MiB, malloc
//  takes 64 MiB for the first use by a thread. All of these end the process where they fail. Who asks for much leaves more,
//  and as much again as he then has: so whoever takes all that he can leaves others what they need for messages of the
//  usual sizes.
#define LEAST_LEFT      ((size_t) 128 << 20)
#define LARGE_LEAVES    ((size_t) 64 << 20)

//  How many bytes may be taken from one look at what is left to the next
#define UNSEEN_MOST     ((size_t) 16 << 20)
static atomic_size_t s_unseen = UNSEEN_MOST;

//  The size of the address space, in bytes; 0: not known
static size_t s_size (void)
{
    char text [32];
    int fd = open ("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return 0;
    ssize_t n = read (fd, text, sizeof text - 1);
    close (fd);
    if (n <= 0)
        return 0;
    text [n] = 0;
    return (size_t) strtoull (text, NULL, 10) * (size_t) sysconf (_SC_PAGESIZE);
}

//  Whether the system would give size bytes. Under RLIMIT_AS this reckons and does not try: what a try takes for a moment,
//  others might miss.
static int s_there (size_t size)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        size_t used = s_size ();
        if (used > 0)
            return used <= limit.rlim_cur && size <= limit.rlim_cur - used;
    }
    void *memory = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return 0;
    munmap (memory, size);
    return 1;
}

//  Whether more bytes may be taken, for somebody who then has whole
static int s_may (size_t more, size_t whole)
{
    if (whole > SIZE_MAX / 8)
        return 0;
    size_t before = atomic_fetch_add (&s_unseen, more);
    if (more <= UNSEEN_MOST && before <= UNSEEN_MOST - more)
        return 1;
    int may = s_there (more + LEAST_LEFT + (whole > LAST_SIZE ? LARGE_LEAVES + whole : 0));
    atomic_store (&s_unseen, may ? 0 : UNSEEN_MOST);
    return may;
}

int vtxa_claim (size_t size)
{
    return s_may (size, size);
}

static size_t s_room (int kind)
{
    return (size_t) FIRST_SIZE << kind;
}

//  The smallest kind with this much room; much smaller ones are as rare as larger ones
static int s_kind (size_t size)
{
    if (size <= FIRST_SIZE / 2)
        return SIZES;
    int kind = 0;
    while (kind < SIZES && s_room (kind) < size)
        kind++;
    return kind;
}

static piece_t *s_spare_of (int kind)
{
    pthread_mutex_lock (&s_spare.lock);
    piece_t *piece = s_spare.first [kind];
    if (piece) {
        s_spare.first [kind] = piece->next;
        s_spare.kept -= piece->room;
    }
    pthread_mutex_unlock (&s_spare.lock);
    return piece;
}

//  What is larger than any that is kept comes from the system, and goes back there: malloc would keep the address space.
static int s_mapped (size_t room)
{
    return room > LAST_SIZE;
}

static piece_t *s_get (size_t room)
{
    size_t size = sizeof (piece_t) + room;
    if (!s_mapped (room))
        return malloc (size);
    void *memory = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void s_free (piece_t *piece)
{
    if (piece && s_mapped (piece->room))
        munmap (piece, sizeof *piece + piece->room);
    else
        free (piece);
}

void *vtxa_take (size_t size, size_t *room)
{
    int kind = s_kind (size);
    piece_t *piece = kind < SIZES ? s_spare_of (kind) : NULL;
    if (!piece) {
        *room = kind < SIZES ? s_room (kind) : size;
        if (!s_may (*room, *room))
            return NULL;
        piece = s_get (*room);
        if (!piece)
            return NULL;
        piece->kind = kind;
        piece->room = *room;
    }
    *room = piece->room;
    atomic_fetch_add_explicit (&s_taken, piece->room, memory_order_relaxed);
    return piece + 1;
}

void *vtxa_grow (void *memory, size_t used, size_t size, size_t *room)
{
    piece_t *piece = (piece_t *) memory - 1;
    if (!s_mapped (piece->room)) {
        void *larger = vtxa_take (size, room);
        if (larger) {
            memcpy (larger, memory, used);
            vtxa_give (memory);
        }
        return larger;
    }
    size_t more = size - piece->room;
    if (!s_may (more, size))
        return NULL;
    void *moved = mremap (piece, sizeof *piece + piece->room, sizeof *piece + size, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        return NULL;
    piece = moved;
    piece->room = *room = size;
    atomic_fetch_add_explicit (&s_taken, more, memory_order_relaxed);
    return piece + 1;
}

void vtxa_give (void *memory)
{
    piece_t *piece = (piece_t *) memory - 1;
    atomic_fetch_sub_explicit (&s_taken, piece->room, memory_order_relaxed);
    if (piece->kind < SIZES) {
        pthread_mutex_lock (&s_spare.lock);
        if (s_spare.kept + piece->room <= VTXA_SPARE_MOST) {
            piece->next = s_spare.first [piece->kind];
            s_spare.first [piece->kind] = piece;
            s_spare.kept += piece->room;
            piece = NULL;
        }
        pthread_mutex_unlock (&s_spare.lock);
    }
    s_free (piece);
}

void vtxa_freed (void *body, void *memory)
{
    (void) body;
    vtxa_give (memory);
}

size_t vtxa_kept (void)
{
    pthread_mutex_lock (&s_spare.lock);
    size_t kept = s_spare.kept;
    pthread_mutex_unlock (&s_spare.lock);
    return kept;
}

size_t vtxa_taken (void)
{
    return atomic_load (&s_taken);
}
