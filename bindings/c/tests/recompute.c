/* The second loader of a read: called instead of the first for keys that nobody is known to have changed. */
#include "support.h"
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

/* Which loaders were called, and when their data was given back. */
typedef struct {
    int stored, computed, released;
    char reason[32];
} calls;

static void note(failsoft_load *request, calls *calls, int *number) {
    lock_state();
    ++*number;
    snprintf(calls->reason, sizeof calls->reason, "%s", failsoft_load_reason(request));
    unlock_state();
}

static void stored(failsoft_load *request, void *data) {
    note(request, data, &((calls *)data)->stored);
    reply_text(request, "stored");
}

static void computed(failsoft_load *request, void *data) {
    note(request, data, &((calls *)data)->computed);
    reply_text(request, "computed");
}

static void fails(failsoft_load *request, void *data) {
    note(request, data, &((calls *)data)->computed);
    STATUS(FAILSOFT_OK, failsoft_load_fail(request, 7, "cannot compute"));
    failsoft_load_free(request);
}

static void missing(failsoft_load *request, void *data) {
    note(request, data, &((calls *)data)->computed);
    STATUS(FAILSOFT_OK, failsoft_load_missing(request));
    failsoft_load_free(request);
}

static void on_release(void *data) {
    lock_state();
    ++((calls *)data)->released;
    unlock_state();
}

static bool is_released(void *data) { return ((calls *)data)->released == 1; }

static failsoft_get_options *with(failsoft_loader recompute) {
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_OK, failsoft_get_options_recompute(options, recompute));
    STATUS(FAILSOFT_OK, failsoft_get_options_on_release(options, on_release));
    return options;
}

/* Reads of the key, blocking and not: status, value and reason, and which loader was called, with the same reason. */
static void reads(failsoft_router *router, const char *key, failsoft_loader recompute, failsoft_status status,
                  const char *value, const char *reason, int computes) {
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        failsoft_get_options *options = with(recompute);
        calls calls = {0};
        read_end end = {0};
        char name[64];
        snprintf(name, sizeof name, "%s%s", key, asynchronous ? " async" : "");
        if (asynchronous) {
            STATUS(FAILSOFT_OK, failsoft_resolve_async(router, bytes(name), strlen(name), options, stored, &calls, on_end,
                                                       &end, NULL));
            failsoft_get_options_free(options);
            finish(router, &end);
        } else {
            end.status = failsoft_resolve(router, bytes(name), strlen(name), options, stored, &calls, &end.outcome);
            failsoft_get_options_free(options);
        }
        CHECK(end.status == status);
        CHECK(calls.computed == computes && calls.stored == 1 - computes && strcmp(calls.reason, reason) == 0);
        if (status == FAILSOFT_OK) {
            CHECK(value ? has_value(end.outcome, value) : !failsoft_outcome_found(end.outcome));
            CHECK(strcmp(failsoft_outcome_reason(end.outcome), reason) == 0);
        }
        failsoft_outcome_free(end.outcome);
        wait_for(router, is_released, &calls);
    }
}

static void invalidated(failsoft_router *router, const char *key) {
    const uint8_t *keys[] = {bytes(key)};
    size_t lens[] = {strlen(key)};
    STATUS(FAILSOFT_OK, failsoft_set(router, keys[0], lens[0], bytes("old"), 3, NULL));
    STATUS(FAILSOFT_OK, failsoft_invalidate(router, keys, lens, 1));
}

static void refused(failsoft_router *router) {
    failsoft_get_options *options = with(computed);
    const uint8_t *keys[] = {bytes("k")};
    size_t lens[] = {1};
    calls calls = {0};
    failsoft_outcome *outcome;
    failsoft_outcomes *outcomes;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_options_recompute(NULL, computed));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_resolve(router, bytes("k"), 1, options, NULL, &calls, &outcome));
    CHECK(detail_is("argument", "recompute") && strstr(failsoft_last_error(), "there is no fallback beside it"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_resolve_many(router, keys, lens, 1, options, stored, &calls, &outcomes));
    CHECK(detail_is("argument", "recompute") && outcomes == NULL);
    CHECK(calls.released == 2 && calls.stored == 0 && calls.computed == 0);
    STATUS(FAILSOFT_OK, failsoft_get_options_recompute(options, NULL));
    STATUS(FAILSOFT_OK, failsoft_resolve(router, bytes("unset"), 5, options, stored, &calls, &outcome));
    CHECK(has_value(outcome, "stored") && calls.stored == 1 && calls.computed == 0);
    failsoft_outcome_free(outcome);
    failsoft_get_options_free(options);
}

int main(int count, char **arguments) {
    const char *delivery = count > 1 ? arguments[1] : "threads";
    kit *kit = kit_start();
    char address[64];
    int node = kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    reads(router, "absent", computed, FAILSOFT_OK, "computed", "absent", 1);
    reads(router, "nothing", missing, FAILSOFT_OK, NULL, "absent", 1);
    reads(router, "fails", fails, FAILSOFT_FALLBACK, NULL, "absent", 1);
    invalidated(router, "changed");
    invalidated(router, "changed async");
    reads(router, "changed", computed, FAILSOFT_OK, "stored", "invalidated", 0);
    refused(router);
    char request[128];
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"GET\", \"how\": \"ERR no\"",
             node);
    kit_ask(kit, request);
    reads(router, "error", computed, FAILSOFT_OK, "stored", "error_reply", 0);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    kit_stop(kit);
    printf("recompute, %s: ok\n", delivery);
    return 0;
}
