/* Reads in both deliveries: values, loaders, herds, cancellation, many keys, closing. */
#include "support.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HERD = 1000 };

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

/* Loads that were asked for and not answered yet. */
static struct {
    failsoft_load *loads[HERD];
    int count;
} kept;

static void keep(failsoft_load *request, void *unused) {
    (void)unused;
    lock_state();
    kept.loads[kept.count++] = request;
    unlock_state();
}

static bool some_kept(void *number) { return kept.count >= *(int *)number; }

static void wait_kept(failsoft_router *router, int number) { wait_for(router, some_kept, &number); }

static void *answer_elsewhere(void *text) {
    lock_state();
    failsoft_load *request = kept.loads[--kept.count];
    unlock_state();
    reply_text(request, text);
    return NULL;
}

static void fail_load(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_OK, failsoft_load_fail(request, -7, "no such table"));
    failsoft_load_free(request);
}

static void missing(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void echo(failsoft_load *request, void *calls) {
    size_t len;
    const uint8_t *key = failsoft_load_key(request, &len);
    lock_state();
    ++*(int *)calls;
    unlock_state();
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, key, len));
    failsoft_load_free(request);
}

static void echo_two(failsoft_load *request, void *unused) {
    size_t len;
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *key = failsoft_load_key_at(request, i, &len);
        STATUS(FAILSOFT_OK, failsoft_load_reply_at(request, i, key, len));
    }
    STATUS(FAILSOFT_OK, failsoft_load_done(request));
    failsoft_load_free(request);
}

static void values(failsoft_router *router, kit *kit, int node) {
    static const uint8_t binary[] = {0, 1, 255, '\r', '\n', 0, '{', '}'};
    failsoft_outcome *outcome;
    size_t len;
    uint64_t minute = 60000;
    STATUS(FAILSOFT_OK, failsoft_set(router, binary, sizeof binary, binary, sizeof binary, &minute));
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, binary, sizeof binary, NULL, NULL, &outcome));
    const uint8_t *value = failsoft_outcome_value(outcome, &len);
    CHECK(len == sizeof binary && memcmp(value, binary, len) == 0);
    CHECK(strcmp(failsoft_outcome_served_by(outcome), "primary") == 0 && failsoft_outcome_reason(outcome) == NULL);
    CHECK(strchr(failsoft_outcome_node(outcome), ':') && failsoft_outcome_attempts(outcome) == 1);
    CHECK(failsoft_outcome_age_ms(outcome) == 0 && !failsoft_outcome_coalesced(outcome));
    failsoft_outcome_free(outcome);
    /* Empty keys and empty values exist. */
    STATUS(FAILSOFT_OK, failsoft_set(router, NULL, 0, NULL, 0, NULL));
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, NULL, 0, NULL, NULL, &outcome));
    CHECK(failsoft_outcome_found(outcome) && failsoft_outcome_value(outcome, &len) != NULL && len == 0);
    failsoft_outcome_free(outcome);
    /* Absent is not the same as failed. */
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("absent"), 6, NULL, NULL, &outcome));
    CHECK(!failsoft_outcome_found(outcome) && strcmp(failsoft_outcome_served_by(outcome), "none") == 0);
    CHECK(strcmp(failsoft_outcome_reason(outcome), "absent") == 0);
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("absent"), 6, missing, NULL, &outcome));
    CHECK(!failsoft_outcome_found(outcome));
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_FALLBACK, failsoft_get_with_fallback(router, bytes("fails"), 5, fail_load, NULL, &outcome));
    CHECK(failsoft_outcome_error_code(outcome) == -7 && failsoft_outcome_served_by(outcome) == NULL);
    CHECK(strcmp(failsoft_outcome_error_message(outcome), "no such table") == 0);
    CHECK(strstr(failsoft_last_error(), "no such table"));
    failsoft_outcome_free(outcome);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("nobody looks"), 12, missing, NULL, NULL));
    char *health;
    STATUS(FAILSOFT_OK, failsoft_health(router, &health));
    CHECK(health[0] == '{' && strstr(health, "\"nodes\""));
    failsoft_string_free(health);
    CHECK(kit_calls(kit, node, "PUT") >= 2);
}

