#include "share.h"
#include "spare.h"

#include <stdatomic.h>
#include <string.h>

enum { SHARE_FROM = 34, SHARE_TO = 1024, SHARED_MIN = 2048, SHARED_SIZE = 16000 };

typedef struct vtxz_shared_t {
    atomic_long users;          //  messages that libzmq has not freed yet, or more: see MANY
    unsigned char body [SHARED_SIZE];
} shared_t;

//  What users starts with, so that counting the messages one by one is left to those who free them.
#define MANY (1L << 40)

static void s_drop (shared_t *shared, long users)
{
    if (atomic_fetch_sub_explicit (&shared->users, users, memory_order_acq_rel) == users)
        vtxz_spare_give (shared);
}

//  Called by libzmq, on any thread
static void s_freed (void *body, void *shared)
{
    (void) body;
    s_drop (shared, 1);
}

void vtxz_unshare (vtxz_sharing_t *self)
{
    if (self->shared)
        s_drop (self->shared, MANY - self->messages);
    self->shared = NULL;
}

int vtxz_share (vtxz_sharing_t *self, zmq_msg_t *message, const unsigned char *body, size_t size, size_t left)
{
    if (size < SHARE_FROM || size > SHARE_TO)
        return 0;
    if (self->shared && SHARED_SIZE - self->used < size)
        vtxz_unshare (self);
    if (!self->shared) {
        if (left < SHARED_MIN)
            return 0;           //  a lone message keeps no others' memory
        *self = (vtxz_sharing_t) { .shared = vtxz_spare_take (sizeof (shared_t)) };
        if (!self->shared)
            return 0;
        atomic_init (&self->shared->users, MANY);
    }
    unsigned char *to = self->shared->body + self->used;
    if (zmq_msg_init_data (message, to, size, s_freed, self->shared) == -1)
        return 0;
    memcpy (to, body, size);
    self->used += size;
    self->messages++;
    return 1;
}
