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
    unsigned char lanes [LANES];        //  the authentication's key, and the front of a box
} crypt_t;

//  Applies the key stream to the front of a box, which lies in lanes
static void
s_apply_front (crypt_t *self, size_t size)
{
    size_t used = AUTH_KEY + size <= BLOCK? BLOCK: LANES;
    memset (self->lanes, 0, AUTH_KEY);
    memset (self->lanes + AUTH_KEY + size, 0, used - AUTH_KEY - size);
    crypto_stream_salsa20_xor (self->lanes, self->lanes, used, self->nonce, self->key);
}

//  Applies it to what comes behind the front, if anything does
static void
s_apply_rest (const crypt_t *self, unsigned char *out, const unsigned char *in, size_t size)
{
    unsigned long long block = LANES / BLOCK;
    size_t whole = size / LANES * LANES, some = size - whole;
    if (whole)
        crypto_stream_salsa20_xor_ic (out, in, whole, self->nonce, block, self->key);
    block += whole / BLOCK;
    out += whole;
    in += whole;
    if (some > BLOCK) {
        unsigned char lanes [LANES] = { 0 };
        memcpy (lanes, in, some);
        crypto_stream_salsa20_xor_ic (lanes, lanes, LANES, self->nonce, block, self->key);
        memcpy (out, lanes, some);
    }
    else
    if (some)
        crypto_stream_salsa20_xor_ic (out, in, some, self->nonce, block, self->key);
}

//  How much of the body is in the front
static size_t
s_front_body (size_t head_size, size_t body_size)
{
    size_t room = FRONT - head_size;
    return body_size < room? body_size: room;
}

void
vtxn_seal (unsigned char *box, const unsigned char *head, size_t head_size, const unsigned char *body, size_t body_size,
           const unsigned char *nonce, const unsigned char *key)
{
    crypt_t crypt = { .nonce = nonce, .key = key };
    unsigned char *front = crypt.lanes + AUTH_KEY, *sealed = box + AUTH;
    size_t front_body = s_front_body (head_size, body_size), front_size = head_size + front_body;
    memcpy (front, head, head_size);
    memcpy (front + head_size, body, front_body);
    s_apply_front (&crypt, front_size);
    memcpy (sealed, front, front_size);
    s_apply_rest (&crypt, sealed + front_size, body + front_body, body_size - front_body);
    crypto_onetimeauth (box, sealed, head_size + body_size, crypt.lanes);
}

int
vtxn_open (unsigned char *head, size_t head_size, unsigned char *body, size_t body_size, const unsigned char *box,
           const unsigned char *nonce, const unsigned char *key)
{
    crypt_t crypt = { .nonce = nonce, .key = key };
    unsigned char *front = crypt.lanes + AUTH_KEY;
    const unsigned char *sealed = box + AUTH;
    size_t front_body = s_front_body (head_size, body_size), front_size = head_size + front_body;
    memcpy (front, sealed, front_size);
    s_apply_front (&crypt, front_size);
    if (crypto_onetimeauth_verify (box, sealed, head_size + body_size, crypt.lanes) != 0)
        return -1;
    memcpy (head, front, head_size);
    memcpy (body, front + head_size, front_body);
    s_apply_rest (&crypt, body + front_body, sealed + front_size, body_size - front_body);
    return 0;
}

void
vtxn_seal_all (unsigned char *sealed, const unsigned char *plain, const vtxn_box_t *boxes, size_t count,
               const unsigned char *key)
{
    for (const vtxn_box_t *box = boxes; box < boxes + count; box++)
        vtxn_seal (sealed + box->sealed, &box->head, 1, plain + box->plain, box->size, box->nonce, key);
}

size_t
vtxn_open_all (unsigned char *plain, const unsigned char *sealed, vtxn_box_t *boxes, size_t count,
               const unsigned char *key)
{
    size_t opened = 0;
    while (opened < count) {
        vtxn_box_t *box = boxes + opened;
        if (vtxn_open (&box->head, 1, plain + box->plain, box->size, sealed + box->sealed, box->nonce, key) != 0)
            break;
        opened++;
    }
    return opened;
}
