/* A real cluster: one primary is killed and another hangs while reads go on. None fails, none gives a wrong value, and
 * the router is closed with reads in flight. */
#include "support.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { READERS = 32, KEYS = 500 };

typedef struct {
    char key[16];
    int at;
} reader;

static failsoft_router *router;
static atomic_bool stop;
static atomic_int reading;
static atomic_long reads, failed, secondary;

static void load(failsoft_load *request, void *unused) {
    char value[32];
    size_t len;
    (void)unused;
    const uint8_t *key = failsoft_load_key(request, &len);
    int length = snprintf(value, sizeof value, "v%.*s", (int)len - 1, (const char *)key + 1);
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, (const uint8_t *)value, (size_t)length));
    failsoft_load_free(request);
}

static void next(reader *self);

static void ended(failsoft_status status, failsoft_outcome *outcome, void *data) {
    reader *self = data;
    char wanted[32];
    snprintf(wanted, sizeof wanted, "v%s", self->key + 1);
    bool good = status == FAILSOFT_OK && has_value(outcome, wanted);
    if (!good && status != FAILSOFT_CLOSED) {
        fprintf(stderr, "%s: %s %s\n", self->key, failsoft_status_name((int)status),
                failsoft_outcome_error_message(outcome) ? failsoft_outcome_error_message(outcome) : "another value");
        atomic_fetch_add(&failed, 1);
    }
    const char *source = failsoft_outcome_served_by(outcome);
    if (source && strcmp(source, "secondary") == 0)
        atomic_fetch_add(&secondary, 1);
    failsoft_outcome_free(outcome);
    lock_state();
    atomic_fetch_add(&reads, 1);
    unlock_state();
    next(self);
}

static void next(reader *self) {
    self->at = (self->at + 379) % KEYS;
    snprintf(self->key, sizeof self->key, "k%d", self->at);
    if (atomic_load(&stop) || failsoft_get_with_fallback_async(router, (const uint8_t *)self->key, strlen(self->key), load,
                                                               NULL, ended, self, NULL) != FAILSOFT_OK)
        atomic_fetch_sub(&reading, 1);
}

static bool so_many(void *number) { return atomic_load(&reads) >= *(long *)number; }

/* Waits until so many more reads have ended. */
static void go_on(long more) {
    more += atomic_load(&reads);
    wait_for(router, so_many, &more);
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    static reader readers[READERS];
    char addresses[512];
    kit *kit = kit_start();
    kit_cluster(kit, 3, 1, addresses, sizeof addresses);
    failsoft_config *config = failsoft_config_new(addresses);
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "delivery", delivery));
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    failsoft_config_free(config);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    atomic_store(&reading, READERS);
    for (int i = 0; i < READERS; i++) {
        readers[i].at = i * 13;
        next(&readers[i]);
    }
    go_on(3000);
    kit_ask(kit, "\"do\": \"kill\", \"node\": 0");
    go_on(3000);
    kit_ask(kit, "\"do\": \"wait_promoted\", \"node\": 3");
    go_on(3000);
    kit_ask(kit, "\"do\": \"hang\", \"node\": 1");
    go_on(3000);
    CHECK(atomic_load(&failed) == 0);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(atomic_load(&reading) == 0 && atomic_load(&failed) == 0);
    printf("outage, %s: ok, %ld reads, %ld from the loader, 0 failed\n", delivery, atomic_load(&reads),
           atomic_load(&secondary));
    kit_stop(kit);
    return 0;
}
