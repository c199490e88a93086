/* Around the reads: how long user_data is needed, details of errors, other asynchronous calls, signals, wake-ups. */
#include "support.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static const char *delivery_of_all = "threads";

/* How often something was released, and what its loader had done before. */
typedef struct {
    int released, calls;
    bool running, go_on, gave_up;
} data;

static void released(void *user_data) {
    data *d = user_data;
    lock_state();
    CHECK(!d->running);
    d->released++;
    unlock_state();
}

static bool is_released(void *user_data) { return ((data *)user_data)->released == 1; }

static void counted(failsoft_load *request, void *user_data) {
    lock_state();
    ((data *)user_data)->calls++;
    unlock_state();
    STATUS(FAILSOFT_OK, failsoft_load_done(request));
    failsoft_load_free(request);
}

static failsoft_get_options *releasing(void) {
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_OK, failsoft_get_options_on_release(options, released));
    return options;
}

/* However a read ends, its user_data is released once. */
static void release_of_each(failsoft_router *router) {
    failsoft_get_options *options = releasing();
    const uint8_t *keys[1] = {bytes("k")};
    size_t lens[1] = {1};
    data d = {0}, none = {0}, async = {0}, refused = {0}, many = {0};
    read_end end = {0};
    STATUS(FAILSOFT_OK, failsoft_resolve(router, bytes("k"), 1, options, counted, &d, NULL));
    CHECK(d.calls == 1 && d.released == 1);
    STATUS(FAILSOFT_UNAVAILABLE, failsoft_resolve(router, bytes("k"), 1, options, NULL, &none, NULL));
    CHECK(none.released == 1);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_resolve(router, NULL, 1, options, counted, &refused, NULL));
    CHECK(refused.calls == 0 && refused.released == 1);
    refused.released = 0;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_resolve_async(router, bytes("k"), 1, options, counted, &refused, NULL, NULL, NULL));
    CHECK(refused.released == 1);
    STATUS(FAILSOFT_OK, failsoft_resolve_async(router, bytes("k"), 1, options, counted, &async, on_end, &end, NULL));
    finish(router, &end);
    wait_for(router, is_released, &async);
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_resolve_many(router, keys, lens, 1, options, counted, &many, NULL));
    CHECK(many.calls == 1 && many.released == 1);
    memset(&end, 0, sizeof end);
    many.released = 0;
    STATUS(FAILSOFT_OK, failsoft_resolve_many_async(router, keys, lens, 1, options, counted, &many, on_ends, &end, NULL));
    finish(router, &end);
    wait_for(router, is_released, &many);
    release(&end);
    failsoft_get_options_free(options);
}

/* Runs until nobody wants it any more. */
static void works_until_unwanted(failsoft_load *request, void *user_data) {
    data *d = user_data;
    /* Asked before `running` is set, for the reader cancels as soon as it is. */
    CHECK(failsoft_load_is_wanted(request));
    lock_state();
    d->running = true;
    unlock_state();
    double until = seconds_now() + LONG_MS / 1000.0;
    while (failsoft_load_is_wanted(request) && seconds_now() < until)
        pause_ms(1);
    lock_state();
    d->gave_up = !failsoft_load_is_wanted(request);
    d->running = false;
    unlock_state();
    failsoft_load_free(request);
}

static bool is_running(void *user_data) { return ((data *)user_data)->running; }

/* A read is cancelled while its loader runs: the loader can tell, and its data is released when it has returned. */
static void release_after_the_loader(failsoft_router *router) {
    failsoft_get_options *options = releasing();
    data d = {0};
    read_end end = {0};
    uint64_t id;
    STATUS(FAILSOFT_OK, failsoft_resolve_async(router, bytes("long"), 4, options, works_until_unwanted, &d, on_end, &end, &id));
    wait_for(router, is_running, &d);
    STATUS(FAILSOFT_OK, failsoft_cancel(router, id));
    finish(router, &end);
    CHECK(end.status == FAILSOFT_CANCELLED);
    wait_for(router, is_released, &d);
    CHECK(d.gave_up);
    release(&end);
    failsoft_get_options_free(options);
}

