/*  What a driver's peerings and data pipes do for the application's sockets. The driver here only answers: it
    is the test that opens peerings, in this thread and with a zctx_t of its own.
*/

#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <vtx.h>
#include "check.h"

static void *s_zmq;
static zctx_t *s_ctx;               //  For the peerings
static vtx_t *s_vtx;

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static char s_vtxname [64];         //  Of the last BIND or CONNECT
static int s_classic = -1;          //  The type of the data pipe, if there is to be one
static void *s_data;                //  It
static int s_promise;               //  Ask to be waited for at the end
static int s_sleep;                 //  And then do nothing for so many milliseconds
static int s_sent, s_in_time;       //  The peering was closed; it had been when CLOSE came

//  It answers whatever it is told
static void
answers (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    char frame [4] [256];
    if (zmq_recv (pipe, frame [0], sizeof frame [0], 0) == -1)
        return;
    do {
        memset (frame, 0, sizeof frame);
        for (int i = 0; i < 4; i++)
            if (zmq_recv (pipe, frame [i], sizeof frame [i] - 1, 0) == -1)
                return;
        const char *answer = "0";
        pthread_mutex_lock (&s_lock);
        if (!strcmp (frame [0], "BIND") || !strcmp (frame [0], "CONNECT")) {
            strcpy (s_vtxname, frame [2]);
            if (s_classic != -1) {
                s_data = zsocket_new (ctx, s_classic);
                CHECK (zsocket_connect (s_data, "inproc://%s", frame [2]) == 0);
                limit_wait (s_data, 20000);
            }
        }
        if (!strcmp (frame [0], "CLOSE"))
            s_in_time = s_sent;
        pthread_mutex_unlock (&s_lock);
        if (s_promise && !strcmp (frame [0], "DISCONNECT"))
            answer = "115";         //  EINPROGRESS
        if (!strcmp (frame [0], "GETMETA"))
            answer = !strcmp (frame [3], "endpoint")? "there:7": !strcmp (frame [3], "sender")? "the sender": "";
        zmq_send (pipe, answer, strlen (answer), 0);
        if (s_sleep && !strcmp (frame [0], "DISCONNECT"))
            pause_ms (s_sleep);
    } while (strcmp (frame [0], "SHUTDOWN"));
}

static void
begin (void)
{
    s_ctx = zctx_shadow_zmq_ctx (s_zmq);
    s_vtx = vtx_new_raw (s_zmq);
    CHECK (vtx_register (s_vtx, "mine", answers) == 0);
}

static void
end (void)
{
    vtx_destroy (&s_vtx);
    zctx_destroy (&s_ctx);
    zmq_ctx_term (s_zmq);
}

//  A socket that is bound or connected over the driver; s_vtxname tells how the driver knows it
static void *
served (int type, int (*join) (vtx_t *, void *, const char *))
{
    void *socket = vtx_socket (s_vtx, type);
    CHECK (socket != NULL);
    limit_wait (socket, 20000);
    int interval = 1;
    zmq_setsockopt (socket, ZMQ_RECONNECT_IVL, &interval, sizeof interval);
    CHECK (join (s_vtx, socket, "mine://here") == 0);
    return socket;
}

static void *
opened (const char *id, const char *address)
{
    void *peering = vtx_peering_open (s_ctx, s_vtxname, id, address);
    CHECK (peering != NULL);
    limit_wait (peering, 20000);
    return peering;
}

static int
type_of (void *socket)
{
    int type = -1;
    size_t size = sizeof type;
    zmq_getsockopt (socket, ZMQ_TYPE, &type, &size);
    return type;
}

static void
has_peers (void *socket, const char *count)
{
    for (double until = now () + 20; ; pause_ms (1)) {
        char *peers = vtx_getmeta (s_vtx, socket, "peers");
        CHECK (peers != NULL && now () < until);
        int same = !strcmp (peers, count);
        free (peers);
        if (same)
            return;
    }
}

