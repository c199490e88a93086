/* CPU of the client process for each asynchronous read through the C library: one measurement for `failsoft-bench cpu`.
 *
 *     cpu --in-flight N --millis MS --nodes HOST:PORT,... --delivery threads|fd
 *
 * As many reads are in flight as it is told; each one's callback checks the value and starts the next. Prints one JSON
 * object with the fields of the benchmark's `Measured`. */
#include <failsoft.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* As in bench/src/dataset.rs. */
enum { KEYS = 1000, VALUE = 100, STRIDE = 379, READY_MS = 10000 };

typedef struct {
    char key[32];
    size_t len;
    char value[VALUE + 1];
} entry;

typedef struct {
    size_t at;
} reader;

static entry entries[KEYS];
static failsoft_router *router;
static atomic_bool stop;
static atomic_size_t reading;
static atomic_ulong reads;

static void die(const char *what) {
    fprintf(stderr, "cpu: %s: %s\n", what, failsoft_last_error());
    exit(1);
}

static void no_hit(failsoft_load *request, void *unused) {
    (void)request, (void)unused;
    die("a read was no hit");
}

static void next(reader *self);

static void ended(failsoft_status status, failsoft_outcome *outcome, void *data) {
    reader *self = data;
    size_t len;
    const uint8_t *value = failsoft_outcome_value(outcome, &len);
    if (status != FAILSOFT_OK || len != VALUE || memcmp(value, entries[self->at].value, VALUE) != 0)
        die("a wrong value");
    failsoft_outcome_free(outcome);
    atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    if (atomic_load_explicit(&stop, memory_order_relaxed))
        atomic_fetch_sub(&reading, 1);
    else
        next(self);
}

static void next(reader *self) {
    self->at = (self->at + STRIDE) % KEYS;
    const entry *e = &entries[self->at];
    if (failsoft_get_with_fallback_async(router, (const uint8_t *)e->key, e->len, no_hit, NULL, ended, self, NULL) !=
        FAILSOFT_OK)
        die("a read did not start");
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double micros(struct timeval t) { return (double)t.tv_sec * 1e6 + (double)t.tv_usec; }

/* Reads for that long; how many. */
static unsigned long run(reader *readers, size_t in_flight, double seconds, int fd) {
    unsigned long before = atomic_load(&reads);
    double until = now() + seconds;
    atomic_store(&stop, false);
    atomic_store(&reading, in_flight);
    for (size_t i = 0; i < in_flight; i++) {
        readers[i].at = i;
        next(&readers[i]);
    }
    while (atomic_load(&reading) > 0) {
        double left = until - now();
        if (left <= 0)
            atomic_store(&stop, true);
        if (fd >= 0) {
            struct pollfd watched = {fd, POLLIN, 0};
            poll(&watched, 1, left > 0 ? (int)(left * 1000) + 1 : 100);
            failsoft_router_dispatch(router);
        } else {
            struct timespec pause = {0, 1000000};
            if (left > 0) {
                pause.tv_sec = (time_t)left;
                pause.tv_nsec = (long)((left - (double)pause.tv_sec) * 1e9);
            }
            nanosleep(&pause, NULL);
        }
    }
    return atomic_load(&reads) - before;
}

int main(int argc, char **argv) {
    const char *nodes = NULL, *delivery = "threads";
    size_t in_flight = 0;
    double seconds = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--in-flight") == 0)
            in_flight = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--millis") == 0)
            seconds = strtod(argv[i + 1], NULL) / 1000;
        else if (strcmp(argv[i], "--nodes") == 0)
            nodes = argv[i + 1];
        else if (strcmp(argv[i], "--delivery") == 0)
            delivery = argv[i + 1];
    }
    if (!nodes || in_flight == 0 || seconds <= 0)
        die("usage: cpu --in-flight N --millis MS --nodes A,B [--delivery threads|fd]");
    for (int i = 0; i < KEYS; i++) {
        entry *e = &entries[i];
        e->len = (size_t)snprintf(e->key, sizeof e->key, i % 10 ? "key:%d" : "key:%d{moving}", i);
        memset(e->value, '.', VALUE);
        char number[16];
        int digits = snprintf(number, sizeof number, "%d", i);
        memcpy(e->value + VALUE - digits, number, (size_t)digits);
    }
    failsoft_config *config = failsoft_config_new(nodes);
    if (failsoft_config_set(config, "delivery", delivery) != FAILSOFT_OK ||
        failsoft_router_open(config, &router) != FAILSOFT_OK || failsoft_router_ready(router, READY_MS) != FAILSOFT_OK)
        die("no router");
    failsoft_config_free(config);
    int fd = strcmp(delivery, "fd") == 0 ? failsoft_router_fd(router) : -1;
    reader *readers = calloc(in_flight, sizeof *readers);
    run(readers, in_flight, seconds / 4, fd);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double began = now();
    unsigned long done = run(readers, in_flight, seconds, fd);
    double elapsed = now() - began;
    getrusage(RUSAGE_SELF, &after);
    printf("{\"reads\": %lu, \"user\": %f, \"system\": %f, \"per_second\": %f}\n", done,
           (micros(after.ru_utime) - micros(before.ru_utime)) / (double)done,
           (micros(after.ru_stime) - micros(before.ru_stime)) / (double)done, (double)done / elapsed);
    failsoft_router_close(router);
    free(readers);
    return 0;
}