static void asks_for_itself(failsoft_load *request, void *router) {
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_REENTRANT, failsoft_get_with_fallback(router, bytes("self"), 4, counted, NULL, &outcome));
    size_t len;
    CHECK(strcmp(failsoft_outcome_error_detail_name(outcome), "key") == 0);
    CHECK(memcmp(failsoft_outcome_error_detail(outcome, &len), "self", 5) == 0 && len == 4);
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void details(failsoft_router *router) {
    failsoft_config *config = failsoft_config_new("127.0.0.1:1");
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "fill", "perhaps"));
    CHECK(detail_is("key", "fill"));
    failsoft_config_free(config);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_set(router, NULL, 1, NULL, 0, NULL));
    CHECK(detail_is("argument", "key"));
    STATUS(FAILSOFT_UNAVAILABLE, failsoft_get_with_fallback(router, bytes("k"), 1, NULL, NULL, &outcome));
    CHECK(strcmp(failsoft_last_error_detail_name(), "reason") == 0);
    CHECK(strcmp(failsoft_outcome_error_detail_name(outcome), "reason") == 0);
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("self"), 4, asks_for_itself, router, &outcome));
    CHECK(failsoft_outcome_error_detail_name(outcome) == NULL && failsoft_outcome_error_detail(outcome, NULL) == NULL);
    failsoft_outcome_free(outcome);
}

static void others_asynchronous(kit *kit, failsoft_router *down) {
    char address[64];
    kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery_of_all, NULL);
    done ready = {0}, set = {0}, never = {0}, closed = {0};
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_OK, failsoft_router_ready_async(router, LONG_MS, on_done, &ready, NULL));
    wait_for(router, is_done, &ready);
    CHECK(ready.status == FAILSOFT_OK && ready.times == 1);
    /* Keys and values are copied by the call: the program may use their memory at once. */
    char key[] = "k", value[] = "v";
    STATUS(FAILSOFT_OK, failsoft_set_async(router, bytes(key), 1, bytes(value), 1, NULL, on_done, &set, NULL));
    key[0] = value[0] = 'x';
    wait_for(router, is_done, &set);
    CHECK(set.status == FAILSOFT_OK && set.times == 1);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("k"), 1, NULL, NULL, &outcome));
    CHECK(has_value(outcome, "v"));
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_set_async(router, bytes("k"), 1, bytes("v"), 1, NULL, NULL, NULL, NULL));
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    STATUS(FAILSOFT_OK, failsoft_router_ready_async(down, 1, on_done, &never, NULL));
    wait_for(down, is_done, &never);
    CHECK(never.status == FAILSOFT_UNAVAILABLE && never.error[0]);
    /* Closing ends what is under way. */
    router = open_router("127.0.0.1:1", delivery_of_all, NULL);
    STATUS(FAILSOFT_OK, failsoft_router_ready_async(router, LONG_MS, on_done, &closed, NULL));
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(closed.times == 1 && closed.status != FAILSOFT_OK);
}

/* The descriptor is readable for a load or an end, and for little else. */
static void wakes(failsoft_router *router) {
    enum { READS = 2000 };
    data d = {0};
    int dispatches = 0, ended = 0;
    struct pollfd watched = {failsoft_router_fd(router), POLLIN, 0};
    for (int i = 0; i < READS; i++) {
        read_end end;
        start(router, "one at a time", counted, &d, &end, NULL);
        while (!end.ended) {
            CHECK(poll(&watched, 1, LONG_MS) == 1);
            STATUS(FAILSOFT_OK, failsoft_router_dispatch(router));
            dispatches++;
        }
        ended++;
        release(&end);
    }
    printf("%d reads, %d loads, %d dispatches\n", ended, d.calls, dispatches);
    CHECK(dispatches <= ended + d.calls + READS / 4);
}

/* The library's threads take no signals: a program that has blocked one reads it from a descriptor, and lives. */
static void signals(void) {
    sigset_t set, before;
    struct signalfd_siginfo told;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    int fd = signalfd(-1, &set, 0);
    CHECK(kill(getpid(), SIGTERM) == 0);
    CHECK(read(fd, &told, sizeof told) == sizeof told && told.ssi_signo == SIGTERM);
    close(fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* A thread that is cancelled inside its loader ends after the call, and the router works as before. */
typedef struct {
    failsoft_router *router;
    data loader;
    bool returned;
} cancelled_thread;

static void sleeps(failsoft_load *request, void *user_data) {
    lock_state();
    ((data *)user_data)->running = true;
    unlock_state();
    for (int i = 0; i < 100; i++) {
        pthread_testcancel();
        pause_ms(1);
    }
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void *reads_and_is_cancelled(void *of) {
    cancelled_thread *t = of;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(t->router, bytes("cancelled"), 9, sleeps, &t->loader, NULL));
    t->returned = true;
    for (;;) {
        pthread_testcancel();
        pause_ms(1);
    }
    return NULL;
}

/* A cancellation may be pending when a call begins. */
static void *is_cancelled_and_reads(void *of) {
    cancelled_thread *t = of;
    CHECK(pthread_cancel(pthread_self()) == 0);
    STATUS(FAILSOFT_UNAVAILABLE, failsoft_get_with_fallback(t->router, bytes("pending"), 7, NULL, NULL, NULL));
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(t->router, bytes("pending"), 7, counted, &t->loader, NULL));
    CHECK(failsoft_set(t->router, bytes("pending"), 7, bytes("v"), 1, NULL) != FAILSOFT_OK);
    t->returned = true;
    pthread_testcancel();
    return NULL;
}

static void thread_cancelled(failsoft_router *router) {
    cancelled_thread t = {router, {0}, false};
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, is_cancelled_and_reads, &t) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(t.returned);
    t = (cancelled_thread){router, {0}, false};
    CHECK(pthread_create(&thread, NULL, reads_and_is_cancelled, &t) == 0);
    wait_for(router, is_running, &t.loader);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(t.returned);
}

