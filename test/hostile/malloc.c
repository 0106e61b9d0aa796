//go:build ignore
// This is not part of the Go package: main_test.go compiles it.

/*  Preloaded into the victim: malloc, calloc and realloc fail at random where libvtx or libzmq ask for much, so only in
    what a peer can cause.

    HOSTILE_MALLOC="SEED PERCENT": how often, and where chance begins. Less than 64 KiB is always given.
*/

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUCH 65536

static unsigned long long chance;
static int percent = -1;

//  Whether the caller is one of the two libraries
static int
s_theirs (void *caller)
{
    Dl_info info;
    return dladdr (caller, &info) && info.dli_fname
        && (strstr (info.dli_fname, "libvtx.so") || strstr (info.dli_fname, "libzmq.so"));
}

static int
s_fails (size_t size, void *caller)
{
    if (size < MUCH)
        return 0;
    if (percent == -1) {
        const char *how = getenv ("HOSTILE_MALLOC");
        int rate = 0;
        if (how)
            sscanf (how, "%llu %d", &chance, &rate);
        percent = rate;
    }
    //  Threads may mix their steps: it only is to be no pattern
    unsigned long long x = __atomic_add_fetch (&chance, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    if ((int) (x % 100) >= percent || !s_theirs (caller))
        return 0;
    errno = ENOMEM;
    return 1;
}

extern void *__libc_malloc (size_t size);
extern void *__libc_calloc (size_t count, size_t size);
extern void *__libc_realloc (void *old, size_t size);

void *
malloc (size_t size)
{
    return s_fails (size, __builtin_return_address (0))? NULL: __libc_malloc (size);
}

void *
calloc (size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow (count, size, &all))
        return NULL;
    return s_fails (all, __builtin_return_address (0))? NULL: __libc_calloc (count, size);
}

void *
realloc (void *old, size_t size)
{
    return s_fails (size, __builtin_return_address (0))? NULL: __libc_realloc (old, size);
}
