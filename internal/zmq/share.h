#ifndef VTX_ZMQ_SHARE_H
#define VTX_ZMQ_SHARE_H

#include <stddef.h>
#include <zmq.h>

//  Bodies that arrive together share a piece of memory, as those of libzmq's own decoder do: one malloc and one free for
//  each, by two threads, cost as much as all the rest. Smaller ones fit into a zmq_msg_t; larger ones are worth their own.

//  The memory that one batch gives its messages. It starts as zeros, and belongs to one thread.
typedef struct {
    struct vtxz_shared_t *shared;       //  NULL: none yet
    size_t used;
    size_t messages;
} vtxz_sharing_t;

//  Makes a message of a copy of body; size is at most left, what the batch has yet to send with it. 0: its memory is not
//  worth sharing, or there is none; message is as it was.
int vtxz_share (vtxz_sharing_t *self, zmq_msg_t *message, const unsigned char *body, size_t size, size_t left);

//  The batch is through. Its messages keep what they have.
void vtxz_unshare (vtxz_sharing_t *self);

#endif
