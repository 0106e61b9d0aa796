/*  Drivers of the program's own: what VTX tells them, what it makes of what they do, and
    that one which misbehaves stops nobody else.
*/

#include <errno.h>
#include <stdint.h>
#include <vtx.h>
#include "check.h"

//  --------------------------------------------------------------------------
//  A driver whose answers the test prescribes. It writes down what it is told.

typedef struct { char frame [4] [256]; } command_t;

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_news = PTHREAD_COND_INITIALIZER;
static command_t s_told [100];
static int s_count;                 //  Of commands
static char s_verbose [8];
static int s_ended;                 //  How many drivers have returned
static const char *s_trick = "";    //  What the driver does wrong, and at which command
static const char *s_when = "";

static void
note_end (void)
{
    pthread_mutex_lock (&s_lock);
    s_ended++;
    pthread_cond_broadcast (&s_news);
    pthread_mutex_unlock (&s_lock);
}

//  Receive a command. Returns -1 if the pipe fails.
static int
receive (void *pipe, command_t *command)
{
    memset (command, 0, sizeof *command);
    int more = 1;
    for (int i = 0; more; i++) {
        CHECK (i < 4);
        if (zmq_recv (pipe, command->frame [i], sizeof command->frame [i] - 1, 0) == -1)
            return -1;
        size_t size = sizeof more;
        CHECK (zmq_getsockopt (pipe, ZMQ_RCVMORE, &more, &size) == 0);
        CHECK (more == (i < 3));
    }
    pthread_mutex_lock (&s_lock);
    if (s_count < 100)
        s_told [s_count++] = *command;
    pthread_cond_broadcast (&s_news);
    pthread_mutex_unlock (&s_lock);
    return 0;
}

static void
scripted (void *args, zctx_t *ctx, void *pipe)
{
    CHECK (args == NULL && ctx != NULL);
    sigset_t blocked;
    CHECK (pthread_sigmask (SIG_SETMASK, NULL, &blocked) == 0);
    CHECK (sigismember (&blocked, SIGINT) == 1 && sigismember (&blocked, SIGALRM) == 1);
    memset (s_verbose, 0, sizeof s_verbose);
    CHECK (zmq_recv (pipe, s_verbose, sizeof s_verbose - 1, 0) == 1);
    command_t command;
    while (receive (pipe, &command) == 0) {
        const char *name = command.frame [0];
        const char *trick = strcmp (name, s_when)? "": s_trick;
        const char *answer = strcmp (name, "GETMETA")? "0": "a\tvalue";
        if (!strcmp (trick, "returns"))
            break;
        if (!strcmp (trick, "exits")) {
            note_end ();
            pthread_exit (NULL);
        }
        if (!strcmp (trick, "hangs"))
            pause_ms (8000);        //  Longer than anybody waits for it
        if (!strcmp (trick, "two frames"))
            zmq_send (pipe, "0", 1, ZMQ_SNDMORE);
        if (!strcmp (trick, "twice"))
            zmq_send (pipe, "0", 1, 0);
        if (!strcmp (trick, "words"))
            answer = "sorry";
        if (!strcmp (trick, "nothing"))
            answer = "";
        if (!strcmp (trick, "negative"))
            answer = "-1";
        if (!strcmp (trick, "huge"))
            answer = "99999999999999999999";
        if (!strcmp (trick, "refuses"))
            answer = "13";          //  EACCES
        if (!strcmp (trick, "old") && (!strcmp (name, "SHUTDOWN") || !strcmp (name, "UNBIND")))
            answer = "1";
        if (strcmp (trick, "silent"))
            zmq_send (pipe, answer, strlen (answer), 0);
        if (!strcmp (name, "SHUTDOWN") && !*trick)
            break;
    }
    if (strcmp (s_trick, "exits") || s_count == 0)
        note_end ();
}

static void
script (const char *when, const char *trick)
{
    s_count = s_ended = 0;
    s_when = when;
    s_trick = trick;
}

static void
wait_for_end (int count)
{
    pthread_mutex_lock (&s_lock);
    while (s_ended < count)
        pthread_cond_wait (&s_news, &s_lock);
    pthread_mutex_unlock (&s_lock);
}

