#ifndef VTX_ARENA_BLOCK_H
#define VTX_ARENA_BLOCK_H

#include <stddef.h>

//  Memory that may be refused: Go's heap ends the process where it cannot grow. One thread takes a block and any other may
//  give it back. malloc returns large blocks to the system and gets them anew: at 64 KiB those page faults cost as much as
//  all copying. So a few blocks of each size from 32 KiB to 4 MiB are kept: this much in all, in bytes.
#define VTXA_SPARE_MOST     (16 << 20)

//  At least size bytes, not initialised, and how many there are; NULL: there are none, or what would be left is too little
//  for everybody else (see vtxa_claim).
void *vtxa_take (size_t size, size_t *room);

//  A block with more room, and in it the first used bytes of what it had; NULL: there is none, and the block is as it was.
void *vtxa_grow (void *memory, size_t used, size_t size, size_t *room);

void vtxa_give (void *memory);

//  The same, as libzmq's zmq_free_fn: the block is the hint
void vtxa_freed (void *body, void *memory);

//  Whether somebody else (libzmq, Go) may take size bytes more on account of a peer. 0: no.
int vtxa_claim (size_t size);

//  What is kept now, and what is taken and not given back, in bytes
size_t vtxa_kept (void);
size_t vtxa_taken (void);

#endif
