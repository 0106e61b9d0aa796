#include "spare.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

//  Sizes go up by a factor of two from the first. What a piece has beyond its body is not touched, so that the system need
//  not give it.
enum { FIRST_SIZE = 32 << 10, SIZES = 8 };      //  32 KiB to 4 MiB

//  In front of what is given away, which stays as well aligned as malloc's
typedef union piece_t {
    struct {
        union piece_t *next;    //  of the spare ones
        int kind;               //  the index of its size, SIZES: not to be kept
    };
    char line [64];
} piece_t;

static struct {
    pthread_mutex_t lock;
    piece_t *first [SIZES];
    size_t kept;
} s_spare = { .lock = PTHREAD_MUTEX_INITIALIZER };

void *vtxz_spare_take (size_t size)
{
    int kind = 0;
    size_t room = FIRST_SIZE;
    while (kind < SIZES && room < size) {
        kind++;
        room *= 2;
    }
    piece_t *piece = NULL;
    if (kind < SIZES) {
        pthread_mutex_lock (&s_spare.lock);
        piece = s_spare.first [kind];
        if (piece) {
            s_spare.first [kind] = piece->next;
            s_spare.kept -= room;
        }
        pthread_mutex_unlock (&s_spare.lock);
    }
    else
        room = size;
    if (!piece) {
        if (room > SIZE_MAX - sizeof *piece)
            return NULL;
        piece = malloc (sizeof *piece + room);
        if (!piece)
            return NULL;
        piece->kind = kind;
    }
    return piece + 1;
}

void vtxz_spare_give (void *memory)
{
    piece_t *piece = (piece_t *) memory - 1;
    if (piece->kind < SIZES) {
        size_t room = (size_t) FIRST_SIZE << piece->kind;
        pthread_mutex_lock (&s_spare.lock);
        if (s_spare.kept + room <= VTXZ_SPARE_MOST) {
            piece->next = s_spare.first [piece->kind];
            s_spare.first [piece->kind] = piece;
            s_spare.kept += room;
            piece = NULL;
        }
        pthread_mutex_unlock (&s_spare.lock);
    }
    free (piece);
}

size_t vtxz_spare_kept (void)
{
    pthread_mutex_lock (&s_spare.lock);
    size_t kept = s_spare.kept;
    pthread_mutex_unlock (&s_spare.lock);
    return kept;
}