//  A vtx_t with a driver of that scheme, which does this wrong when it is told that
static vtx_t *
begin (void *zmq, const char *scheme, zthread_attached_fn *driver, const char *when, const char *trick)
{
    vtx_t *vtx = vtx_new_raw (zmq);
    script (when, trick);
    CHECK (vtx_register (vtx, scheme, driver) == 0);
    return vtx;
}

//  The end of both, and of the context
static void
end (vtx_t *vtx, void *zmq)
{
    vtx_destroy (&vtx);
    wait_for_end (1);
    zmq_ctx_term (zmq);
}

//  The driver was told this, as its next command
static int s_at;

static void
was_told (const char *command, const char *type, const char *address, char *vtxname)
{
    pthread_mutex_lock (&s_lock);
    CHECK (s_at < s_count);
    command_t copy = s_told [s_at++], *told = &copy;
    pthread_mutex_unlock (&s_lock);
    CHECK (strcmp (told->frame [0], command) == 0);
    CHECK (strcmp (told->frame [1], type) == 0);
    CHECK (strcmp (told->frame [3], address) == 0);
    if (*vtxname)
        CHECK (strcmp (told->frame [2], vtxname) == 0);
    else
        strcpy (vtxname, told->frame [2]);
}

//  Each command, in order, with its four frames
static void
commands (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (zmq);
    script ("", "");
    CHECK (vtx_register (vtx, "mine", scripted, TRUE) == 0);
    sigset_t blocked;
    CHECK (pthread_sigmask (SIG_SETMASK, NULL, &blocked) == 0 && sigismember (&blocked, SIGINT) == 0);
    void *rep = vtx_socket (vtx, ZMQ_REP), *push = vtx_socket (vtx, ZMQ_PUSH);
    CHECK (vtx_bind (vtx, rep, "mine://here") == 0);
    CHECK (strcmp (s_verbose, "1") == 0);
    CHECK (vtx_connect (vtx, push, "mine://there:5") == 0);
    char *value = vtx_getmeta (vtx, push, "colour");
    CHECK (value && strcmp (value, "a\tvalue") == 0);
    free (value);
    value = vtx_getmeta (vtx, rep, "endpoint");
    CHECK (value && strcmp (value, "mine://here") == 0);
    free (value);
    CHECK (vtx_unbind (vtx, rep, "mine://here") == 0);
    CHECK (vtx_disconnect (vtx, push, "mine://there:5") == 0);
    CHECK (vtx_close (vtx, push) == 0);
    vtx_destroy (&vtx);
    wait_for_end (1);

    char bound [256] = "", connected [256] = "", nobody [256] = "";
    s_at = 0;
    was_told ("BIND", "4", "here", bound);
    was_told ("CONNECT", "8", "there:5", connected);
    was_told ("GETMETA", "8", "colour", connected);
    was_told ("UNBIND", "4", "here", bound);
    was_told ("CLOSE", "4", "here", bound);
    was_told ("DISCONNECT", "8", "there:5", connected);
    was_told ("CLOSE", "8", "there:5", connected);
    was_told ("SHUTDOWN", "0", "", nobody);
    CHECK (s_at == s_count && strcmp (bound, connected) != 0);

    //  Without the third argument, and with a wildcard, of which the driver is asked what it became
    vtx = vtx_new_raw (zmq);
    script ("", "");
    CHECK (vtx_register (vtx, "mine", scripted) == 0);
    rep = vtx_socket (vtx, ZMQ_REP);
    CHECK (vtx_bind (vtx, rep, "mine://*") == 0);
    CHECK (strcmp (s_verbose, "0") == 0);
    s_at = 1;
    was_told ("GETMETA", "4", "endpoint", nobody);
    value = vtx_getmeta (vtx, rep, "endpoint");
    CHECK (value && strcmp (value, "mine://*") == 0);   //  "a\tvalue" is no address
    free (value);
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
}

