/* Outage times through C: 32 threads that read, 3 + 3 nodes; a primary is killed, one hangs, all hang.
 *
 * Prints, for each fault, the failed reads, the worst read, and the p99 from one and from two seconds after it. */
#include "../../bindings/c/tests/support.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 32, KEYS = 10000, MOST = 200000 };

typedef struct {
    double began, took;
    bool failed;
    int source;
} seen_read;

static const char *const sources[] = {"primary", "replica", "secondary", "error"};
static failsoft_router *router;
static seen_read *seen;
static int count;
static double until;

/* As slow as a quick database. */
static void store(failsoft_load *request, void *unused) {
    char value[32];
    size_t len;
    (void)unused;
    const uint8_t *key = failsoft_load_key(request, &len);
    int length = snprintf(value, sizeof value, "v%.*s", (int)len - 1, (const char *)key + 1);
    pause_ms(2);
    failsoft_load_reply(request, (const uint8_t *)value, (size_t)length);
    failsoft_load_free(request);
}

static void *read_on(void *number) {
    long at = (long)(size_t)number * 7919;
    for (double began; (began = seconds_now()) < until; pause_ms(1)) {
        char key[16], wanted[16];
        at = (at + 104729) % KEYS;
        int len = snprintf(key, sizeof key, "k%ld", at);
        snprintf(wanted, sizeof wanted, "v%ld", at);
        failsoft_outcome *outcome;
        failsoft_get_with_fallback(router, (const uint8_t *)key, (size_t)len, store, NULL, &outcome);
        seen_read read = {began, seconds_now() - began, !has_value(outcome, wanted), 3};
        const char *source = failsoft_outcome_served_by(outcome);
        for (int i = 0; source && i < 3; i++)
            if (strcmp(source, sources[i]) == 0)
                read.source = i;
        failsoft_outcome_free(outcome);
        lock_state();
        if (count < MOST)
            seen[count++] = read;
        unlock_state();
    }
    return NULL;
}

static int by_length(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double p99(double since) {
    double *took = malloc((size_t)(count + 1) * sizeof *took);
    int number = 0;
    for (int i = 0; i < count; i++)
        if (seen[i].began > since)
            took[number++] = seen[i].took;
    qsort(took, (size_t)number, sizeof *took, by_length);
    double found = number ? took[number * 99 / 100] * 1000 : 0;
    free(took);
    return found;
}

static void outage(kit *kit, const char *name, double seconds) {
    pthread_t readers[READERS];
    int failed = 0, by_source[4] = {0};
    double worst = 0;
    count = 0;
    until = seconds_now() + 1 + seconds;
    for (size_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, read_on, (void *)i) == 0);
    pause_ms(1000);
    double fault = seconds_now();
    if (strcmp(name, "kill") == 0) {
        kit_ask(kit, "\"do\": \"kill\", \"node\": 0");
    } else {
        /* The killed one stays dead: it cannot be hung. */
        for (int node = 1; node < (strcmp(name, "hang") == 0 ? 2 : 6); node++) {
            char request[64];
            snprintf(request, sizeof request, "\"do\": \"hang\", \"node\": %d", node);
            kit_ask(kit, request);
        }
    }
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    for (int i = 0; i < count; i++) {
        failed += seen[i].failed;
        worst = seen[i].took > worst ? seen[i].took : worst;
        by_source[seen[i].source]++;
    }
    printf("%-10s %8d %6d %8.1f %8.1f %8.1f ", name, count, failed, worst * 1000, p99(fault + 1), p99(fault + 2));
    for (int i = 0; i < 4; i++)
        printf(" %s %d", sources[i], by_source[i]);
    puts("");
    fflush(stdout);
}

int main(void) {
    char addresses[512];
    kit *kit = kit_start();
    kit_cluster(kit, 3, 1, addresses, sizeof addresses);
    failsoft_config *config = failsoft_config_new(addresses);
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    failsoft_config_free(config);
    STATUS(FAILSOFT_OK, failsoft_router_ready(router, LONG_MS));
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "k%d", i);
        uint8_t value[16];
        memcpy(value, key, (size_t)len);
        value[0] = 'v';
        STATUS(FAILSOFT_OK, failsoft_set(router, (const uint8_t *)key, (size_t)len, value, (size_t)len, NULL));
    }
    seen = malloc(MOST * sizeof *seen);
    puts("fault         reads failed    worst  p99 >1s  p99 >2s  by source; times in ms");
    outage(kit, "kill", 7);
    outage(kit, "hang", 7);
    outage(kit, "all hung", 5);
    free(seen);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    kit_stop(kit);
    return 0;
}
