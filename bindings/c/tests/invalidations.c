/* Invalidations: blocking and asynchronous, inside a loader, cancelled, and what one that is incomplete tells. */
#include "support.h"
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static const char *delivery = "threads";

static void behave(kit *kit, int node, const char *command, const char *how) {
    char request[128];
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"%s\", \"how\": \"%s\"", node,
             command, how);
    kit_ask(kit, request);
}

/* Whether a read of the key is answered by its loader alone, and is told so. */
static bool is_loaded(failsoft_router *router, const char *key, const char *reason) {
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes(key), strlen(key), reply_text, "new", &outcome));
    bool loaded = has_value(outcome, "new") && strcmp(failsoft_outcome_served_by(outcome), "secondary") == 0 &&
                  strcmp(failsoft_outcome_reason(outcome), reason) == 0;
    failsoft_outcome_free(outcome);
    return loaded;
}

static void set(failsoft_router *router, const char *key) {
    STATUS(FAILSOFT_OK, failsoft_set(router, bytes(key), strlen(key), bytes("old"), 3, NULL));
}

static void blocking(failsoft_router *router) {
    const uint8_t *keys[] = {bytes("one"), bytes("two"), bytes("one"), NULL};
    size_t lens[] = {3, 3, 3, 0};
    set(router, "one");
    set(router, "two");
    STATUS(FAILSOFT_OK, failsoft_invalidate(router, keys, lens, 4));
    CHECK(is_loaded(router, "one", "invalidated") && is_loaded(router, "two", "invalidated"));
    /* The key without bytes is one, too. */
    wait_health(router, "\"invalidations\":3,");
    STATUS(FAILSOFT_OK, failsoft_invalidate(router, NULL, NULL, 0));
}

/* Who made it, and that nobody has touched a key, as far as that can be known. */
static void history(failsoft_router *router) {
    const uint8_t *keys[] = {bytes("history")};
    size_t lens[] = {7};
    failsoft_invalidation *last;
    bool untouched = true;
    STATUS(FAILSOFT_OK, failsoft_last_invalidation(router, keys[0], 7, &last));
    CHECK(last == NULL);
    STATUS(FAILSOFT_OK, failsoft_invalidate(router, keys, lens, 1));
    STATUS(FAILSOFT_OK, failsoft_last_invalidation(router, keys[0], 7, &last));
    CHECK(failsoft_invalidation_own(last) && strcmp(failsoft_invalidation_record(last), "mark") == 0);
    CHECK(strlen(failsoft_invalidation_id(last)) == 16);
    CHECK(failsoft_invalidation_age_ms(last) >= 0 && failsoft_invalidation_at_ms(last) > 1700000000000);
    failsoft_invalidation_free(last);
    STATUS(FAILSOFT_OK, failsoft_within_staleness_budget(router, keys[0], 7, 3600000, &untouched));
    CHECK(!untouched);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_last_invalidation(router, NULL, 7, &last));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_last_invalidation(router, keys[0], 7, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_within_staleness_budget(router, keys[0], 7, 0, NULL));
    CHECK(!failsoft_invalidation_id(NULL) && !failsoft_invalidation_record(NULL));
    CHECK(!failsoft_invalidation_own(NULL) && failsoft_invalidation_age_ms(NULL) == 0);
    failsoft_invalidation_free(NULL);
}

static void asynchronous(failsoft_router *router) {
    char memory[] = "async";
    const uint8_t *keys[] = {bytes(memory)};
    size_t lens[] = {5};
    done end = {0}, nothing = {0};
    set(router, "async");
    STATUS(FAILSOFT_OK, failsoft_invalidate_async(router, keys, lens, 1, on_done, &end, NULL));
    /* Keys are copied by the call. */
    memset(memory, 'x', 5);
    keys[0] = NULL;
    lens[0] = 0;
    wait_for(router, is_done, &end);
    CHECK(end.status == FAILSOFT_OK && end.times == 1);
    CHECK(is_loaded(router, "async", "invalidated"));
    STATUS(FAILSOFT_OK, failsoft_invalidate_async(router, NULL, NULL, 0, on_done, &nothing, NULL));
    wait_for(router, is_done, &nothing);
    CHECK(nothing.status == FAILSOFT_OK && nothing.times == 1);
}