static void on_release(void *released) {
    lock_state();
    *(bool *)released = true;
    unlock_state();
}

static bool is_released(void *released) { return *(bool *)released; }

static void later_and_never(failsoft_router *router) {
    read_end end;
    bool released = false;
    pthread_t thread;
    failsoft_outcome *outcome;
    start(router, "later", keep, NULL, &end, NULL);
    wait_kept(router, 1);
    CHECK(!end.ended);
    pthread_create(&thread, NULL, answer_elsewhere, "from afar");
    finish(router, &end);
    pthread_join(thread, NULL);
    CHECK(has_value(end.outcome, "from afar") && strcmp(failsoft_outcome_served_by(end.outcome), "secondary") == 0);
    release(&end);
    /* The loader never answers: the read's own deadline ends it, blocking or not. */
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_OK, failsoft_get_options_set(options, "deadline_ms", "300"));
    STATUS(FAILSOFT_DEADLINE_EXCEEDED, failsoft_resolve(router, bytes("never"), 5, options, keep, NULL, &outcome));
    CHECK(failsoft_outcome_status(outcome) == FAILSOFT_DEADLINE_EXCEEDED);
    failsoft_outcome_free(outcome);
    memset(&end, 0, sizeof end);
    STATUS(FAILSOFT_OK, failsoft_get_options_on_release(options, on_release));
    STATUS(FAILSOFT_OK,
           failsoft_resolve_async(router, bytes("never"), 5, options, keep, &released, on_end, &end, NULL));
    failsoft_get_options_free(options);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_DEADLINE_EXCEEDED);
    release(&end);
    /* The loader may begin just as the time runs out: by now it has begun, or never will. */
    wait_for(router, is_released, &released);
    while (kept.count > 0)
        answer_elsewhere("too late");
}

/* Keys are copied by the call. */
static void copied(failsoft_router *router) {
    char one[] = "copied", two[] = "c2", three[] = "c3";
    const uint8_t *keys[] = {bytes(two), bytes(three)};
    size_t lens[] = {2, 2};
    read_end end, ends = {0};
    int calls = 0;
    start(router, one, echo, &calls, &end, NULL);
    STATUS(FAILSOFT_OK, failsoft_get_many_with_fallback_async(router, keys, lens, 2, echo_two, NULL, on_ends, &ends, NULL));
    one[0] = two[0] = three[0] = 'x';
    keys[0] = keys[1] = NULL;
    lens[0] = lens[1] = 0;
    finish(router, &end);
    CHECK(has_value(end.outcome, "copied"));
    release(&end);
    finish(router, &ends);
    CHECK(has_value(failsoft_outcomes_at(ends.outcomes, 0), "c2") && has_value(failsoft_outcomes_at(ends.outcomes, 1), "c3"));
    release(&ends);
}

static bool all_ended(void *ends) {
    for (int i = 0; i < HERD; i++)
        if (!((read_end *)ends)[i].ended)
            return false;
    return true;
}

static void herd(failsoft_router *router) {
    static read_end ends[HERD];
    uint64_t first;
    int coalesced = 0;
    char waiters[32];
    for (int i = 0; i < HERD; i++)
        start(router, "herd", keep, NULL, &ends[i], i == 0 ? &first : NULL);
    snprintf(waiters, sizeof waiters, "\"waiters\":%d,", HERD);
    wait_health(router, waiters);
    wait_kept(router, 1);
    /* The first caller goes away; the load continues for the others. */
    STATUS(FAILSOFT_OK, failsoft_cancel(router, first));
    finish(router, &ends[0]);
    STATUS(FAILSOFT_CANCELLED, ends[0].status);
    STATUS(FAILSOFT_CANCELLED, failsoft_outcome_status(ends[0].outcome));
    CHECK(kept.count == 1);
    answer_elsewhere("one for all");
    wait_for(router, all_ended, ends);
    for (int i = 0; i < HERD; i++) {
        CHECK(i == 0 || (ends[i].status == FAILSOFT_OK && has_value(ends[i].outcome, "one for all")));
        coalesced += failsoft_outcome_coalesced(ends[i].outcome);
        release(&ends[i]);
    }
    CHECK(coalesced >= HERD - 2 && kept.count == 0);
    STATUS(FAILSOFT_OK, failsoft_cancel(router, first));
}

