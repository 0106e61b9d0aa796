#ifndef VTX_ZMQ_BATCH_H
#define VTX_ZMQ_BATCH_H

#include <stddef.h>
#include <zmq.h>

//  From this size on, in bytes, a body is worth a place of its own.
#define VTXZ_LARGE 32768

//  One libzmq socket of the engine's, with the frame that did not fit into the last batch, and the body that did not
//  belong there.
typedef struct {
    void *socket;
    zmq_msg_t frame;
    int holding;                //  frame was received and not yet copied out
    zmq_msg_t large;            //  empty but where vtxz_recv has just said so
} vtxz_pipe_t;

//  An open socket's; the socket itself is not closed. NULL: no memory.
vtxz_pipe_t *vtxz_pipe_new (void *socket);
void vtxz_pipe_destroy (vtxz_pipe_t *pipe);

//  What one call moved, and what ZMQ_EVENTS said after it. ZMQ_FD wakes only once per change, so every
//  call that lets libzmq process its commands has to look.
typedef struct {
    size_t bytes;
    size_t messages;
    size_t want;                //  recv: room needed to go on, 0 if the call ended for another reason
    int large;                  //  recv: the last body is not in buf but in the pipe's large
    int events;
    int error;                  //  errno of libzmq, 0 if none; EAGAIN is not an error
} vtxz_moved_t;

//  Receives whole messages into buf, framed as on a ZMTP connection, until the pipe is empty, soft bytes
//  are there or most messages have come (0 = no limit). A message may grow past soft, never past cap: then want says how
//  much more it needs and the next call, with what is there kept in front, goes on inside the message. look asks libzmq for ZMQ_EVENTS at
//  the end; without it, events says only whether the pipe may have more. That saves system calls.
//  Where apart is set, a body of at least VTXZ_LARGE bytes that ends a message is moved to the pipe's large, and ends the
//  call.
vtxz_moved_t vtxz_recv (vtxz_pipe_t *pipe, unsigned char *buf, size_t len, size_t cap, size_t soft, size_t most,
    int look, int apart);

//  Sends the whole messages in buf until libzmq takes no more. look as above, for when it takes no more; when
//  everything was taken, events is always right.
vtxz_moved_t vtxz_send (vtxz_pipe_t *pipe, const unsigned char *buf, size_t len, int look);

//  Sends one message: the whole frames in buf, each followed by more, and then large, which it empties. If libzmq
//  takes none of it, messages is 0. look as for vtxz_send.
vtxz_moved_t vtxz_send_large (vtxz_pipe_t *pipe, const unsigned char *buf, size_t len, zmq_msg_t *large, int look);

//  Makes an empty message the size bytes behind the first front ones in memory, which freed is called with when they are
//  not needed any more: at once where this fails. -1: errno.
int vtxz_large_init (zmq_msg_t *large, void *memory, size_t front, size_t size, zmq_free_fn *freed);

//  Throws away the rest of a message of which vtxz_recv wanted more than there is.
void vtxz_skip (vtxz_pipe_t *pipe);

//  ZMQ_EVENTS of a socket, after processing what is waiting for it.
vtxz_moved_t vtxz_events (vtxz_pipe_t *pipe);

#endif
