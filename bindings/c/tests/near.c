/* Near hits in both deliveries: blocking ones are answered in the call, and none outlives an invalidation. */
#include "support.h"
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static void never(failsoft_load *request, void *unused) {
    (void)unused;
    CHECK(!"a read went to its loader");
    failsoft_load_free(request);
}

/* Reads until a near copy serves. Which reads make a copy is a matter of chance. */
static void until_near(failsoft_router *router, const char *key, const char *value) {
    double deadline = seconds_now() + LONG_MS / 1000.0;
    for (bool near = false; !near;) {
        failsoft_outcome *outcome;
        STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, bytes(key), strlen(key), never, NULL, &outcome));
        CHECK(has_value(outcome, value) && seconds_now() < deadline);
        near = strcmp(failsoft_outcome_served_by(outcome), "near") == 0;
        if (near)
            CHECK(failsoft_outcome_attempts(outcome) == 0 && failsoft_outcome_age_ms(outcome) <= 1000);
        failsoft_outcome_free(outcome);
    }
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    kit *kit = kit_start();
    char addresses[256];
    kit_cluster(kit, 3, 0, addresses, sizeof addresses);
    failsoft_router *router = open_router(addresses, delivery, "near_cache_bytes", "1000000", NULL);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    const uint8_t *keys[] = {bytes("near")};
    size_t lens[] = {4};
    for (int round = 0; round < 10; round++) {
        STATUS(FAILSOFT_OK, failsoft_set(router, keys[0], lens[0], bytes("old"), 3, NULL));
        until_near(router, "near", "old");
        /* An asynchronous read is told by its function, as ever. */
        read_end end;
        start(router, "near", never, NULL, &end, NULL);
        finish(router, &end);
        CHECK(end.times == 1 && has_value(end.outcome, "old"));
        release(&end);
        failsoft_outcome *outcome;
        STATUS(FAILSOFT_OK, failsoft_invalidate(router, keys, lens, 1));
        STATUS(FAILSOFT_OK, failsoft_get_with_fallback(router, keys[0], lens[0], reply_text, "new", &outcome));
        CHECK(has_value(outcome, "new") && strcmp(failsoft_outcome_served_by(outcome), "secondary") == 0);
        failsoft_outcome_free(outcome);
    }
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    kit_stop(kit);
    printf("near, %s: ok\n", delivery);
    return 0;
}
