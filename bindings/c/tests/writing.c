/* Writers: what is held around a transaction and after an invalidation, when it is lifted, and who is not let in. */
#include "support.h"
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static const char *delivery = "threads";

static failsoft_writing *begin(failsoft_router *router, const char *key) {
    const uint8_t *keys[] = {bytes(key)};
    size_t lens[] = {strlen(key)};
    failsoft_writing *writing = NULL;
    STATUS(FAILSOFT_OK, failsoft_writing_begin(router, keys, lens, 1, &writing));
    CHECK(writing != NULL);
    return writing;
}

static bool reads(failsoft_router *router, const char *key, const char *loaded, const char *value) {
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_OK,
           failsoft_get_with_fallback(router, bytes(key), strlen(key), reply_text, (void *)(uintptr_t)loaded, &outcome));
    bool right = has_value(outcome, value);
    failsoft_outcome_free(outcome);
    return right;
}

/* What is loaded of a key that is held is served, and kept nowhere; so each read has its own. */
static void is_held(failsoft_router *router, const char *key, int skipped) {
    char count[64];
    CHECK(reads(router, key, "first", "first"));
    CHECK(reads(router, key, "second", "second"));
    snprintf(count, sizeof count, "{\"what\":\"held\",\"reason\":\"\",\"count\":%d}", skipped);
    wait_health(router, count);
}

static void around_a_transaction(failsoft_router *router, failsoft_router *other) {
    const uint8_t *keys[] = {bytes("one"), bytes("two"), bytes("one"), NULL};
    size_t lens[] = {3, 3, 3, 0};
    failsoft_writing *writing;
    STATUS(FAILSOFT_OK, failsoft_set(router, bytes("one"), 3, bytes("old"), 3, NULL));
    STATUS(FAILSOFT_OK, failsoft_writing_begin(router, keys, lens, 4, &writing));
    is_held(router, "one", 2);
    is_held(other, "two", 2);
    STATUS(FAILSOFT_OK, failsoft_writing_end(writing));
    CHECK(reads(router, "one", "new", "new"));
    wait_health(router, "\"fills\":1,");
    CHECK(reads(other, "one", "newer", "new"));
    STATUS(FAILSOFT_OK, failsoft_writing_begin(router, NULL, NULL, 0, &writing));
    STATUS(FAILSOFT_OK, failsoft_writing_end(writing));
}

static void of_another_writer(failsoft_router *router, failsoft_router *other) {
    failsoft_writing *first = begin(router, "shared"), *second = begin(other, "shared");
    STATUS(FAILSOFT_OK, failsoft_writing_end(first));
    is_held(router, "shared", 4);
    STATUS(FAILSOFT_OK, failsoft_writing_end(second));
    CHECK(reads(router, "shared", "new", "new"));
    wait_health(router, "\"fills\":2,");
    CHECK(reads(other, "shared", "newer", "new"));
}

static void after_an_invalidation(failsoft_router *router, failsoft_router *other) {
    const uint8_t *keys[] = {bytes("lag")};
    size_t lens[] = {3};
    STATUS(FAILSOFT_OK, failsoft_invalidate_and_hold(router, keys, lens, 1, 3600000));
    is_held(other, "lag", 4);
    /* Its own hold is not another writer's. */
    STATUS(FAILSOFT_OK, failsoft_writing_end(begin(other, "lag")));
    is_held(router, "lag", 6);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate_and_hold(router, keys, lens, 1, 0));
    CHECK(strcmp((const char *)failsoft_last_error_detail(NULL), "hold") == 0);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate_and_hold(router, keys, lens, 1, 3600001));
}

/* Inside a loader, too, and the value that it loads then is kept nowhere. */
static void writes(failsoft_load *request, void *router) {
    size_t len;
    const uint8_t *key = failsoft_load_key(request, &len);
    failsoft_writing *writing;
    STATUS(FAILSOFT_OK, failsoft_writing_begin(router, &key, &len, 1, &writing));
    STATUS(FAILSOFT_OK, failsoft_writing_end(writing));
    reply_text(request, "old");
}

static void inside_a_loader(failsoft_router *router) {
    failsoft_outcome *outcome;
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes("inside"), 6, writes, router, &outcome));
    CHECK(has_value(outcome, "old"));
    failsoft_outcome_free(outcome);
    wait_health(router, "{\"what\":\"lease_gone\",\"reason\":\"\",\"count\":1}");
    CHECK(reads(router, "inside", "new", "new"));
}

static void not_let_in(kit *kit) {
    char address[64], request[128];
    int node = kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    const uint8_t *keys[] = {bytes("k"), bytes("l")};
    size_t lens[] = {1, 1};
    /* As its users see a writing that is over when the router is. */
    failsoft_writing *inside = begin(router, "k"), *writing = inside;
    snprintf(request, sizeof request, "\"do\": \"behave\", \"node\": %d, \"command\": \"HOLD\", \"how\": \"ERR no\"", node);
    kit_ask(kit, request);
    STATUS(FAILSOFT_INVALIDATION_INCOMPLETE, failsoft_writing_begin(router, keys, lens, 2, &writing));
    CHECK(writing == NULL);
    CHECK(strstr(failsoft_last_error(), "2 of the keys"));
    CHECK(strcmp((const char *)failsoft_last_error_detail(NULL), "hold error_reply") == 0);
    /* A hold may have come about whose answer was lost. */
    kit_wait_calls(kit, node, "ZREM", 2);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    STATUS(FAILSOFT_CLOSED, failsoft_writing_end(inside));
}

int main(int argc, char **argv) {
    char address[64];
    if (argc > 1)
        delivery = argv[1];
    kit *kit = kit_start();
    kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL), *other = open_router(address, delivery, NULL);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    STATUS(FAILSOFT_OK, failsoft_router_ready(other, LONG_MS));
    around_a_transaction(router, other);
    of_another_writer(router, other);
    after_an_invalidation(router, other);
    inside_a_loader(router);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    STATUS(FAILSOFT_OK, failsoft_router_close(other));
    not_let_in(kit);
    kit_stop(kit);
    printf("writing, %s: ok\n", delivery);
    return 0;
}