/* Invalidates the key that it loads, and answers with what it had before. */
static void invalidates(failsoft_load *request, void *router) {
    const uint8_t *keys[1];
    size_t lens[1];
    keys[0] = failsoft_load_key(request, &lens[0]);
    STATUS(FAILSOFT_OK, failsoft_invalidate(router, keys, lens, 1));
    reply_text(request, "old");
}

/* The loaded value, which may be older than the invalidation, is for who has waited, and for nobody else. */
static void inside_a_loader(failsoft_router *router) {
    failsoft_outcome *outcome;
    read_end end;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("inside"), 6, invalidates, router, &outcome));
    CHECK(has_value(outcome, "old"));
    failsoft_outcome_free(outcome);
    start(router, "inside", invalidates, router, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "old") && strcmp(failsoft_outcome_served_by(end.outcome), "secondary") == 0);
    release(&end);
    wait_health(router, "{\"what\":\"lease_gone\",\"reason\":\"\",\"count\":2}");
    CHECK(is_loaded(router, "inside", "invalidated"));
}

static void cancelled(kit *kit, int node, failsoft_router *router) {
    const uint8_t *keys[] = {bytes("cancelled")};
    size_t lens[] = {9};
    done end = {0};
    uint64_t id;
    int before = kit_calls(kit, node, "INVALIDATE");
    behave(kit, node, "INVALIDATE", "LOADING soon");
    STATUS(FAILSOFT_OK, failsoft_invalidate_async(router, keys, lens, 1, on_done, &end, &id));
    kit_wait_calls(kit, node, "INVALIDATE", before + 1);
    STATUS(FAILSOFT_OK, failsoft_cancel(router, id));
    wait_for(router, is_done, &end);
    CHECK(end.status == FAILSOFT_CANCELLED && end.times == 1);
    CHECK(is_loaded(router, "cancelled", "invalidated"));
    char request[64];
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d", node);
    kit_ask(kit, request);
    /* It goes on all the same. */
    wait_health(router, "\"invalidations_owed\":0,");
}

static void incomplete(kit *kit) {
    char address[64];
    int node = kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    const uint8_t *keys[] = {bytes("k"), bytes("l")};
    size_t lens[] = {1, 1};
    done end = {0}, closed = {0};
    set(router, "k");
    /* It may run no scripts, and not delete, but leave marks. */
    behave(kit, node, "EVALSHA", "NOPERM no");
    behave(kit, node, "DEL", "NOPERM no");
    STATUS(FAILSOFT_INVALIDATION_INCOMPLETE, failsoft_invalidate(router, keys, lens, 1));
    CHECK(strstr(failsoft_last_error(), "1 of the keys") && strstr(failsoft_last_error(), "\"k\""));
    CHECK(strncmp((const char *)failsoft_last_error_detail(NULL), "key denied", 10) == 0);
    CHECK(strcmp(failsoft_last_error_detail_name(), "pending") == 0);
    STATUS(FAILSOFT_OK, failsoft_invalidate_async(router, keys, lens, 2, on_done, &end, NULL));
    wait_for(router, is_done, &end);
    CHECK(end.status == FAILSOFT_INVALIDATION_INCOMPLETE && end.times == 1);
    CHECK(strstr(end.error, "2 of the keys") && strncmp(end.detail, "key denied", 10) == 0);
    CHECK(is_loaded(router, "k", "invalidated"));
    wait_health(router, "\"invalidations_owed\":2,");
    /* Closing ends those that are under way. */
    behave(kit, node, "DEL", "silent");
    STATUS(FAILSOFT_OK, failsoft_invalidate_async(router, keys, lens, 2, on_done, &closed, NULL));
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(closed.times == 1 && closed.status == FAILSOFT_CLOSED);
}

int main(int argc, char **argv) {
    char address[64];
    if (argc > 1)
        delivery = argv[1];
    CHECK(FAILSOFT_INVALIDATION_INCOMPLETE == 9);
    CHECK(strcmp(failsoft_status_name(9), "INVALIDATION_INCOMPLETE") == 0);
    kit *kit = kit_start();
    int node = kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    blocking(router);
    history(router);
    asynchronous(router);
    inside_a_loader(router);
    cancelled(kit, node, router);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    incomplete(kit);
    kit_stop(kit);
    printf("invalidations, %s: ok\n", delivery);
    return 0;
}
