#include "batch.h"
#include "share.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

//  Frame flags of RFC 23.
enum { FRAME_MORE = 1, FRAME_LONG = 2 };

vtxz_pipe_t *vtxz_pipe_new (void *socket)
{
    vtxz_pipe_t *pipe = calloc (1, sizeof *pipe);
    if (pipe) {
        pipe->socket = socket;
        zmq_msg_init (&pipe->frame);
        zmq_msg_init (&pipe->large);
    }
    return pipe;
}

void vtxz_pipe_destroy (vtxz_pipe_t *pipe)
{
    zmq_msg_close (&pipe->frame);
    zmq_msg_close (&pipe->large);
    free (pipe);
}

static vtxz_moved_t s_end (vtxz_pipe_t *pipe, vtxz_moved_t moved, int error)
{
    size_t size = sizeof moved.events;
    int rc;
    moved.error = error == EAGAIN ? 0 : error;
    do
        rc = zmq_getsockopt (pipe->socket, ZMQ_EVENTS, &moved.events, &size);
    while (rc == -1 && errno == EINTR);
    if (rc == -1 && !moved.error)
        moved.error = errno;
    if (pipe->holding)          //  libzmq does not count what it has given already
        moved.events |= ZMQ_POLLIN;
    return moved;
}

//  The length of a frame's head, and the size of its body
static size_t s_head (const unsigned char *frame, size_t *size)
{
    if (!(frame [0] & FRAME_LONG)) {
        *size = frame [1];
        return 2;
    }
    *size = 0;
    for (int i = 1; i < 9; i++)
        *size = *size << 8 | frame [i];
    return 9;
}

static size_t s_put_head (unsigned char *to, size_t size, int more)
{
    to [0] = more ? FRAME_MORE : 0;
    if (size < 256) {
        to [1] = (unsigned char) size;
        return 2;
    }
    to [0] |= FRAME_LONG;
    for (int i = 8; i > 0; i--, size >>= 8)
        to [i] = (unsigned char) size;
    return 9;
}

vtxz_moved_t vtxz_recv (vtxz_pipe_t *pipe, unsigned char *buf, size_t len, size_t cap, size_t soft, size_t most,
    int look, int apart)
{
    vtxz_moved_t moved = { .bytes = len };
    int error = 0;
    size_t whole = 0;           //  end of the last whole message of this call

    for (;;) {
        if (!pipe->holding) {
            if (zmq_msg_recv (&pipe->frame, pipe->socket, ZMQ_DONTWAIT) == -1) {
                if (errno == EINTR)
                    continue;
                error = errno;
                break;
            }
            pipe->holding = 1;
        }
        size_t size = zmq_msg_size (&pipe->frame);
        int more = zmq_msg_more (&pipe->frame);
        int large = apart && !more && size >= VTXZ_LARGE;
        size_t need = (large ? 0 : size) + (size < 256 ? 2 : 9);
        if (need > cap - moved.bytes) {
            if (whole != moved.bytes || whole == 0)
                moved.want = need;
            break;
        }
        moved.bytes += s_put_head (buf + moved.bytes, size, more);
        pipe->holding = 0;
        if (large) {
            zmq_msg_move (&pipe->large, &pipe->frame);
            moved.messages++;
            moved.large = 1;
            break;
        }
        memcpy (buf + moved.bytes, zmq_msg_data (&pipe->frame), size);
        moved.bytes += size;
        if (!more) {
            moved.messages++;
            whole = moved.bytes;
            if (moved.bytes >= soft || moved.messages == most)
                break;
        }
    }
    if (look)
        return s_end (pipe, moved, error);
    moved.error = error == EAGAIN ? 0 : error;
    moved.events = error ? 0 : ZMQ_POLLIN;
    return moved;
}

//  zmq_send, out of the memory that is shared where that is worth it
static int s_send (vtxz_pipe_t *pipe, vtxz_sharing_t *s, const unsigned char *body, size_t size, size_t left, int flags)
{
    zmq_msg_t message;
    if (!vtxz_share (s, &message, body, size, left))
        return zmq_send (pipe->socket, body, size, flags);
    int rc = zmq_msg_send (&message, pipe->socket, flags);
    if (rc == -1) {
        int error = errno;
        zmq_msg_close (&message);
        errno = error;
    }
    return rc;
}

//  How long the message at the front of buf is, if it has several frames and one of them is large; else 0
static size_t s_large_parts (const unsigned char *buf, int *frames)
{
    size_t at = 0, size, largest = 0;
    int more = 1;
    for (*frames = 0; more; ++*frames) {
        more = buf [at] & FRAME_MORE;
        at += s_head (buf + at, &size);
        at += size;
        if (size > largest)
            largest = size;
    }
    return *frames > 1 && largest >= VTXZ_LARGE? at: 0;
}