static void
stats_show (void *socket, const char *words)
{
    for (double until = now () + 20; ; pause_ms (1)) {
        char *stats = vtx_getmeta (s_vtx, socket, "stats");
        CHECK (stats != NULL && now () < until);
        int there = strstr (stats, words) != NULL;
        free (stats);
        if (there)
            return;
    }
}

//  --------------------------------------------------------------------------

//  The address that a wildcard became, and names that VTX leaves to the driver
static void
metadata (void)
{
    begin ();
    void *rep = vtx_socket (s_vtx, ZMQ_REP);
    CHECK (vtx_bind (s_vtx, rep, "mine://*:0") == 0);
    char *value = vtx_getmeta (s_vtx, rep, "endpoint");
    CHECK (value && !strcmp (value, "mine://there:7"));
    free (value);
    FAILS (vtx_getmeta (s_vtx, rep, "colour") == NULL, EINVAL, "colour");
    CHECK (vtx_unbind (s_vtx, rep, "mine://there:7") == 0);
    end ();
}

//  Each socket type has its pipe, and messages cross it both ways
static void
types (void)
{
    begin ();
    static const int pipes [] [2] = {
        { ZMQ_PAIR, ZMQ_PAIR }, { ZMQ_PUB, ZMQ_DEALER }, { ZMQ_SUB, ZMQ_DEALER }, { ZMQ_REQ, ZMQ_DEALER },
        { ZMQ_REP, ZMQ_DEALER }, { ZMQ_DEALER, ZMQ_DEALER }, { ZMQ_ROUTER, ZMQ_DEALER }, { ZMQ_PULL, ZMQ_PUSH },
        { ZMQ_PUSH, ZMQ_PULL }, { ZMQ_XPUB, ZMQ_DEALER }, { ZMQ_XSUB, ZMQ_DEALER }
    };
    for (size_t i = 0; i < sizeof pipes / sizeof *pipes; i++) {
        void *socket = served (pipes [i] [0], vtx_connect);
        void *peering = opened (NULL, NULL);
        CHECK (type_of (peering) == pipes [i] [1]);
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
        CHECK (vtx_close (s_vtx, socket) == 0);
    }
    void *rep = served (ZMQ_REP, vtx_bind);
    void *one = opened ("one", "1"), *two = opened (NULL, "2");
    CHECK (zmq_send (one, "", 0, ZMQ_SNDMORE) == 0 && say (one, "from one") == 0 && hears (rep, "from one"));
    CHECK (zmq_send (two, "", 0, ZMQ_SNDMORE) == 0 && say (two, "from two") == 0);
    CHECK (say (rep, "to one") == 0 && hears (one, "") && hears (one, "to one"));
    CHECK (hears (rep, "from two") && say (rep, "to two") == 0 && hears (two, "") && hears (two, "to two"));
    //  What a peer has sent is delivered when it has gone
    void *pull = served (ZMQ_PULL, vtx_bind);
    void *three = opened (NULL, "3");
    for (int i = 0; i < 30; i++)
        CHECK (say (three, "a message") == 0);
    CHECK (vtx_peering_close (s_ctx, three) == 0);
    for (int i = 0; i < 30; i++)
        CHECK (hears (pull, "a message"));
    has_peers (pull, "0");
    for (int i = 0; i < 300; i++) {
        three = opened (NULL, "3");
        CHECK (say (three, "and off") == 0 && vtx_peering_close (s_ctx, three) == 0);
        CHECK (hears (pull, "and off"));
    }
    end ();
}