//  What can be wrong with a registration
static void
registering (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = vtx_new_raw (zmq);
    script ("", "");
    FAILS (vtx_register (vtx, "mine", (zthread_attached_fn *) NULL) == -1, EINVAL, "driver is NULL");
    FAILS (vtx_register (vtx, NULL, scripted) == -1, EINVAL, "scheme is NULL");
    FAILS (vtx_register (vtx, "Mine", scripted) == -1, EINVAL, "scheme");
    FAILS (vtx_register (vtx, "", scripted) == -1, EINVAL, "scheme");
    FAILS (vtx_register (NULL, "mine", scripted) == -1, EINVAL, "NULL");
    CHECK (s_ended == 0);
    CHECK (vtx_register (vtx, "mine", scripted) == 0);
    FAILS (vtx_register (vtx, "mine", scripted) == -1, ENOTUNIQ, "mine");
    FAILS (vtx_register (vtx, "mine", vtx_udp_driver) == -1, ENOTUNIQ, "mine");
    CHECK (vtx_register (vtx, "again", scripted) == 0);     //  A thread of its own
    CHECK (vtx_register (vtx, "udp", scripted) == 0);       //  In place of the built-in one
    FAILS (vtx_register (vtx, "udp", vtx_udp_driver) == -1, ENOTUNIQ, "udp");
    void *rep = vtx_socket (vtx, ZMQ_REP);
    CHECK (vtx_bind (vtx, rep, "udp://no\taddress for UDP?") == -1);
    CHECK (vtx_bind (vtx, rep, "udp://no-address-for-UDP") == 0);
    vtx_t *other = vtx_new_raw (zmq);
    CHECK (vtx_register (other, "mine", scripted) == 0);    //  Another vtx_t, another driver
    vtx_destroy (&other);
    vtx_destroy (&vtx);
    wait_for_end (4);

    //  In a context that has ended
    vtx = vtx_new_raw (zmq);
    zmq_ctx_term (zmq);
    CHECK (vtx_register (vtx, "mine", scripted) == -1);
    vtx_destroy (&vtx);

    FAILS (vtx_peering_open (NULL, "vtx-1", NULL, NULL) == NULL, EINVAL, "zctx_t");
    zctx_t *ctx = zctx_new ();
    FAILS (vtx_peering_open (ctx, NULL, NULL, NULL) == NULL, EINVAL, "NULL");
    FAILS (vtx_peering_open (ctx, "nonesuch", NULL, NULL) == NULL, ENOENT, "nonesuch");
    FAILS (vtx_peering_close (ctx, NULL) == -1, ENOTSOCK, "NULL");
    FAILS (vtx_peering_close (ctx, ctx) == -1, ENOTSOCK, "not an open peering");
    FAILS (vtx_driver_event (ctx, NULL, ZMQ_EVENT_CONNECTED, 0, NULL) == -1, EINVAL, "NULL");
    FAILS (vtx_driver_event (ctx, "nonesuch", ZMQ_EVENT_CONNECTED, 0, NULL) == -1, ENOENT, "nonesuch");
    zctx_destroy (&ctx);
}


//  --------------------------------------------------------------------------
//  Misbehaviour

//  Somebody else's driver goes on working
static void
live_as_ever (void *zmq)
{
    vtx_t *vtx = vtx_new_raw (zmq);
    live (vtx);
    vtx_destroy (&vtx);
}

//  A driver does it wrong when it is to bind: the call fails as it should, and all others go on
static void
wrong_bind (const char *trick, int number, const char *words)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "mine", scripted, "BIND", trick);
    void *rep = vtx_socket (vtx, ZMQ_REP);
    double start = now ();
    FAILS (vtx_bind (vtx, rep, "mine://here") == -1, number, words);
    CHECK (strstr (vtx_error (), "mine://here"));
    CHECK (now () - start < 20);
    live (vtx);                                     //  This vtx_t's other drivers
    live_as_ever (zmq);
    start = now ();
    vtx_destroy (&vtx);
    CHECK (now () - start < 20);
    wait_for_end (1);
    zmq_ctx_term (zmq);
}

static void
wrong_answers (void)
{
    wrong_bind ("refuses", EACCES, "refused BIND");
    wrong_bind ("words", EPROTO, "\"sorry\"");
    wrong_bind ("nothing", EPROTO, "\"\"");
    wrong_bind ("negative", EPROTO, "\"-1\"");
    wrong_bind ("huge", EPROTO, "99999");
    wrong_bind ("two frames", EPROTO, "2 frames");
    wrong_bind ("returns", ESRCH, "ended");
    wrong_bind ("exits", ESRCH, "ended");
}

