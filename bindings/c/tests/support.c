/* See support.h. */
#include "support.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void check(bool holds, const char *what, const char *file, int line) {
    if (holds)
        return;
    fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", file, line, what, failsoft_last_error());
    exit(1);
}

void check_status(failsoft_status wanted, failsoft_status got, const char *what, const char *file, int line) {
    if (wanted == got)
        return;
    fprintf(stderr, "%s:%d: %s gave %s, not %s: %s\n", file, line, what, failsoft_status_name((int)got),
            failsoft_status_name((int)wanted), failsoft_last_error());
    exit(1);
}

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

struct kit {
    pid_t pid;
    FILE *to, *from;
    char answer[4096];
};

kit *kit_start(void) {
    const char *program = getenv("FAILSOFT_TESTKIT");
    int to[2], from[2];
    CHECK(program != NULL);
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    kit *made = calloc(1, sizeof *made);
    made->pid = fork();
    CHECK(made->pid >= 0);
    if (made->pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[0]), close(to[1]), close(from[0]), close(from[1]);
        /* A tool that watches this program, such as valgrind, must not watch the kit. */
        unsetenv("LD_PRELOAD");
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    made->to = fdopen(to[1], "w");
    made->from = fdopen(from[0], "r");
    return made;
}

void kit_stop(kit *kit) {
    int status;
    fclose(kit->to);
    fclose(kit->from);
    CHECK(waitpid(kit->pid, &status, 0) == kit->pid);
    free(kit);
}

const char *kit_ask(kit *kit, const char *request) {
    fprintf(kit->to, "{%s}\n", request);
    fflush(kit->to);
    CHECK(fgets(kit->answer, sizeof kit->answer, kit->from) != NULL);
    if (strstr(kit->answer, "\"error\"")) {
        fprintf(stderr, "the test kit, asked {%s}: %s", request, kit->answer);
        exit(1);
    }
    return kit->answer;
}

/* The text after a name in the kit's answer. */
static const char *field(const char *answer, const char *name) {
    const char *at = strstr(answer, name);
    CHECK(at != NULL);
    return at + strlen(name);
}

int kit_scripted(kit *kit, char *address, size_t size) {
    const char *answer = kit_ask(kit, "\"do\": \"scripted\"");
    const char *text = field(answer, "\"address\":\"");
    snprintf(address, size, "%.*s", (int)strcspn(text, "\""), text);
    return atoi(field(answer, "\"node\":"));
}

int kit_calls(kit *kit, int node, const char *command) {
    char request[128];
    snprintf(request, sizeof request, "\"do\": \"calls\", \"node\": %d, \"command\": \"%s\"", node, command);
    return atoi(field(kit_ask(kit, request), "\"calls\":"));
}

void kit_wait_calls(kit *kit, int node, const char *command, int calls) {
    double until = seconds_now() + LONG_MS / 1000;
    while (kit_calls(kit, node, command) < calls) {
        CHECK(seconds_now() < until);
        pause_ms(1);
    }
}

void kit_cluster(kit *kit, int primaries, int replicas, char *addresses, size_t size) {
    char request[128];
    snprintf(request, sizeof request, "\"do\": \"cluster\", \"primaries\": %d, \"replicas\": %d", primaries, replicas);
    const char *list = field(kit_ask(kit, request), "\"addresses\":[");
    size_t used = 0;
    for (; *list && *list != ']'; list++)
        if (*list != '"' && used + 1 < size)
            addresses[used++] = *list;
    addresses[used] = 0;
}

failsoft_router *open_router(const char *nodes, const char *delivery, ...) {
    failsoft_config *config = failsoft_config_new(nodes);
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "delivery", delivery));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "attempt_timeout_ms", "4000"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "deadline_ms", "16000"));
    /* A limit that ends a read makes its test fail: nothing should take that long. */
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "load_timeout_ms", "120000"));
    va_list more;
    va_start(more, delivery);
    for (const char *key; (key = va_arg(more, const char *)) != NULL;)
        STATUS(FAILSOFT_OK, failsoft_config_set(config, key, va_arg(more, const char *)));
    va_end(more);
    failsoft_router *router = NULL;
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    failsoft_config_free(config);
    return router;
}

