/*  libzmq sockets on either of two sides */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>
#include "measure.h"
#include "sockets.h"

//  Both ends have this pair of keys, which protects nothing
#define CURVE_PUBLIC    "/6#]ZYKr!mn-yd*:+Y@LyvKYM/f[+ix^6Uo-+*xj"
#define CURVE_SECRET    "pwB-^0oNwoj3ktS*oe4NJV4{^mHl:?QPg(M{ZlQp"

static struct {
    __typeof__ (vtx_new_raw) *new_raw;
    __typeof__ (vtx_destroy) *destroy;
    __typeof__ ((vtx_bind)) *bind;
    __typeof__ ((vtx_connect)) *connect;
    __typeof__ (vtx_close) *close;
    __typeof__ (vtx_getmeta) *getmeta;
    __typeof__ (vtx_setopt) *setopt;
    __typeof__ (vtx_error) *error;
    __typeof__ (vtx_version) *version;
} libvtx;

void
check (bool ok, const char *what)
{
    if (!ok)
        die (what, zmq_strerror (errno));
}

static void
check_vtx (bool ok, const char *what)
{
    if (!ok)
        die (what, libvtx.error ());
}

static void *
symbol (void *library, const char *name)
{
    void *address = dlsym (library, name);
    if (!address)
        die (name, dlerror ());
    return address;
}

static bool
load_vtx (void)
{
    void *library = dlopen ("libvtx.so.1", RTLD_NOW);
    if (!library)
        return false;
    libvtx.new_raw = symbol (library, "vtx_new_raw");
    libvtx.destroy = symbol (library, "vtx_destroy");
    libvtx.bind = symbol (library, "vtx_bind");
    libvtx.connect = symbol (library, "vtx_connect");
    libvtx.close = symbol (library, "vtx_close");
    libvtx.getmeta = symbol (library, "vtx_getmeta");
    libvtx.setopt = symbol (library, "vtx_setopt");
    libvtx.error = symbol (library, "vtx_error");
    libvtx.version = symbol (library, "vtx_version");
    return true;
}

//  Each peering takes a descriptor, and a socket or two of one
static void
allow_many (void *ctx, int count)
{
    struct rlimit files;
    check (zmq_ctx_set (ctx, ZMQ_MAX_SOCKETS, ZMQ_MAX_SOCKETS_DFLT + 2 * count) == 0, "ZMQ_MAX_SOCKETS");
    check (getrlimit (RLIMIT_NOFILE, &files) == 0, "getrlimit");
    files.rlim_cur = files.rlim_max;
    check (setrlimit (RLIMIT_NOFILE, &files) == 0, "setrlimit");
}

void
side_open (side_t *self, bool vtx, bool curve, int many)
{
    *self = (side_t) { .ctx = zmq_ctx_new (), .curve = curve };
    check (self->ctx != NULL, "zmq_ctx_new");
    if (many > 1)
        allow_many (self->ctx, many);
    if (vtx) {
        if (!load_vtx ())
            die ("libvtx", dlerror ());
        self->vtx = libvtx.new_raw (self->ctx);
        check_vtx (self->vtx != NULL, "vtx_new_raw");
    }
}

void
side_close (side_t *self)
{
    if (self->vtx)
        libvtx.destroy (&self->vtx);
    zmq_ctx_term (self->ctx);
}

void
side_option (side_t *self, const char *option)
{
    if (!self->vtx)
        die (option, "is an option of VTX");
    char *name = strdup (option), *value = strchr (name, '=');
    *value++ = 0;
    check_vtx (libvtx.setopt (self->vtx, NULL, name, value) == 0, "vtx_setopt");
    free (name);
}

void
side_versions (void)
{
    int major, minor, patch;
    zmq_version (&major, &minor, &patch);
    printf ("libzmq    %d.%d.%d\n", major, minor, patch);
    if (load_vtx ()) {
        libvtx.version (&major, &minor, &patch);
        printf ("libvtx    %d.%d.%d\n", major, minor, patch);
    }
}

void
set_option (void *socket, int option, int value)
{
    check (zmq_setsockopt (socket, option, &value, sizeof value) == 0, "zmq_setsockopt");
}

void *
side_socket (side_t *self, int type)
{
    void *socket = zmq_socket (self->ctx, type);
    check (socket != NULL, "zmq_socket");
    set_option (socket, ZMQ_LINGER, 0);
    set_option (socket, ZMQ_SNDTIMEO, PATIENCE_MS);
    set_option (socket, ZMQ_RCVTIMEO, PATIENCE_MS);
    return socket;
}

static void
secure (side_t *self, void *socket, bool server)
{
    if (!self->curve)
        return;
    set_option (socket, ZMQ_CURVE_SERVER, server);
    check (zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, CURVE_SECRET, 40) == 0, "ZMQ_CURVE_SECRETKEY");
    check (zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, CURVE_PUBLIC, 40) == 0, "ZMQ_CURVE_PUBLICKEY");
    if (!server)
        check (zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, CURVE_PUBLIC, 40) == 0, "ZMQ_CURVE_SERVERKEY");
}

void
side_bind (side_t *self, void *socket, const char *endpoint)
{
    secure (self, socket, true);
    if (self->vtx)
        check_vtx (libvtx.bind (self->vtx, socket, endpoint) == 0, "vtx_bind");
    else
        check (zmq_bind (socket, endpoint) == 0, "zmq_bind");
}

void
side_tell (side_t *self, void *socket)
{
    char text [1024];
    size_t length = sizeof text;
    if (self->vtx) {
        char *bound = libvtx.getmeta (self->vtx, socket, "endpoint");
        check_vtx (bound != NULL, "vtx_getmeta");
        report_endpoint ("", bound);
        free (bound);
    }
    else {
        check (zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, text, &length) == 0, "ZMQ_LAST_ENDPOINT");
        report_endpoint ("", text);
    }
}

void
side_connect (side_t *self, void *socket, const char *endpoint)
{
    secure (self, socket, false);
    if (self->vtx)
        check_vtx (libvtx.connect (self->vtx, socket, endpoint) == 0, "vtx_connect");
    else
        check (zmq_connect (socket, endpoint) == 0, "zmq_connect");
}

void
side_close_socket (side_t *self, void *socket)
{
    if (self->vtx)
        check_vtx (libvtx.close (self->vtx, socket) == 0, "vtx_close");
    else
        check (zmq_close (socket) == 0, "zmq_close");
}