static void
hangs (void)
{
    wrong_bind ("hangs", ETIMEDOUT, "did not answer BIND");
}

static void
silent (void)
{
    wrong_bind ("silent", ETIMEDOUT, "did not answer BIND");
}

//  An answer too many is not taken for that of the next command
static void
answers_twice (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "mine", scripted, "BIND", "twice");
    void *rep = vtx_socket (vtx, ZMQ_REP);
    CHECK (vtx_bind (vtx, rep, "mine://here") == 0);
    for (int i = 0; i < 3; i++) {
        char *value = vtx_getmeta (vtx, rep, "colour");
        CHECK (value && strcmp (value, "a\tvalue") == 0);
        free (value);
    }
    end (vtx, zmq);
}

//  A driver that comes back late is served again, and its late answer is nobody's
static void
late (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "mine", scripted, "BIND", "hangs");
    void *rep = vtx_socket (vtx, ZMQ_REP);
    FAILS (vtx_bind (vtx, rep, "mine://here") == -1, ETIMEDOUT, "BIND");
    s_trick = "refuses";
    //  The 8 seconds are over before this one's 5 are
    FAILS (vtx_bind (vtx, rep, "mine://there") == -1, EACCES, "mine://there");
    pthread_mutex_lock (&s_lock);
    CHECK (strcmp (s_told [1].frame [0], "CLOSE") == 0);    //  It was told to forget the first
    CHECK (strcmp (s_told [1].frame [2], s_told [0].frame [2]) == 0);
    pthread_mutex_unlock (&s_lock);
    end (vtx, zmq);
}

//  Whoever does not know SHUTDOWN, as drivers of the original do not, ends with the context
static void
old_fashioned (void)
{
    zctx_t *ctx = zctx_new ();
    vtx_t *vtx = vtx_new (ctx);
    script ("SHUTDOWN", "old");
    CHECK (vtx_register (vtx, "mine", scripted) == 0);
    void *rep = vtx_socket (vtx, ZMQ_REP);
    CHECK (vtx_bind (vtx, rep, "mine://here") == 0);
    double start = now ();
    vtx_destroy (&vtx);
    CHECK (now () - start < 1.9);                   //  Nobody waits for it
    CHECK (s_ended == 0);
    zctx_destroy (&ctx);
    wait_for_end (1);
}

//  One that hangs at the end holds up vtx_destroy and zctx_destroy for seconds, not for ever
static void
hangs_at_the_end (void)
{
    zctx_t *ctx = zctx_new ();
    vtx_t *vtx = vtx_new (ctx);
    script ("SHUTDOWN", "hangs");
    CHECK (vtx_register (vtx, "mine", scripted) == 0);
    void *rep = vtx_socket (vtx, ZMQ_REP);
    CHECK (vtx_bind (vtx, rep, "mine://here") == 0);
    double start = now ();
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
    CHECK (now () - start < 7 && s_ended == 0);     //  It is at it for 8
    wait_for_end (1);
}

//  It answers SHUTDOWN with 0, and then does not end; or it hangs at CLOSE
static void
hangs_at_close (void)
{
    zctx_t *ctx = zctx_new ();
    vtx_t *vtx = vtx_new (ctx);
    script ("CLOSE", "hangs");
    CHECK (vtx_register (vtx, "mine", scripted) == 0);
    void *sockets [20];
    for (int i = 0; i < 20; i++) {
        sockets [i] = vtx_socket (vtx, ZMQ_REP);
        CHECK (vtx_bind (vtx, sockets [i], "mine://here") == 0);
    }
    double start = now ();
    vtx_destroy (&vtx);
    zctx_destroy (&ctx);
    CHECK (now () - start < 7);                     //  Not that long for each socket
}

//  --------------------------------------------------------------------------
//  A driver with peerings: it opens one for each endpoint, echoes what comes, and dies,
//  hangs or forgets to close it when the word is said