//  Who may not come in, and when
static void
refused (void)
{
    begin ();
    void *dealer = served (ZMQ_DEALER, vtx_connect);
    void *peering = opened (NULL, NULL);
    FAILS (vtx_peering_open (s_ctx, s_vtxname, NULL, NULL) == NULL, EISCONN, "one peer");
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    FAILS (vtx_peering_close (s_ctx, peering) == -1, ENOTSOCK, "not an open peering");
    peering = opened (NULL, NULL);
    char gone [64];
    strcpy (gone, s_vtxname);
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    CHECK (vtx_close (s_vtx, dealer) == 0);
    FAILS (vtx_peering_open (s_ctx, gone, NULL, NULL) == NULL, ENOENT, gone);

    void *pair = served (ZMQ_PAIR, vtx_bind);
    peering = opened (NULL, "first");
    FAILS (vtx_peering_open (s_ctx, s_vtxname, NULL, "second") == NULL, ECONNREFUSED, "Max peerings reached for socket");
    CHECK (!strcmp (vtx_error (), "Max peerings reached for socket"));      //  As the peer is to be told
    CHECK (say (pair, "still there?") == 0 && hears (peering, "still there?"));
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    has_peers (pair, "0");
    opened (NULL, "second");
    end ();
}

//  Peerings leave the application some of the context's sockets, and give theirs back
static void
limits (void)
{
    zmq_ctx_set (s_zmq, ZMQ_MAX_SOCKETS, 100);
    begin ();
    void *rep = served (ZMQ_REP, vtx_bind), *mine [8], *peering [100];
    for (int round = 0; round < 5; round++) {
        int count = 0;
        //  libzmq gives the sockets of the round before back in its own time
        for (double until = now () + 20; ; pause_ms (1)) {
            while ((peering [count] = vtx_peering_open (s_ctx, s_vtxname, NULL, "a peer")))
                CHECK (++count < 100);
            CHECK (errno == EMFILE && strstr (vtx_error (), "ZMQ_MAX_SOCKETS"));
            if (count > 20)
                break;
            CHECK (now () < until);
        }
        for (int i = 0; i < 8; i++)
            for (double until = now () + 20; !(mine [i] = zmq_socket (s_zmq, ZMQ_PUSH)); pause_ms (1))
                CHECK (errno == EMFILE && now () < until);
        for (int i = 0; i < 8; i++)
            zmq_close (mine [i]);
        while (count--)
            CHECK (vtx_peering_close (s_ctx, peering [count]) == 0);
        has_peers (rep, "0");
    }
    end ();
}

//  Peers that come and go at an application that looks away do not use up its sockets, and in the end have to wait
static void
flapping (void)
{
    begin ();
    served (ZMQ_PULL, vtx_bind);
    int fds = 0, refused = 0;
    for (int i = 0; i < 1100 && !refused; i++) {
        void *peering = vtx_peering_open (s_ctx, s_vtxname, NULL, "a peer");
        if (peering)
            CHECK (vtx_peering_close (s_ctx, peering) == 0);
        else {
            CHECK (errno == EAGAIN && strstr (vtx_error (), "for now"));
            refused = 1;
        }
        if (i == 100)
            fds = count_fds ();
    }
    CHECK (refused && count_fds () < fds + 100);
    void *mine = zmq_socket (s_zmq, ZMQ_PUSH);
    CHECK (mine != NULL);
    zmq_close (mine);
    end ();
}

//  What was not received is kept for the next peer of a connection, and counted for one that came by itself
static void
left_over (void)
{
    begin ();
    void *push = served (ZMQ_PUSH, vtx_connect);
    for (int round = 0; round < 20; round++) {
        void *peering = opened (NULL, NULL);
        for (int i = 0; i < 10; i++) {
            char text [16];
            snprintf (text, sizeof text, "%d", i);
            CHECK (zmq_send (push, text, strlen (text), ZMQ_SNDMORE) > 0 && say (push, "more") == 0);
        }
        CHECK (hears (peering, "0"));               //  Half a message is lost
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
        peering = opened (NULL, NULL);
        for (int i = 1; i < 10; i++) {
            char text [16];
            snprintf (text, sizeof text, "%d", i);
            CHECK (hears (peering, text) && hears (peering, "more"));
        }
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
    }
    void *out = served (ZMQ_PUSH, vtx_bind);
    void *peering = opened (NULL, "a peer");
    for (int i = 0; i < 5; i++)
        CHECK (say (out, "unread") == 0);
    stats_show (out, "\"messages_out\":5");
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    stats_show (out, "\"unsent\":5");
    end ();
}

