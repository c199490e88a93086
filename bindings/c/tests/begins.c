/* Loaders that do not begin: their reads are over, the router closes, there is no thread for them, or
   their store is spared. */
#include "support.h"
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { QUEUED = 1000, LOADERS = 64 };

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static atomic_bool no_threads;

/* Replaces the system's, for the library as well. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : create(thread, attributes, run, argument);
}

static void counts(failsoft_load *request, void *begun) {
    lock_state();
    ++*(int *)begun;
    unlock_state();
    reply_text(request, "loaded");
}

/* Nothing is called without a dispatch, and by the time there is one, the reads have ended. */
static void past_deadline(failsoft_router *router) {
    read_end end = {0};
    int begun = 0;
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_OK, failsoft_get_options_set(options, "deadline_ms", "200"));
    STATUS(FAILSOFT_OK, failsoft_resolve_async(router, bytes("late"), 4, options, counts, &begun, on_end, &end, NULL));
    failsoft_get_options_free(options);
    struct pollfd watched = {failsoft_router_fd(router), POLLIN, 0};
    CHECK(poll(&watched, 1, LONG_MS) == 1);
    wait_health(router, "\"waiters\":0,");
    finish(router, &end);
    CHECK(end.status == FAILSOFT_DEADLINE_EXCEEDED && begun == 0);
    release(&end);
}

static void start_many(failsoft_router *router, int count, failsoft_loader loader, void *user_data, read_end *ends) {
    char key[32];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "queued %d", i);
        start(router, key, loader, user_data, &ends[i], NULL);
    }
    snprintf(key, sizeof key, "\"waiters\":%d,", count);
    wait_health(router, key);
}

static void all_closed(read_end *ends, int count) {
    for (int i = 0; i < count; i++) {
        CHECK(ends[i].status == FAILSOFT_CLOSED);
        release(&ends[i]);
    }
}

static void closing_with_queued(failsoft_router *router) {
    static read_end ends[QUEUED];
    int begun = 0;
    start_many(router, QUEUED, counts, &begun, ends);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(begun == 0);
    all_closed(ends, QUEUED);
}

static bool all_busy(void *begun) { return *(int *)begun == LOADERS; }

/* Blocks its thread until nobody waits: until the router closes. */
static void until_closed(failsoft_load *request, void *begun) {
    lock_state();
    ++*(int *)begun;
    unlock_state();
    while (failsoft_load_is_wanted(request))
        pause_ms(1);
    failsoft_load_free(request);
}

static void closing_with_a_line(failsoft_router *router) {
    static read_end ends[QUEUED];
    int begun = 0;
    start_many(router, QUEUED, until_closed, &begun, ends);
    wait_for(router, all_busy, &begun);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(begun == LOADERS);
    all_closed(ends, QUEUED);
}

static void without_threads(failsoft_router *router) {
    read_end end;
    int begun = 0;
    failsoft_outcome *outcome;
    no_threads = true;
    start(router, "no thread", counts, &begun, &end, NULL);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_INTERNAL && begun == 0);
    CHECK(strstr(failsoft_outcome_error_message(end.outcome), "no thread"));
    release(&end);
    /* A blocking call needs no other thread. */
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("own"), 3, counts, &begun, &outcome));
    CHECK(has_value(outcome, "loaded"));
    failsoft_outcome_free(outcome);
    no_threads = false;
    start(router, "a thread again", counts, &begun, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "loaded") && begun == 2);
    release(&end);
}

static void broken(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_OK, failsoft_load_fail(request, 1, "no luck"));
    failsoft_load_free(request);
}

/* After twenty failures the loader is not called any more. */
static void spared(const char *delivery) {
    failsoft_router *router = open_router("127.0.0.1:1", delivery, "deadline_ms", "100", NULL);
    failsoft_outcome *outcome;
    for (int i = 0; i < 20; i++) {
        STATUS(FAILSOFT_FALLBACK, failsoft_get_with_fallback(router, bytes("k"), 1, broken, NULL, &outcome));
        failsoft_outcome_free(outcome);
    }
    STATUS(FAILSOFT_SHED, failsoft_get_with_fallback(router, bytes("k"), 1, broken, NULL, &outcome));
    CHECK(strcmp(failsoft_last_error_detail_name(), "cause") == 0);
    CHECK(strcmp((const char *)failsoft_last_error_detail(NULL), "breaker_open") == 0);
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    /* Nobody listens there. */
    failsoft_router *router = open_router("127.0.0.1:1", delivery, "deadline_ms", "50", NULL);
    if (strcmp(delivery, "fd") == 0) {
        past_deadline(router);
        closing_with_queued(router);
    } else {
        without_threads(router);
        closing_with_a_line(router);
    }
    spared(delivery);
    printf("begins, %s: ok\n", delivery);
    return 0;
}
