/* What the tests share: checks, the test kit's nodes, and waiting for callbacks in either delivery. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <failsoft.h>
#include <stdbool.h>
#include <stddef.h>

/* The most time that anything may take, in milliseconds. */
#define LONG_MS 30000

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
/* The status has to be this one. */
#define STATUS(wanted, call) check_status((wanted), (call), #call, __FILE__, __LINE__)

void check(bool holds, const char *what, const char *file, int line);
void check_status(failsoft_status wanted, failsoft_status got, const char *what, const char *file, int line);

/* One process of the test kit. */
typedef struct kit kit;
kit *kit_start(void);
void kit_stop(kit *kit);
/* Asks for something, as JSON without the outer braces; an answer with an error ends the test. */
const char *kit_ask(kit *kit, const char *request);
/* A scripted node that owns every slot, and its address. */
int kit_scripted(kit *kit, char *address, size_t size);
/* How often a scripted node got a command; and waiting until it has got it so often. */
int kit_calls(kit *kit, int node, const char *command);
void kit_wait_calls(kit *kit, int node, const char *command, int calls);
/* Starts a cluster; its addresses, separated by commas. */
void kit_cluster(kit *kit, int primaries, int replicas, char *addresses, size_t size);

/* Opens a router with long limits, so that a busy machine changes nothing; NULL ends the list of further settings. */
failsoft_router *open_router(const char *nodes, const char *delivery, ...);

/* The end of one read. */
typedef struct {
    bool ended;
    int times;
    failsoft_status status;
    failsoft_outcome *outcome;
    failsoft_outcomes *outcomes;
} read_end;

/* To be given as on_outcome and on_outcomes, with a read_end. */
void on_end(failsoft_status status, failsoft_outcome *outcome, void *end);
void on_ends(failsoft_status status, failsoft_outcomes *outcomes, void *end);
/* The end of a call that has only a status; what failsoft_last_error and its detail said then. */
typedef struct {
    int times;
    failsoft_status status;
    char error[200], detail[100];
} done;

/* To be given as on_done, with a done. */
void on_done(failsoft_status status, void *done);
bool is_done(void *done);
/* Whether this thread's last error has this detail. */
bool detail_is(const char *name, const char *value);
/* Waits until a condition that callbacks change holds; with the delivery `fd` it dispatches meanwhile. */
void wait_for(failsoft_router *router, bool (*is_so)(void *), void *of);
bool has_ended(void *end);
/* Waits until the JSON of failsoft_health contains this text. */
void wait_health(failsoft_router *router, const char *text);
/* Held by a callback while it changes something. Unlocking makes whoever waits look again. */
void lock_state(void);
void unlock_state(void);

/* Starts a read with this loader, and waits for its end. */
void start(failsoft_router *router, const char *key, failsoft_loader loader, void *user_data, read_end *end, uint64_t *id);
void finish(failsoft_router *router, read_end *end);
/* Whether the outcome has this value. */
bool has_value(const failsoft_outcome *outcome, const char *value);
void release(read_end *end);

/* A loader that answers with the text it is given. */
void reply_text(failsoft_load *request, void *text);

double seconds_now(void);
void pause_ms(long ms);

#endif