static void *
closes (void *socket)
{
    CHECK (vtx_close (s_vtx, socket) == 0);
    return NULL;
}

//  Something has come to the driver's socket
static void
has_taken (void *peering)
{
    zmq_pollitem_t item = { peering, 0, ZMQ_POLLIN, 0 };
    CHECK (zmq_poll (&item, 1, 20000) == 1);
}

//  A driver that asks for it is waited for until it has sent everything; one that then hangs is not
static void
patience (void)
{
    begin ();
    s_promise = 1;
    void *push = served (ZMQ_PUSH, vtx_connect);
    set_linger (push, -1);
    void *peering = opened (NULL, NULL);
    CHECK (say (push, "one") == 0 && say (push, "two") == 0);
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, closes, push) == 0);
    CHECK (hears (peering, "one") && hears (peering, "two"));
    pause_ms (50);                  //  For one that does not wait to show itself
    pthread_mutex_lock (&s_lock);
    s_sent = 1;
    pthread_mutex_unlock (&s_lock);
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    pthread_join (thread, NULL);
    pthread_mutex_lock (&s_lock);
    CHECK (s_in_time);
    s_sent = s_in_time = 0;
    pthread_mutex_unlock (&s_lock);

    //  What a lost peer did not take is waited for too, and goes to the next
    push = served (ZMQ_PUSH, vtx_connect);
    set_linger (push, -1);
    peering = opened (NULL, NULL);
    CHECK (say (push, "one") == 0 && say (push, "two") == 0 && hears (peering, "one"));
    has_taken (peering);
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    CHECK (pthread_create (&thread, NULL, closes, push) == 0);
    pause_ms (50);
    peering = opened (NULL, NULL);
    CHECK (hears (peering, "two"));
    pthread_mutex_lock (&s_lock);
    s_sent = 1;
    pthread_mutex_unlock (&s_lock);
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    pthread_join (thread, NULL);
    pthread_mutex_lock (&s_lock);
    CHECK (s_in_time);
    s_sleep = 8000;
    pthread_mutex_unlock (&s_lock);

    push = served (ZMQ_PUSH, vtx_connect);
    set_linger (push, -1);
    opened (NULL, NULL);
    CHECK (say (push, "nobody reads this") == 0);
    double start = now ();
    CHECK (vtx_close (s_vtx, push) == 0);
    CHECK (now () - start < 7);
    end ();
}

//  Subscriptions: told again to a new peer; and as often as they come, one cancellation ends them (docs/pipes.md, 13)
static void
subscriptions (void)
{
    begin ();
    void *sub = served (ZMQ_SUB, vtx_connect);
    CHECK (zmq_setsockopt (sub, ZMQ_SUBSCRIBE, "topic", 5) == 0);
    for (int i = 0; i < 5; i++) {
        void *peering = opened (NULL, NULL);
        CHECK (hears (peering, "\x01topic"));
        CHECK (say (peering, "other") == 0 && say (peering, "topic!") == 0);
        CHECK (hears (sub, "topic!"));
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
    }
    void *pub = served (ZMQ_XPUB, vtx_bind);
    void *peering = opened (NULL, "a peer");
    CHECK (say (peering, "\x01" "a") == 0 && say (peering, "\x01" "a") == 0 && say (peering, "\x01" "b") == 0);
    CHECK (hears (pub, "\x01" "a") && hears (pub, "\x01" "b"));
    CHECK (say (pub, "a1") == 0 && hears (peering, "a1"));
    CHECK (zmq_send (peering, "\0a", 2, 0) == 2);
    char text [8];
    CHECK (zmq_recv (pub, text, sizeof text, 0) == 2 && text [0] == 0 && text [1] == 'a');
    CHECK (say (pub, "a2") == 0 && say (pub, "b2") == 0 && hears (peering, "b2"));
    end ();
}