static pthread_mutex_t state = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void lock_state(void) { pthread_mutex_lock(&state); }

void unlock_state(void) {
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&state);
}

void on_end(failsoft_status status, failsoft_outcome *outcome, void *data) {
    read_end *end = data;
    lock_state();
    end->ended = true;
    end->times++;
    end->status = status;
    end->outcome = outcome;
    unlock_state();
}

void on_ends(failsoft_status status, failsoft_outcomes *outcomes, void *data) {
    read_end *end = data;
    lock_state();
    end->ended = true;
    end->times++;
    end->status = status;
    end->outcomes = outcomes;
    unlock_state();
}

void on_done(failsoft_status status, void *of) {
    done *d = of;
    lock_state();
    d->times++;
    d->status = status;
    if (status != FAILSOFT_OK) {
        const uint8_t *detail = failsoft_last_error_detail(NULL);
        snprintf(d->error, sizeof d->error, "%s", failsoft_last_error());
        snprintf(d->detail, sizeof d->detail, "%s", detail ? (const char *)detail : "");
    }
    unlock_state();
}

bool is_done(void *of) { return ((done *)of)->times > 0; }

bool detail_is(const char *name, const char *value) {
    size_t len;
    const char *found = failsoft_last_error_detail_name();
    const uint8_t *is = failsoft_last_error_detail(&len);
    return found && strcmp(found, name) == 0 && len == strlen(value) && strcmp((const char *)is, value) == 0;
}

bool has_ended(void *end) { return ((read_end *)end)->ended; }

void wait_for(failsoft_router *router, bool (*is_so)(void *), void *of) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LONG_MS / 1000;
    int fd = failsoft_router_fd(router);
    pthread_mutex_lock(&state);
    while (!is_so(of)) {
        if (fd < 0) {
            CHECK(pthread_cond_timedwait(&changed, &state, &until) == 0);
            continue;
        }
        pthread_mutex_unlock(&state);
        struct pollfd watched = {fd, POLLIN, 0};
        CHECK(poll(&watched, 1, LONG_MS) == 1);
        STATUS(FAILSOFT_OK, failsoft_router_dispatch(router));
        pthread_mutex_lock(&state);
    }
    pthread_mutex_unlock(&state);
}

void wait_health(failsoft_router *router, const char *text) {
    char *health;
    for (double until = seconds_now() + LONG_MS / 1000;; pause_ms(1)) {
        STATUS(FAILSOFT_OK, failsoft_health(router, &health));
        bool there = strstr(health, text) != NULL;
        failsoft_string_free(health);
        if (there)
            return;
        CHECK(seconds_now() < until);
    }
}

void start(failsoft_router *router, const char *key, failsoft_loader loader, void *user_data, read_end *end, uint64_t *id) {
    memset(end, 0, sizeof *end);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback_async(router, (const uint8_t *)key, strlen(key), loader, user_data,
                                                         on_end, end, id));
}

void finish(failsoft_router *router, read_end *end) { wait_for(router, has_ended, end); }

bool has_value(const failsoft_outcome *outcome, const char *value) {
    size_t len;
    const uint8_t *got = failsoft_outcome_value(outcome, &len);
    return got && len == strlen(value) && memcmp(got, value, len) == 0;
}

void release(read_end *end) {
    CHECK(end->times == 1);
    failsoft_outcome_free(end->outcome);
    failsoft_outcomes_free(end->outcomes);
    end->outcome = NULL;
    end->outcomes = NULL;
}

void reply_text(failsoft_load *request, void *text) {
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, text, strlen(text)));
    failsoft_load_free(request);
}