static void
echo (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    char verbose [2];
    zmq_recv (pipe, verbose, 1, 0);
    void *peering = NULL;
    char vtxname [256] = "";
    int opened = 0, asleep = 0;
    while (1) {
        zmq_pollitem_t items [] = { { pipe, 0, ZMQ_POLLIN, 0 }, { peering, 0, ZMQ_POLLIN, 0 } };
        if (zmq_poll (items, peering? 2: 1, *vtxname && !opened? 1: -1) == -1)
            break;
        if (items [0].revents) {
            command_t command;
            if (receive (pipe, &command))
                break;
            const char *name = command.frame [0];
            if (!strcmp (name, "BIND") || !strcmp (name, "CONNECT"))
                strcpy (vtxname, command.frame [2]);
            if (!strcmp (name, "CLOSE") || !strcmp (name, "DISCONNECT") || !strcmp (name, "UNBIND")) {
                if (peering && !asleep)
                    CHECK (vtx_peering_close (ctx, peering) == 0);
                peering = NULL;
            }
            zmq_send (pipe, strcmp (name, "GETMETA")? "0": "", strcmp (name, "GETMETA")? 1: 0, 0);
            if (!strcmp (name, "SHUTDOWN"))
                break;
        }
        if (*vtxname && !opened) {
            peering = vtx_peering_open (ctx, vtxname, "echo", "the peer");
            CHECK (peering != NULL);
            opened = 1;
        }
        if (peering && items [1].revents) {
            char text [256];
            int size, more = 1;
            int die = 0;
            while (more) {
                size = zmq_recv (peering, text, sizeof text, ZMQ_DONTWAIT);
                if (size == -1)
                    break;
                size_t length = sizeof more;
                zmq_getsockopt (peering, ZMQ_RCVMORE, &more, &length);
                die |= size == 3 && !memcmp (text, "die", 3);
                asleep |= size == 5 && !memcmp (text, "sleep", 5);
                if (size == 4 && !memcmp (text, "lose", 4)) {
                    CHECK (vtx_peering_close (ctx, peering) == 0);
                    FAILS (vtx_peering_close (ctx, peering) == -1, ENOTSOCK, "not an open");
                    peering = NULL;
                    opened = 0;
                    break;
                }
                zmq_send (peering, text, (size_t) size, ZMQ_DONTWAIT | (more? ZMQ_SNDMORE: 0));
            }
            if (die)
                break;
            if (asleep)
                pause_ms (6000);
        }
    }
    note_end ();
}

//  A peering carries messages both ways, is told of by name, and a lost one is followed by the next
static void
peerings (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "echo", echo, "", "");
    void *dealer = vtx_socket (vtx, ZMQ_DEALER);
    limit_wait (dealer, 20000);
    int interval = 1;
    zmq_setsockopt (dealer, ZMQ_RECONNECT_IVL, &interval, sizeof interval);
    CHECK (vtx_connect (vtx, dealer, "echo://somewhere") == 0);
    CHECK (say (dealer, "hello") == 0 && hears (dealer, "hello"));
    char *value = vtx_getmeta (vtx, dealer, "sender");
    CHECK (value && strcmp (value, "the peer") == 0);
    free (value);
    for (int i = 0; i < 10; i++) {
        //  What comes behind is for the next peering, in order
        CHECK (say (dealer, "lose") == 0);
        CHECK (say (dealer, "one") == 0 && say (dealer, "two") == 0 && say (dealer, "three") == 0);
        CHECK (hears (dealer, "one") && hears (dealer, "two") && hears (dealer, "three"));
    }
    CHECK (vtx_close (vtx, dealer) == 0);

    void *router = vtx_socket (vtx, ZMQ_ROUTER);
    limit_wait (router, 20000);
    vtx_destroy (&vtx);

    vtx = vtx_new_raw (zmq);
    CHECK (vtx_register (vtx, "echo", echo) == 0);
    router = vtx_socket (vtx, ZMQ_ROUTER);
    limit_wait (router, 20000);
    int mandatory = 1;
    zmq_setsockopt (router, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    CHECK (vtx_bind (vtx, router, "echo://here") == 0);
    for (double end = now () + 20; now () < end;) {     //  Until the driver has opened it
        if (zmq_send (router, "echo", 4, ZMQ_SNDMORE) == 4)
            break;
        CHECK (errno == EHOSTUNREACH);
        pause_ms (1);
    }
    CHECK (say (router, "by name") == 0);
    CHECK (hears (router, "echo") && hears (router, "by name"));
    vtx_destroy (&vtx);
    wait_for_end (2);
    zmq_ctx_term (zmq);
}