//  A driver's events reach the monitor, and what it drops the statistics
static void
events (void)
{
    begin ();
    void *pull = served (ZMQ_PULL, vtx_bind), *monitor = zmq_socket (s_zmq, ZMQ_PAIR);
    limit_wait (monitor, 20000);
    CHECK (vtx_monitor (s_vtx, pull, "inproc://monitor", ZMQ_EVENT_ALL | VTX_EVENT_REFUSED) == 0);
    CHECK (zmq_connect (monitor, "inproc://monitor") == 0);
    CHECK (vtx_driver_event (s_ctx, s_vtxname, VTX_EVENT_REFUSED, 90, "too large by far") == 0);
    unsigned char head [6];
    CHECK (zmq_recv (monitor, head, 6, 0) == 6);
    uint16_t event;
    uint32_t number;
    memcpy (&event, head, 2);
    memcpy (&number, head + 2, 4);
    CHECK (event == VTX_EVENT_REFUSED && number == 90);
    CHECK (hears (monitor, "mine://here") && hears (monitor, "too large by far"));
    CHECK (vtx_driver_event (s_ctx, s_vtxname, VTX_EVENT_DROPPED, 3, "lost") == 0);
    stats_show (pull, "\"lost\":3");
    FAILS (vtx_driver_event (s_ctx, s_vtxname, VTX_EVENT_DROPPED, 3, "mislaid") == -1, EINVAL, "mislaid");
    FAILS (vtx_driver_event (s_ctx, s_vtxname, VTX_EVENT_DROPPED, -3, "lost") == -1, EINVAL, "negative");
    FAILS (vtx_driver_event (s_ctx, s_vtxname, 3, 0, NULL) == -1, EINVAL, "0x3");
    FAILS (vtx_driver_event (s_ctx, s_vtxname, 0x20000, 0, NULL) == -1, EINVAL, "0x20000");
    zmq_close (monitor);
    end ();
}

//  A message that is more than there is memory for costs the peer that the driver sent it for its peering, and nobody else
//  anything
static void
memory (void)
{
    mallopt (M_ARENA_MAX, 2);           //  Each thread's own would take 64 MiB of what follows
    begin ();
    void *pull = served (ZMQ_PULL, vtx_bind), *monitor = zmq_socket (s_zmq, ZMQ_PAIR);
    limit_wait (monitor, 20000);
    CHECK (vtx_monitor (s_vtx, pull, "inproc://monitor", ZMQ_EVENT_DISCONNECTED) == 0);
    CHECK (zmq_connect (monitor, "inproc://monitor") == 0);
    void *good = opened (NULL, "good"), *bad = opened (NULL, "bad");
    CHECK (say (good, "before") == 0 && hears (pull, "before"));

    long pages = 0;
    FILE *file = fopen ("/proc/self/statm", "r");
    CHECK (file && fscanf (file, "%ld", &pages) == 1);
    fclose (file);
    struct rlimit before, limit;
    CHECK (getrlimit (RLIMIT_AS, &before) == 0);
    limit = before;
    limit.rlim_cur = (rlim_t) pages * (rlim_t) sysconf (_SC_PAGESIZE) + (300 << 20);
    CHECK (setrlimit (RLIMIT_AS, &limit) == 0);
    zmq_msg_t large;
    CHECK (zmq_msg_init_size (&large, 150 << 20) == 0);
    CHECK (zmq_msg_send (&large, bad, 0) == 150 << 20);
    unsigned char head [6];
    uint32_t number;
    CHECK (zmq_recv (monitor, head, 6, 0) == 6);
    memcpy (&number, head + 2, 4);
    CHECK (number == ENOMEM && hears (monitor, "mine://bad"));
    char sentence [256] = "";
    CHECK (zmq_recv (monitor, sentence, sizeof sentence - 1, 0) > 0 && strstr (sentence, "more than there is memory for"));
    CHECK (say (good, "after") == 0 && hears (pull, "after"));
    CHECK (setrlimit (RLIMIT_AS, &before) == 0);
    zmq_close (monitor);
    CHECK (vtx_peering_close (s_ctx, bad) == 0 && vtx_peering_close (s_ctx, good) == 0);
    end ();
}

