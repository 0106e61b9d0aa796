/*  What shim.c and czmq2.c tell each other. None of it is exported. */

#ifndef VTX_INTERNAL_H_INCLUDED
#define VTX_INTERNAL_H_INCLUDED

#include "vtx.h"

//  The size of the buffer that takes an export's sentence
#define VTX_WHY_SIZE 1024

//  shim.c -------------------------------------------------------------------

//  Nonzero in a child of fork, where neither Go nor libzmq has any threads left.
int vtx_forked_ (void);

//  Nonzero if socket points to an open libzmq socket, or one whose context has ended.
int vtx_is_socket_ (void *socket);

//  czmq2.c ------------------------------------------------------------------

//  The libzmq context in self, NULL if self is not a live zctx_t of this library.
void *vtx_zctx_zmq_ (zctx_t *self);

//  Take a socket that vtx has made on behalf of self: give it the context's linger
//  and high-water marks and note who will close it.
void vtx_zctx_adopt_ (zctx_t *self, void *socket, vtx_t *vtx);

//  The socket now has endpoints of vtx, so it is to be closed through it.
void vtx_zctx_joined_ (void *socket, vtx_t *vtx);

//  The list entry of a socket, NULL if it is in none, and what to do with it once
//  the socket was closed.
void *vtx_zctx_item_ (void *socket);
void vtx_zctx_closed_ (void *item);

//  vtx is about to end and to close the sockets that it made.
void vtx_zctx_vtx_gone_ (vtx_t *vtx);

#endif
