#include "box.h"

#include <sodium.h>
#include <string.h>

//  The key stream of Salsa20 comes in blocks, and libsodium makes LANES bytes of it, in vector registers, in little more
//  time than one block. Blocks that are left over it makes one by one: a few are dearer than to make all and use some.
enum { BLOCK = 64, LANES = 256 };

//  A box (Cryptography in NaCl, 2009, section 10) has at its front a Poly1305 of what it holds sealed, whose key are the
//  first bytes of the key stream
enum { AUTH_KEY = crypto_onetimeauth_KEYBYTES, AUTH = crypto_onetimeauth_BYTES };

//  What of a box shares LANES with the authentication's key
enum { FRONT = LANES - AUTH_KEY };

typedef struct {
    const unsigned char *nonce, *key;
} stream_t;

//  Less than LANES bytes, from a block of the key stream on
static void
stream_short (const stream_t *self, unsigned char *out, const unsigned char *in, size_t size, size_t block)
{
    if (size <= BLOCK)
        crypto_stream_salsa20_xor_ic (out, in, size, self->nonce, block, self->key);
    else {
        unsigned char lanes [LANES] = { 0 };
        memcpy (lanes, in, size);
        crypto_stream_salsa20_xor_ic (lanes, lanes, LANES, self->nonce, block, self->key);
        memcpy (out, lanes, size);
    }
}

//  The front of a box, and the key that authenticates it; returns the front's size
static size_t
stream_front (const stream_t *self, unsigned char *out, const unsigned char *in, size_t size,
              unsigned char auth_key [AUTH_KEY])
{
    unsigned char lanes [LANES] = { 0 };
    if (size > FRONT)
        size = FRONT;
    memcpy (lanes + AUTH_KEY, in, size);
    size_t used = AUTH_KEY + size <= BLOCK? BLOCK: LANES;
    crypto_stream_salsa20_xor (lanes, lanes, used, self->nonce, self->key);
    memcpy (auth_key, lanes, AUTH_KEY);
    memcpy (out, lanes + AUTH_KEY, size);
    return size;
}

//  What comes behind the front
static void
stream_rest (const stream_t *self, unsigned char *out, const unsigned char *in, size_t size)
{
    size_t whole = size / LANES * LANES, block = LANES / BLOCK;
    if (whole)
        crypto_stream_salsa20_xor_ic (out, in, whole, self->nonce, block, self->key);
    if (size > whole)
        stream_short (self, out + whole, in + whole, size - whole, block + whole / BLOCK);
}

void
vtxn_seal (unsigned char *box, const unsigned char *plain, size_t size, const unsigned char *nonce, const unsigned char *key)
{
    stream_t stream = { nonce, key };
    unsigned char auth_key [AUTH_KEY];
    unsigned char *sealed = box + AUTH;
    size_t front = stream_front (&stream, sealed, plain, size, auth_key);
    if (size > front)
        stream_rest (&stream, sealed + front, plain + front, size - front);
    crypto_onetimeauth (box, sealed, size, auth_key);
}

int
vtxn_open (unsigned char *plain, const unsigned char *box, size_t size, const unsigned char *nonce, const unsigned char *key)
{
    stream_t stream = { nonce, key };
    unsigned char auth_key [AUTH_KEY], opened [FRONT];
    const unsigned char *sealed = box + AUTH;
    size_t front = stream_front (&stream, opened, sealed, size, auth_key);
    if (crypto_onetimeauth_verify (box, sealed, size, auth_key) != 0)
        return -1;
    memcpy (plain, opened, front);
    if (size > front)
        stream_rest (&stream, plain + front, sealed + front, size - front);
    return 0;
}
