//  Boxes of NaCl (crypto_secretbox_xsalsa20poly1305) under a key that HSalsa20 has been applied to

#ifndef VTXN_BOX_H_INCLUDED
#define VTXN_BOX_H_INCLUDED

#include <stddef.h>

//  What is in a box is a head, of at most VTXN_HEAD bytes, and a body, which need not be next to each other
#define VTXN_HEAD   64

//  key has 32 bytes: what HSalsa20 makes of a shared key and of a nonce's first 16 bytes; nonce has the other 8

//  Seals head and body into box, which is elsewhere and has 16 bytes more
void vtxn_seal (unsigned char *box, const unsigned char *head, size_t head_size, const unsigned char *body, size_t body_size,
                const unsigned char *nonce, const unsigned char *key);

//  Opens a box into head and body, which are elsewhere, or body where it lies in the box. -1: it is no such box, and they
//  are as they were.
int vtxn_open (unsigned char *head, size_t head_size, unsigned char *body, size_t body_size, const unsigned char *box,
               const unsigned char *nonce, const unsigned char *key);

//  One of many boxes, whose head is one byte
typedef struct {
    size_t plain, sealed;       //  where its body and the box begin, in bytes from the beginning of all bodies and all boxes
    size_t size;                //  of the body
    unsigned char nonce [8];
    unsigned char head;
} vtxn_box_t;

//  Seals count boxes
void vtxn_seal_all (unsigned char *sealed, const unsigned char *plain, const vtxn_box_t *boxes, size_t count,
                    const unsigned char *key);

//  Opens count boxes, up to the first that is none, and returns how many
size_t vtxn_open_all (unsigned char *plain, const unsigned char *sealed, vtxn_box_t *boxes, size_t count,
                      const unsigned char *key);

#endif
