/* Loaders inside loaders, and loaders that take longer than load_timeout. */
#include "support.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static const char *delivery_of_all = "threads";

static void missing(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

/* Inside the loader of `outer`, a blocking read dispatches the end of another, which asks for `outer`. */
typedef struct {
    failsoft_router *router;
    bool asked;
} nest;

static void asks_for_outer(failsoft_status status, failsoft_outcome *outcome, void *of) {
    nest *n = of;
    STATUS(FAILSOFT_OK, status);
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_REENTRANT, failsoft_get_with_fallback(n->router, bytes("outer"), 5, missing, NULL, NULL));
    n->asked = true;
}

static void loads_outer(failsoft_load *request, void *of) {
    nest *n = of;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback_async(n->router, bytes("other"), 5, missing, NULL, asks_for_outer, n, NULL));
    while (!n->asked)
        STATUS(FAILSOFT_OK, failsoft_get_with_fallback(n->router, bytes("dep"), 3, missing, NULL, NULL));
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void nested_dispatch(failsoft_router *router) {
    nest n = {router, false};
    read_end end;
    start(router, "outer", loads_outer, &n, &end, NULL);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_OK && n.asked);
    release(&end);
}

/* The same in the loader of the other read: the thread of `outer` runs it, though nothing in `outer` waits for it. */
static void loads_other(failsoft_load *request, void *of) {
    nest *n = of;
    STATUS(FAILSOFT_REENTRANT, failsoft_get_with_fallback(n->router, bytes("outer"), 5, missing, NULL, NULL));
    CHECK(strcmp(failsoft_last_error_detail_name(), "key") == 0);
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    /* It blocks the thread of `outer` even once it has answered. */
    STATUS(FAILSOFT_REENTRANT, failsoft_get_with_fallback(n->router, bytes("outer"), 5, missing, NULL, NULL));
    failsoft_load_free(request);
    n->asked = true;
}

static void loads_outer_and_other(failsoft_load *request, void *of) {
    nest *n = of;
    read_end end;
    start(n->router, "other", loads_other, n, &end, NULL);
    while (!n->asked)
        STATUS(FAILSOFT_OK, failsoft_get_with_fallback(n->router, bytes("dep"), 3, missing, NULL, NULL));
    finish(n->router, &end);
    CHECK(end.status == FAILSOFT_OK);
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void nested_loaders(failsoft_router *router) {
    nest n = {router, false};
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("outer"), 5, loads_outer_and_other, &n, NULL));
    CHECK(n.asked);
}

/* Answers when no caller waits any more. */
static void slow(failsoft_load *request, void *begun) {
    *(bool *)begun = true;
    while (failsoft_load_is_wanted(request))
        pause_ms(1);
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, bytes("late"), 4));
    failsoft_load_free(request);
}

/* Nothing can stop a loader on its caller's own thread: the caller gets what it gives after load_timeout. Callers on
 * other threads are told in time. */
static void late(void) {
    failsoft_router *router = open_router("127.0.0.1:1", delivery_of_all, "deadline_ms", "50", "load_timeout_ms", "100", NULL);
    failsoft_outcome *outcome;
    failsoft_status status;
    read_end end;
    bool begun = false;
    /* On a busy machine its time may have run out before it begins. */
    do {
        status = failsoft_get_with_fallback(router, bytes("k"), 1, slow, &begun, &outcome);
        CHECK(status == (begun ? FAILSOFT_OK : FAILSOFT_DEADLINE_EXCEEDED));
        if (!begun)
            failsoft_outcome_free(outcome);
    } while (!begun);
    CHECK(has_value(outcome, "late") && strcmp(failsoft_outcome_served_by(outcome), "secondary") == 0);
    failsoft_outcome_free(outcome);
    start(router, "async", slow, &begun, &end, NULL);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_DEADLINE_EXCEEDED);
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
}

/* A blocking call on a thread of its own, whose loader takes longer than load_timeout while two others wait for it. */
typedef struct {
    failsoft_router *router;
    bool running;
} busy;

static bool is_running(void *of) { return ((busy *)of)->running; }

static void outlasts(failsoft_load *request, void *of) {
    busy *b = of;
    lock_state();
    b->running = true;
    unlock_state();
    wait_health(b->router, "\"waiters\":3,");
    wait_health(b->router, "\"flights\":0,");
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, bytes("late"), 4));
    failsoft_load_free(request);
}

static void *reads_alone(void *of) {
    busy *b = of;
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(b->router, bytes("k"), 1, outlasts, b, &outcome));
    CHECK(has_value(outcome, "late"));
    failsoft_outcome_free(outcome);
    return NULL;
}

static bool both_ended(void *ends) { return ((read_end *)ends)[0].ended && ((read_end *)ends)[1].ended; }

static void late_for_others_alone(void) {
    failsoft_router *router = open_router("127.0.0.1:1", delivery_of_all, "deadline_ms", "50", "load_timeout_ms", "2000", NULL);
    busy b = {router, false};
    read_end ends[2];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, reads_alone, &b) == 0);
    /* Not by a dispatch: the loader runs on that thread in either delivery. */
    wait_for(NULL, is_running, &b);
    start(router, "k", missing, NULL, &ends[0], NULL);
    start(router, "k", missing, NULL, &ends[1], NULL);
    CHECK(pthread_join(thread, NULL) == 0);
    wait_for(router, both_ended, ends);
    for (int i = 0; i < 2; i++) {
        CHECK(ends[i].status == FAILSOFT_DEADLINE_EXCEEDED);
        release(&ends[i]);
    }
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
}

int main(int argc, char **argv) {
    if (argc > 1)
        delivery_of_all = argv[1];
    /* Nobody listens there. */
    failsoft_router *router = open_router("127.0.0.1:1", delivery_of_all, "deadline_ms", "50", NULL);
    if (strcmp(delivery_of_all, "fd") == 0) {
        nested_dispatch(router);
        nested_loaders(router);
    }
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    late();
    late_for_others_alone();
    printf("nested, %s: ok\n", delivery_of_all);
    return 0;
}
