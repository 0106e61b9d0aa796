/*  A program that is not linked to VTX and loads it when it runs, from several threads. */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

//  Only the types are taken from the header
#include <vtx.h>

#define MUST(truth) \
    do { if (!(truth)) { \
        fprintf (stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #truth, zmq_strerror (errno)); \
        _exit (1); } } while (0)

static void *library;

static void *
in_thread (void *arg)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *(*new_raw) (void *) = (vtx_t *(*) (void *)) dlsym (library, "vtx_new_raw");
    void (*destroy) (vtx_t **) = (void (*) (vtx_t **)) dlsym (library, "vtx_destroy");
    int (*reg) (vtx_t *, const char *, zthread_attached_fn *) =
        (int (*) (vtx_t *, const char *, zthread_attached_fn *)) dlsym (library, "vtx_register");
    zthread_attached_fn *driver = (zthread_attached_fn *) dlsym (library, "vtx_udp_driver");
    int (*bind_) (vtx_t *, void *, const char *) = (int (*) (vtx_t *, void *, const char *)) dlsym (library, "vtx_bind");
    int (*connect_) (vtx_t *, void *, const char *) = (int (*) (vtx_t *, void *, const char *)) dlsym (library, "vtx_connect");
    char *(*meta) (vtx_t *, void *, const char *) = (char *(*) (vtx_t *, void *, const char *)) dlsym (library, "vtx_getmeta");
    const char *(*error) (void) = (const char *(*) (void)) dlsym (library, "vtx_error");
    MUST (new_raw && destroy && reg && driver && bind_ && connect_ && meta && error);

    vtx_t *vtx = new_raw (zmq);
    MUST (vtx != NULL);
    MUST (reg (vtx, "lan", driver) == 0);
    MUST (bind_ (vtx, NULL, "udp://*:1") == -1 && errno == ENOTSOCK && *error ());
    if (arg) {
        int wait = 20000;
        void *rep = zmq_socket (zmq, ZMQ_REP);
        void *req = zmq_socket (zmq, ZMQ_REQ);
        zmq_setsockopt (rep, ZMQ_RCVTIMEO, &wait, sizeof wait);
        zmq_setsockopt (req, ZMQ_RCVTIMEO, &wait, sizeof wait);
        MUST (bind_ (vtx, rep, "lan://127.0.0.1:*") == 0);
        char *endpoint = meta (vtx, rep, "endpoint");
        MUST (endpoint && connect_ (vtx, req, endpoint) == 0);
        char buffer [10];
        MUST (zmq_send (req, "ping", 4, 0) == 4);
        MUST (zmq_recv (rep, buffer, sizeof buffer, 0) == 4);
        MUST (zmq_send (rep, "pong", 4, 0) == 4);
        MUST (zmq_recv (req, buffer, sizeof buffer, 0) == 4);
        zmq_close (req);
        zmq_close (rep);
    }
    destroy (&vtx);
    MUST (zmq_ctx_term (zmq) == 0);
    return NULL;
}

int
main (int argc, char **argv)
{
    MUST (argc > 1);
    alarm (60);
    int talk = argc > 2;
    for (int round = 0; round < 3; round++) {
        //  Unloading is a request that the library declines: Go's threads run in it
        library = dlopen (argv [1], RTLD_NOW | (round == 1? RTLD_GLOBAL: RTLD_LOCAL));
        if (!library)
            fprintf (stderr, "%s\n", dlerror ());
        MUST (library);
        pthread_t threads [4];
        for (int i = 0; i < 4; i++)
            MUST (pthread_create (&threads [i], NULL, in_thread, talk? argv: NULL) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join (threads [i], NULL);
        dlclose (library);
    }
    return 0;
}