//  --------------------------------------------------------------------------
//  The data pipe of a driver of the original's kind

static void
classic (int type)
{
    s_classic = type;
    begin ();
    void *req = vtx_socket (s_vtx, ZMQ_REQ);
    limit_wait (req, 20000);
    int correlate = 1;
    CHECK (zmq_setsockopt (req, ZMQ_REQ_CORRELATE, &correlate, sizeof correlate) == 0);
    CHECK (vtx_connect (s_vtx, req, "mine://here") == 0);
    FAILS (vtx_peering_open (s_ctx, s_vtxname, NULL, NULL) == NULL, EINVAL, "data pipe");
    CHECK (say (req, "question") == 0 && hears (s_data, "question"));
    CHECK (say (s_data, "answer") == 0 && hears (req, "answer"));
    char *value = vtx_getmeta (s_vtx, req, "sender");
    CHECK (value && !strcmp (value, "the sender"));
    free (value);
    has_peers (req, "0");                           //  Nobody has said anything else
    CHECK (vtx_driver_event (s_ctx, s_vtxname, ZMQ_EVENT_CONNECTED, 0, NULL) == 0);
    has_peers (req, "1");
    CHECK (vtx_driver_event (s_ctx, s_vtxname, ZMQ_EVENT_DISCONNECTED, 0, NULL) == 0);
    CHECK (vtx_driver_event (s_ctx, s_vtxname, ZMQ_EVENT_DISCONNECTED, 0, NULL) == 0);
    has_peers (req, "0");

    void *rep = served (ZMQ_REP, vtx_bind);
    CHECK (zmq_send (s_data, "", 0, ZMQ_SNDMORE) == 0 && say (s_data, "x") == 0);
    CHECK (hears (rep, "") && hears (rep, "x"));    //  Its own empty frame is not the delimiter
    CHECK (say (rep, "yes") == 0 && hears (s_data, "yes"));

    void *router = served (ZMQ_ROUTER, vtx_bind);
    char one [64] = "", other [64] = "";
    CHECK (say (s_data, "") == 0);                  //  A message without anything behind the identity
    CHECK (zmq_send (s_data, "mine://a:1", 10, ZMQ_SNDMORE) == 10 && say (s_data, "from a") == 0);
    CHECK (zmq_recv (router, one, sizeof one - 1, 0) > 0 && !strncmp (one, "mine://a:1#", 11) && hears (router, "from a"));
    CHECK (zmq_send (s_data, "mine://b:2", 10, ZMQ_SNDMORE) == 10 && say (s_data, "from b") == 0);
    CHECK (zmq_recv (router, other, sizeof other - 1, 0) > 0 && !strncmp (other, "mine://b:2#", 11) && hears (router, "from b"));
    CHECK (zmq_send (router, one, strlen (one), ZMQ_SNDMORE) > 0 && say (router, "to a") == 0);
    CHECK (hears (s_data, "mine://a:1") && hears (s_data, "to a"));
    CHECK (zmq_send (router, other, strlen (other), ZMQ_SNDMORE) > 0 && say (router, "to b") == 0);
    CHECK (hears (s_data, "mine://b:2") && hears (s_data, "to b"));

    //  A data pipe that has come too early for a PAIR has its turn when the other is gone
    void *pair = vtx_socket (s_vtx, ZMQ_PAIR);
    limit_wait (pair, 20000);
    CHECK (vtx_bind (s_vtx, pair, "mine://a") == 0 && say (s_data, "from a") == 0 && hears (pair, "from a"));
    CHECK (vtx_bind (s_vtx, pair, "mine://b") == 0 && say (s_data, "too early") == 0);
    stats_show (pair, "\"stray\":1");
    CHECK (vtx_unbind (s_vtx, pair, "mine://a") == 0);
    int soon = 20;
    zmq_setsockopt (s_data, ZMQ_RCVTIMEO, &soon, sizeof soon);
    for (double until = now () + 20; ; ) {
        CHECK (now () < until && say (pair, "to b") == 0);
        if (hears (s_data, "to b"))
            break;
    }
    CHECK (say (s_data, "from b") == 0 && hears (pair, "from b"));

    void *xsub = served (ZMQ_XSUB, vtx_connect);    //  It filters nothing itself
    CHECK (say (xsub, "\x01news") == 0);
    for (double until = now () + 20; now () < until; ) {
        CHECK (say (s_data, "olds") == 0 && say (s_data, "news!") == 0);
        int wait = 5;
        zmq_setsockopt (xsub, ZMQ_RCVTIMEO, &wait, sizeof wait);
        char text [8];
        int size = zmq_recv (xsub, text, sizeof text, 0);
        CHECK (size == -1 || (size == 5 && !memcmp (text, "news!", 5)));
        if (size == 5)
            break;
    }
    void *pub = served (ZMQ_PUB, vtx_bind);
    int wait = 1;
    zmq_setsockopt (s_data, ZMQ_RCVTIMEO, &wait, sizeof wait);
    for (double until = now () + 20; now () < until; ) {
        CHECK (say (pub, "anything") == 0);         //  Nobody has to subscribe
        if (hears (s_data, "anything"))
            break;
        CHECK (errno == EAGAIN);
    }
    end ();
}

