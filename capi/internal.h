/*  What shim.c, czmq2.c and zthread.c tell each other. None of it is exported. */

#ifndef VTX_INTERNAL_H_INCLUDED
#define VTX_INTERNAL_H_INCLUDED

#include <stdint.h>
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

//  Let self close a socket that it was not asked to make, and that keeps its own settings.
//  Returns 0 if self is not a live zctx_t of this library or memory is out.
int vtx_zctx_list_ (zctx_t *self, void *socket);

//  The socket now has endpoints of vtx, so it is to be closed through it.
void vtx_zctx_joined_ (void *socket, vtx_t *vtx);

//  The list entry of a socket, NULL if it is in none, and what to do with it once
//  the socket was closed.
void *vtx_zctx_item_ (void *socket);
void vtx_zctx_closed_ (void *item);

//  A context for a driver, which shares zmq. NULL with errno.
zctx_t *vtx_zctx_driver_ (void *zmq);

//  vtx is about to end and to close the sockets that it made.
void vtx_zctx_vtx_gone_ (vtx_t *vtx);

//  zthread.c ----------------------------------------------------------------

//  Run a driver's function in an attached thread, whose pipe connects to the inproc
//  endpoint control. vtxgo_driver_ended (driver) is called when it has returned and its
//  sockets are closed. Returns 0 or an errno.
int vtx_driver_start_ (void *zmq, uintptr_t driver_fn, const char *control, uintptr_t driver);

#endif