static void cancelled_alone(failsoft_router *router, kit *kit, int node) {
    read_end end;
    uint64_t id;
    char request[96];
    int before = kit_calls(kit, node, "GET");
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"GET\", \"how\": \"silent\"", node);
    kit_ask(kit, request);
    start(router, "silent", NULL, NULL, &end, &id);
    kit_wait_calls(kit, node, "GET", before + 1);
    STATUS(FAILSOFT_OK, failsoft_cancel(router, id));
    finish(router, &end);
    CHECK(end.status == FAILSOFT_CANCELLED);
    release(&end);
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"GET\"", node);
    kit_ask(kit, request);
}

/* The loader of a cancelled read does not begin; that of another read, which waits, takes over. */
static void cancelled_before(failsoft_router *router) {
    static read_end left[100], stays;
    uint64_t ids[100];
    int begun = 0, taken_over = 0;
    for (int i = 0; i < 100; i++)
        start(router, "left", echo, &begun, &left[i], &ids[i]);
    start(router, "left", echo, &taken_over, &stays, NULL);
    /* Without a dispatch nothing is called, but the loads have begun. */
    wait_health(router, "\"waiters\":101,");
    for (int i = 0; i < 100; i++)
        STATUS(FAILSOFT_OK, failsoft_cancel(router, ids[i]));
    finish(router, &stays);
    CHECK(has_value(stays.outcome, "left") && begun == 0 && taken_over == 1);
    release(&stays);
    for (int i = 0; i < 100; i++) {
        finish(router, &left[i]);
        CHECK(left[i].status == FAILSOFT_CANCELLED);
        release(&left[i]);
    }
}

static void asks_itself(failsoft_load *request, void *router) {
    failsoft_outcome *outcome;
    size_t len;
    const uint8_t *key = failsoft_load_key(request, &len);
    STATUS(FAILSOFT_REENTRANT, failsoft_get_with_fallback(router, key, len, asks_itself, router, &outcome));
    failsoft_outcome_free(outcome);
    /* Another key makes no circle. */
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("other"), 5, reply_text, "inner", &outcome));
    CHECK(has_value(outcome, "inner"));
    failsoft_outcome_free(outcome);
    reply_text(request, "outer");
}

static void circles(failsoft_router *router) {
    failsoft_outcome *outcome;
    read_end end;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("circle"), 6, asks_itself, router, &outcome));
    CHECK(has_value(outcome, "outer"));
    failsoft_outcome_free(outcome);
    start(router, "circle in the background", asks_itself, router, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "outer"));
    release(&end);
}

static void load_two(failsoft_load *request, void *unused) {
    size_t len;
    (void)unused;
    CHECK(failsoft_load_count(request) == 2 && failsoft_load_reason(request) == NULL);
    CHECK(failsoft_load_key_at(request, 2, &len) == NULL && len == 0);
    const uint8_t *key = failsoft_load_key_at(request, 0, &len);
    CHECK(len == 2);
    size_t wanted = memcmp(key, "m3", 2) == 0 ? 1 : 0;
    STATUS(FAILSOFT_MISUSE, failsoft_load_reply(request, bytes("x"), 1));
    STATUS(FAILSOFT_MISUSE, failsoft_load_missing(request));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_load_reply_at(request, 2, bytes("x"), 1));
    STATUS(FAILSOFT_OK, failsoft_load_reply_at(request, wanted, bytes("two"), 3));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_reply_at(request, wanted, bytes("x"), 1));
    STATUS(FAILSOFT_OK, failsoft_load_done(request));
    failsoft_load_free(request);
}

static void check_many(const failsoft_outcomes *outcomes) {
    CHECK(failsoft_outcomes_count(outcomes) == 4 && failsoft_outcomes_at(outcomes, 4) == NULL);
    CHECK(has_value(failsoft_outcomes_at(outcomes, 0), "one") && has_value(failsoft_outcomes_at(outcomes, 3), "one"));
    CHECK(has_value(failsoft_outcomes_at(outcomes, 1), "two"));
    CHECK(!failsoft_outcome_found(failsoft_outcomes_at(outcomes, 2)));
}

