/*  libzmq sockets on either of two sides: their endpoints are libzmq's own, or VTX's */

#ifndef SOCKETS_H_INCLUDED
#define SOCKETS_H_INCLUDED

#include <stdbool.h>
#include <vtx.h>

typedef struct {
    void *ctx;
    vtx_t *vtx;             //  NULL on libzmq's side
    bool curve;
} side_t;

//  Ends the program unless ok, with libzmq's reason
void check (bool ok, const char *what);

//  libvtx is loaded by its own side only, so that the other has no thread and no byte of it.
//  many is how many sockets and peers there will be.
void side_open (side_t *self, bool vtx, bool curve, int many);
void side_close (side_t *self);

//  An option of VTX, NAME=VALUE
void side_option (side_t *self, const char *option);

//  Prints the versions of libzmq and, if it is to be found, of libvtx
void side_versions (void);

//  Everything is libzmq's default but that no wait is endless, and nothing lingers
void *side_socket (side_t *self, int type);
void side_bind (side_t *self, void *socket, const char *endpoint);
//  Prints where the socket is bound: clients can come from here on
void side_tell (side_t *self, void *socket);
void side_connect (side_t *self, void *socket, const char *endpoint);
void side_close_socket (side_t *self, void *socket);

void set_option (void *socket, int option, int value);

#endif
