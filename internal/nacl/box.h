//  Boxes of NaCl (crypto_secretbox_xsalsa20poly1305) under a key that HSalsa20 has been applied to

#ifndef VTXN_BOX_H_INCLUDED
#define VTXN_BOX_H_INCLUDED

#include <stddef.h>

//  Seals size bytes into box, which has 16 more. plain may be where it will be in the box. key (32 bytes) is what HSalsa20
//  makes of a shared key and of a nonce's first 16 bytes; nonce has the last 8.
void vtxn_seal (unsigned char *box, const unsigned char *plain, size_t size,
                const unsigned char *nonce, const unsigned char *key);

//  Opens a box with size bytes in it into plain, which is elsewhere. -1: it is no such box, and plain is as it was.
int vtxn_open (unsigned char *plain, const unsigned char *box, size_t size,
               const unsigned char *nonce, const unsigned char *key);

#endif