/* Messages for an operator. */
typedef struct {
    const char *kind;
    bool came;
    char text[200];
} heard;

static void on_event(const char *kind, uint64_t count, const char *text, void *of) {
    heard *h = of;
    lock_state();
    CHECK(count > 0);
    if (strcmp(kind, h->kind) == 0) {
        snprintf(h->text, sizeof h->text, "%s", text);
        h->came = true;
    }
    unlock_state();
}

/* It comes on a thread of the library in either delivery. */
static void until_heard(const heard *h) {
    double until = seconds_now() + LONG_MS / 1000.0;
    for (bool came = false; !came; pause_ms(1)) {
        CHECK(seconds_now() < until);
        lock_state();
        came = h->came;
        unlock_state();
    }
}

static void no_view(void) {
    heard h = {.kind = "no_view"};
    failsoft_router *router;
    failsoft_config *config = failsoft_config_new("127.0.0.1:1");
    STATUS(FAILSOFT_OK, failsoft_config_on_event(config, on_event, &h));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "delivery", delivery_of_all));
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    failsoft_config_free(config);
    until_heard(&h);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(strcmp(h.text, "127.0.0.1:1 connection") == 0);
}

static void events(kit *kit) {
    char address[64], request[96];
    heard h = {.kind = "node_down"};
    data d = {0};
    failsoft_router *router;
    int node = kit_scripted(kit, address, sizeof address);
    failsoft_config *config = failsoft_config_new(address);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_config_on_event(config, NULL, NULL));
    STATUS(FAILSOFT_OK, failsoft_config_on_event(config, on_event, &h));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "delivery", delivery_of_all));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "attempt_timeout_ms", "1000"));
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    failsoft_config_free(config);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"GET\", \"how\": \"silent\"", node);
    kit_ask(kit, request);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("k"), 1, counted, &d, NULL));
    until_heard(&h);
    CHECK(strstr(h.text, address) != NULL);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
}

/* When the program ends, its thread's own data is gone before its last functions run. */
static failsoft_router *until_the_end;

static void last_calls(void) {
    failsoft_outcome *outcome = NULL;
    failsoft_status read = failsoft_get_with_fallback(until_the_end, bytes("last"), 4, reply_text, "v", &outcome);
    bool served = read == FAILSOFT_OK && failsoft_outcome_status(outcome) == FAILSOFT_OK;
    failsoft_outcome_free(outcome);
    failsoft_status closed = failsoft_router_close(until_the_end);
    if (served && closed == FAILSOFT_OK)
        return;
    fprintf(stderr, "in the last functions: read %d, close %d: %s\n", read, closed, failsoft_last_error());
    _exit(1);
}

int main(int argc, char **argv) {
    if (argc > 1)
        delivery_of_all = argv[1];
    until_the_end = open_router("127.0.0.1:1", delivery_of_all, "deadline_ms", "50", NULL);
    CHECK(atexit(last_calls) == 0);
    /* Nobody listens there. */
    failsoft_router *router = open_router("127.0.0.1:1", delivery_of_all, "deadline_ms", "50", NULL);
    bool fd = strcmp(delivery_of_all, "fd") == 0;
    release_of_each(router);
    if (fd) {
        wakes(router);
    } else {
        release_after_the_loader(router);
        thread_cancelled(router);
        signals();
    }
    details(router);
    no_view();
    kit *kit = kit_start();
    others_asynchronous(kit, router);
    events(kit);
    kit_stop(kit);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    printf("calls, %s: ok\n", delivery_of_all);
    return 0;
}