static void
classic_dealer (void)
{
    classic (ZMQ_DEALER);
}

static void
classic_pair (void)
{
    classic (ZMQ_PAIR);
}

//  A ROUTER's clients of a data pipe come and go without number, in a context of any size
static void
identities (void)
{
    for (int max = 100; max <= 1023; max += 923) {
        if (max > 100)
            s_zmq = zmq_ctx_new ();
        zmq_ctx_set (s_zmq, ZMQ_MAX_SOCKETS, max);
        s_classic = ZMQ_DEALER;
        begin ();
        void *router = served (ZMQ_ROUTER, vtx_bind);
        int mandatory = 1;
        zmq_setsockopt (router, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
        char id [64], first [64] = "";
        for (int i = 0; i < 1200; i++) {
            //  The first one is never silent for long
            int size = snprintf (id, sizeof id, "mine://client:%d", i % 10? i: 0);
            CHECK (zmq_send (s_data, id, (size_t) size, ZMQ_SNDMORE) == size && say (s_data, "x") == 0);
            char from [64] = "";
            CHECK (zmq_recv (router, from, sizeof from - 1, 0) > size && !strncmp (from, id, (size_t) size));
            CHECK (hears (router, "x"));
            if (i == 0)
                strcpy (first, from);
            CHECK (i % 10 || !strcmp (from, first));
        }
        CHECK (zmq_send (router, first, strlen (first), ZMQ_SNDMORE) > 0 && say (router, "yes") == 0);
        CHECK (hears (s_data, "mine://client:0") && hears (s_data, "yes"));
        //  The driver may say that one has gone
        CHECK (vtx_driver_event (s_ctx, s_vtxname, ZMQ_EVENT_DISCONNECTED, 0, "mine://client:0") == 0);
        for (double until = now () + 20; zmq_send (router, first, strlen (first), ZMQ_SNDMORE) > 0; pause_ms (1))
            CHECK (now () < until && say (router, "still there?") == 0);
        CHECK (errno == EHOSTUNREACH);
        end ();
    }
}

//  A peer that comes and goes unseen is not in the way of the next, and what it said is not lost
static void
vanishing (void)
{
    begin ();
    void *pull = vtx_socket (s_vtx, ZMQ_PULL);
    limit_wait (pull, 20000);
    int interval = 1000;            //  Often enough, it is longer than the limit
    zmq_setsockopt (pull, ZMQ_RECONNECT_IVL, &interval, sizeof interval);
    CHECK (vtx_connect (s_vtx, pull, "mine://here") == 0);
    void *peering = opened (NULL, NULL);
    CHECK (say (peering, "one") == 0 && hears (pull, "one"));
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    for (int i = 0; i < 60; i++) {
        peering = opened (NULL, NULL);
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
    }
    peering = opened (NULL, NULL);
    CHECK (say (peering, "two") == 0 && say (peering, "three") == 0);
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    peering = vtx_peering_open (s_ctx, s_vtxname, NULL, NULL);
    if (peering)                    //  On a slow machine they have been taken
        CHECK (vtx_peering_close (s_ctx, peering) == 0);
    else
        CHECK (errno == EAGAIN && strstr (vtx_error (), "not been taken yet"));
    CHECK (hears (pull, "two") && hears (pull, "three"));
    peering = opened (NULL, NULL);
    CHECK (say (peering, "four") == 0 && hears (pull, "four"));
    CHECK (vtx_close (s_vtx, pull) == 0);

    pull = vtx_socket (s_vtx, ZMQ_PULL);
    limit_wait (pull, 20000);
    interval = -1;
    zmq_setsockopt (pull, ZMQ_RECONNECT_IVL, &interval, sizeof interval);
    CHECK (vtx_connect (s_vtx, pull, "mine://here") == 0);
    peering = opened (NULL, NULL);
    CHECK (say (peering, "one") == 0 && hears (pull, "one"));
    CHECK (vtx_peering_close (s_ctx, peering) == 0);
    //  It is refused, and soon there is no such endpoint
    for (double until = now () + 20; vtx_peering_open (s_ctx, s_vtxname, NULL, NULL) == NULL && errno == ECONNREFUSED; pause_ms (1))
        CHECK (now () < until && strstr (vtx_error (), "ZMQ_RECONNECT_IVL"));
    CHECK (errno == ENOENT);
    FAILS (vtx_disconnect (s_vtx, pull, "mine://here") == -1, ENOENT, "not connected");
    end ();
}

//  The context ends under a driver with open peerings, in either way
static void
term (void)
{
    begin ();
    served (ZMQ_REP, vtx_bind);
    opened (NULL, "a peer");
    zctx_destroy (&s_ctx);
    CHECK (vtx_peering_close (s_ctx, NULL) == -1);
    double start = now ();
    zmq_ctx_shutdown (s_zmq);
    vtx_destroy (&s_vtx);
    zmq_ctx_term (s_zmq);
    CHECK (now () - start < 20);

    zctx_t *ctx = zctx_new ();
    s_vtx = vtx_new (ctx);
    CHECK (vtx_register (s_vtx, "mine", answers) == 0);
    served (ZMQ_REP, vtx_bind);
    s_ctx = zctx_shadow (ctx);
    opened (NULL, "a peer");
    zctx_destroy (&s_ctx);
    start = now ();
    zctx_destroy (&ctx);
    vtx_destroy (&s_vtx);
    CHECK (now () - start < 20);
}

int
main (int argc, char *argv [])
{
    watchdog (200);
    s_zmq = zmq_ctx_new ();
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "metadata", metadata }, { "types", types }, { "refused", refused }, { "limits", limits },
        { "flapping", flapping }, { "left_over", left_over }, { "patience", patience }, { "subscriptions", subscriptions },
        { "events", events }, { "memory", memory }, { "classic_dealer", classic_dealer }, { "classic_pair", classic_pair },
        { "identities", identities },
        { "vanishing", vanishing }, { "term", term }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