static void many(failsoft_router *router) {
    const uint8_t *keys[] = {bytes("m1"), bytes("m2"), bytes("m3"), bytes("m1")};
    size_t lens[] = {2, 2, 2, 2};
    failsoft_outcomes *outcomes;
    read_end end;
    memset(&end, 0, sizeof end);
    STATUS(FAILSOFT_OK, failsoft_set(router, keys[0], 2, bytes("one"), 3, NULL));
    STATUS(FAILSOFT_OK, failsoft_get_many_with_fallback_async(router, keys, lens, 4, load_two, NULL, on_ends, &end, NULL));
    finish(router, &end);
    CHECK(end.status == FAILSOFT_OK);
    check_many(end.outcomes);
    release(&end);
    keys[1] = bytes("n2");
    STATUS(FAILSOFT_OK, failsoft_get_many_with_fallback(router, keys, lens, 4, load_two, NULL, &outcomes));
    check_many(outcomes);
    failsoft_outcomes_free(outcomes);
    keys[1] = bytes("x2");
    STATUS(FAILSOFT_FALLBACK, failsoft_get_many_with_fallback(router, keys, lens, 4, fail_load, NULL, &outcomes));
    CHECK(failsoft_outcome_status(failsoft_outcomes_at(outcomes, 0)) == FAILSOFT_OK);
    CHECK(failsoft_outcome_error_code(failsoft_outcomes_at(outcomes, 1)) == -7);
    failsoft_outcomes_free(outcomes);
    STATUS(FAILSOFT_OK, failsoft_get_many_with_fallback(router, NULL, NULL, 0, fail_load, NULL, NULL));
}

/* A loader that blocks delays no other read's outcome. With `fd` there is only one thread, and nothing to show. */
static void blocks(failsoft_load *request, void *may_go) {
    wait_for(NULL, has_ended, may_go);
    reply_text(request, "at last");
}

static void blocking_loaders(failsoft_router *router) {
    static read_end blocked[HERD];
    read_end free_end, gate = {0};
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "blocks %d", i);
        start(router, key, blocks, &gate, &blocked[i], NULL);
    }
    start(router, "m1", NULL, NULL, &free_end, NULL);
    finish(router, &free_end);
    CHECK(has_value(free_end.outcome, "one"));
    release(&free_end);
    lock_state();
    gate.ended = true;
    unlock_state();
    for (int i = 0; i < 100; i++) {
        finish(router, &blocked[i]);
        CHECK(has_value(blocked[i].outcome, "at last"));
        release(&blocked[i]);
    }
}

static void closing(failsoft_router *router, kit *kit, int node) {
    static read_end ends[HERD];
    char request[96];
    int before = kit_calls(kit, node, "GET");
    for (int i = 0; i < 10; i++)
        start(router, "loading", keep, NULL, &ends[i], NULL);
    wait_kept(router, 1);
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"GET\", \"how\": \"silent\"", node);
    before = kit_calls(kit, node, "GET");
    kit_ask(kit, request);
    for (int i = 10; i < 20; i++)
        start(router, "silent", NULL, NULL, &ends[i], NULL);
    kit_wait_calls(kit, node, "GET", before + 1);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    for (int i = 0; i < 20; i++) {
        CHECK(ends[i].times == 1 && (ends[i].status == FAILSOFT_CLOSED || ends[i].status == FAILSOFT_CANCELLED));
        release(&ends[i]);
    }
    answer_elsewhere("nobody waits");
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    kit *kit = kit_start();
    char address[64];
    int node = kit_scripted(kit, address, sizeof address), calls = 0;
    read_end end;
    failsoft_router *router = open_router(address, delivery, NULL);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    values(router, kit, node);
    start(router, "echo", echo, &calls, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "echo") && calls == 1);
    release(&end);
    copied(router);
    later_and_never(router);
    herd(router);
    cancelled_alone(router, kit, node);
    circles(router);
    many(router);
    if (strcmp(delivery, "threads") == 0)
        blocking_loaders(router);
    else
        cancelled_before(router);
    closing(router, kit, node);
    kit_stop(kit);
    printf("reads, %s: ok\n", delivery);
    return 0;
}