//  Sends such a message, or none of it: 0, or -1 and errno. All its memory is asked for first, since half a message would
//  stay in the pipe and be the beginning of the next.
static int s_send_large_parts (vtxz_pipe_t *pipe, const unsigned char *buf, int frames)
{
    zmq_msg_t *parts = malloc (frames * sizeof *parts);
    int made = 0, sent = 0, error = parts? 0: ENOMEM;
    for (size_t size; !error && made < frames; buf += size) {
        buf += s_head (buf, &size);
        if (zmq_msg_init_size (&parts [made], size) == -1)
            error = errno;
        else
            memcpy (zmq_msg_data (&parts [made++]), buf, size);
    }
    while (!error && sent < frames) {
        if (zmq_msg_send (&parts [sent], pipe->socket, ZMQ_DONTWAIT | (sent < frames - 1? ZMQ_SNDMORE: 0)) != -1)
            sent++;
        else
        if (errno != EINTR)
            error = errno;
    }
    if (sent > 0 && error == EAGAIN)
        error = 0;              //  libzmq has given the message up half-way: its pipe went
    while (sent < made)
        zmq_msg_close (&parts [sent++]);
    free (parts);
    errno = error;
    return error? -1: 0;
}

vtxz_moved_t vtxz_send (vtxz_pipe_t *pipe, const unsigned char *buf, size_t len, int look)
{
    vtxz_moved_t moved = { 0 };
    vtxz_sharing_t sharing = { 0 };
    size_t at = 0;
    int error = 0;
    int inside = 0;             //  between two frames of one message
    int dropping = 0;           //  libzmq gave the message up half-way: its pipe went

    while (at < len) {
        int more = buf [at] & FRAME_MORE, frames;
        size_t whole = more && !inside? s_large_parts (buf + at, &frames): 0;
        if (whole) {
            if (s_send_large_parts (pipe, buf + at, frames) == -1) {
                error = errno;
                break;
            }
            moved.messages++;
            moved.bytes = at += whole;
            continue;
        }
        size_t size, head = s_head (buf + at, &size);
        if (!dropping
        &&  s_send (pipe, &sharing, buf + at + head, size, len - at, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) == -1) {
            if (errno == EINTR)
                continue;
            error = errno;
            if (!inside || error != EAGAIN)
                break;
            dropping = 1;
            error = 0;
        }
        at += head + size;
        inside = more;
        if (!more) {
            moved.messages++;
            moved.bytes = at;
            dropping = 0;
        }
    }
    vtxz_unshare (&sharing);
    if (error == EAGAIN && !look)
        return moved;
    return s_end (pipe, moved, error);
}

vtxz_moved_t vtxz_send_large (vtxz_pipe_t *pipe, const unsigned char *buf, size_t len, zmq_msg_t *large, int look)
{
    vtxz_moved_t moved = { 0 };
    size_t at = 0;
    int dropping = 0;
    while (at < len) {
        size_t size, head = s_head (buf + at, &size);
        if (!dropping
        &&  zmq_send (pipe->socket, buf + at + head, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) == -1) {
            if (errno == EINTR)
                continue;
            if (at == 0 && errno == EAGAIN && !look)
                return moved;
            if (at == 0 || errno != EAGAIN)
                return s_end (pipe, moved, errno);
            dropping = 1;       //  as in vtxz_send
        }
        at += head + size;
    }
    if (!dropping) {
        int rc;
        do
            rc = zmq_msg_send (large, pipe->socket, ZMQ_DONTWAIT);
        while (rc == -1 && errno == EINTR);
        if (rc == -1 && len == 0 && errno == EAGAIN && !look)
            return moved;
        if (rc == -1 && (len == 0 || errno != EAGAIN))
            return s_end (pipe, moved, errno);
    }
    moved.messages = 1;
    return s_end (pipe, moved, 0);
}

int vtxz_large_init (zmq_msg_t *large, void *memory, size_t front, size_t size, zmq_free_fn *freed)
{
    if (zmq_msg_init_data (large, (char *) memory + front, size, freed, memory) == 0)
        return 0;
    int error = errno;
    freed (NULL, memory);
    zmq_msg_init (large);
    errno = error;
    return -1;
}

void vtxz_skip (vtxz_pipe_t *pipe)
{
    while (pipe->holding && zmq_msg_more (&pipe->frame))
        if (zmq_msg_recv (&pipe->frame, pipe->socket, ZMQ_DONTWAIT) == -1 && errno != EINTR)
            break;
    pipe->holding = 0;
    zmq_msg_close (&pipe->frame);
    zmq_msg_init (&pipe->frame);
}

vtxz_moved_t vtxz_events (vtxz_pipe_t *pipe)
{
    vtxz_moved_t moved = { 0 };
    return s_end (pipe, moved, 0);
}