//  A driver that dies takes its peerings along, and the socket's others go on
static void
dies (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "echo", echo, "", "");
    void *dealer = vtx_socket (vtx, ZMQ_DEALER), *server = vtx_socket (vtx, ZMQ_DEALER);
    limit_wait (dealer, 20000);
    limit_wait (server, 20000);
    BIND_ANY (vtx, server);
    CHECK (vtx_monitor (vtx, dealer, "inproc://events", ZMQ_EVENT_DISCONNECTED) == 0);
    void *events = zmq_socket (zmq, ZMQ_PAIR);
    limit_wait (events, 20000);
    CHECK (zmq_connect (events, "inproc://events") == 0);
    CHECK (vtx_connect (vtx, dealer, "echo://somewhere") == 0);
    CHECK (say (dealer, "die") == 0 && hears (dealer, "die"));
    char event [6], endpoint [256];
    CHECK (zmq_recv (events, event, 6, 0) == 6 && zmq_recv (events, endpoint, sizeof endpoint, 0) > 0);
    CHECK (hears (events, "the driver of echo:// has ended: no such process"));
    wait_for_end (1);
    CHECK (vtx_disconnect (vtx, dealer, "echo://somewhere") == 0);
    CONNECT_TO (vtx, dealer, vtx, server);
    CHECK (say (dealer, "udp goes on") == 0 && hears (server, "udp goes on"));
    FAILS (vtx_connect (vtx, dealer, "echo://elsewhere") == -1, ESRCH, "ended");
    zmq_close (events);
    vtx_destroy (&vtx);
    zmq_ctx_term (zmq);
}

//  With a LINGER without limit, one that hangs with a message in its hands is given up
static void
hangs_with_a_message (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "echo", echo, "", "");
    void *dealer = vtx_socket (vtx, ZMQ_DEALER);
    limit_wait (dealer, 20000);
    set_linger (dealer, -1);
    CHECK (vtx_connect (vtx, dealer, "echo://somewhere") == 0);
    CHECK (say (dealer, "sleep") == 0 && hears (dealer, "sleep"));
    CHECK (say (dealer, "and then") == 0);
    double start = now ();
    CHECK (vtx_close (vtx, dealer) == 0);
    CHECK (now () - start < 15);
    live_as_ever (zmq);
    end (vtx, zmq);
}

static int s_child_status = -1;

//  Its child returns from the function too
static void
forks (void *args, zctx_t *ctx, void *pipe)
{
    (void) args; (void) ctx;
    char verbose [2];
    zmq_recv (pipe, verbose, 1, 0);
    pid_t child = fork ();
    if (child == 0) {
        alarm (20);
        return;
    }
    CHECK (waitpid (child, &s_child_status, 0) == child);
    command_t command;
    while (receive (pipe, &command) == 0) {
        zmq_send (pipe, "0", 1, 0);
        if (!strcmp (command.frame [0], "SHUTDOWN"))
            break;
    }
    note_end ();
}

//  The child of a driver that forks comes to its end, although there is no VTX in it
static void
driver_forks (void)
{
    void *zmq = zmq_ctx_new ();
    vtx_t *vtx = begin (zmq, "mine", forks, "", "");
    signal (SIGALRM, SIG_DFL);
    end (vtx, zmq);
    CHECK (s_child_status == 0);
}

//  It finds its peer only when the program has done its part, and has what was sent when it is told to let go
static void
tardy (void *args, zctx_t *ctx, void *pipe)
{
    (void) args;
    char verbose [2];
    zmq_recv (pipe, verbose, 1, 0);
    command_t command;
    void *peering = NULL;
    while (receive (pipe, &command) == 0) {
        const char *name = command.frame [0];
        if (!strcmp (name, "DISCONNECT")) {
            CHECK (peering && hears (peering, "one") && hears (peering, "two"));
            CHECK (vtx_peering_close (ctx, peering) == 0);
        }
        zmq_send (pipe, "0", 1, 0);
        if (!strcmp (name, "SHUTDOWN"))
            break;
        if (!strcmp (name, "CONNECT")) {
            pause_ms (300);         //  For a context that ends too soon to show itself
            peering = vtx_peering_open (ctx, command.frame [2], NULL, "the peer");
            CHECK (peering != NULL);
            limit_wait (peering, 20000);
        }
    }
    note_end ();
}

//  While the context that ends waits for what was sent, drivers find the peers for it
static void
finds_late (void)
{
    static const int lingers [] = { 20000, -1 };
    for (int i = 0; i < 2; i++) {
        zctx_t *ctx = zctx_new ();
        zctx_set_linger (ctx, lingers [i]);
        vtx_t *vtx = vtx_new (ctx);
        script ("", "");
        CHECK (vtx_register (vtx, "mine", tardy) == 0);
        void *push = vtx_socket (vtx, ZMQ_PUSH);
        CHECK (vtx_connect (vtx, push, "mine://here") == 0);
        CHECK (say (push, "one") == 0 && say (push, "two") == 0);
        zctx_destroy (&ctx);
        wait_for_end (1);
        CHECK (s_count == 4);       //  Up to SHUTDOWN
        vtx_destroy (&vtx);
    }
}


//  --------------------------------------------------------------------------
//  Many

static void
obedient (void *args, zctx_t *ctx, void *pipe)
{
    (void) args; (void) ctx;
    char frame [256];
    while (zmq_recv (pipe, frame, sizeof frame, 0) != -1) {
        int more, last = !memcmp (frame, "SHUTDOWN", 8);
        size_t size = sizeof more;
        zmq_getsockopt (pipe, ZMQ_RCVMORE, &more, &size);
        if (!more)
            continue;               //  "0"
        for (int i = 1; i < 4; i++)
            zmq_recv (pipe, frame, sizeof frame, 0);
        zmq_send (pipe, "0", 1, 0);
        if (last)
            break;
    }
}

//  50 drivers come and go so many times. After it libzmq has closed what it closes in its own time
static void
come_and_go (int rounds)
{
    void *zmq = zmq_ctx_new ();
    for (int round = 0; round < rounds; round++) {
        vtx_t *vtx = vtx_new_raw (zmq);
        CHECK (vtx != NULL);
        for (int i = 0; i < 50; i++) {
            char scheme [16];
            snprintf (scheme, sizeof scheme, "own%d", i);
            CHECK (vtx_register (vtx, scheme, obedient) == 0);
        }
        void *rep = vtx_socket (vtx, ZMQ_REP);
        CHECK (vtx_bind (vtx, rep, "own7://here") == 0);
        vtx_destroy (&vtx);
    }
    CHECK (zmq_ctx_term (zmq) == 0);
}

//  They leave no threads, descriptors or memory behind
static void
leaks (void)
{
    come_and_go (250);
    int fds = count_fds (), threads = count_threads ();
    long memory = resident_kb ();
    come_and_go (750);
    fprintf (stderr, "descriptors %d -> %d, threads %d -> %d, memory %ld -> %ld kB\n",
        fds, count_fds (), threads, count_threads (), memory, resident_kb ());
    CHECK (count_fds () <= fds + 10);
    CHECK (count_threads () <= threads + 10);
    CHECK (resident_kb () < memory + 10000);
}

int
main (int argc, char *argv [])
{
    watchdog (280);
    static const struct { const char *name; void (*test) (void); } tests [] = {
        { "commands", commands }, { "registering", registering }, { "wrong_answers", wrong_answers },
        { "hangs", hangs }, { "silent", silent }, { "answers_twice", answers_twice }, { "late", late },
        { "old_fashioned", old_fashioned }, { "hangs_at_the_end", hangs_at_the_end },
        { "hangs_at_close", hangs_at_close }, { "peerings", peerings }, { "dies", dies },
        { "hangs_with_a_message", hangs_with_a_message }, { "finds_late", finds_late },
        { "driver_forks", driver_forks }, { "leaks", leaks }
    };
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
        if (!strcmp (argv [1], tests [i].name)) {
            tests [i].test ();
            return 0;
        }
    fprintf (stderr, "which test?\n");
    return 1;
}
