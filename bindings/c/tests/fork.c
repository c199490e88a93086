/* A forked child: calls with its parent's router give FORKED, a router of its own works, and the parent's works on. The
 * same if a callback forks and returns in the child as well. */
#include "support.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void in_child(failsoft_router *parents, failsoft_writing *inside, const char *address, const char *delivery) {
    char *text;
    const uint8_t *key = (const uint8_t *)"k";
    STATUS(FAILSOFT_FORKED, failsoft_get_with_fallback(parents, key, 1, NULL, NULL, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_get_with_fallback_async(parents, key, 1, NULL, NULL, on_end, NULL, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_set(parents, key, 1, key, 1, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_invalidate(parents, NULL, NULL, 0));
    failsoft_invalidation *last;
    bool untouched;
    STATUS(FAILSOFT_FORKED, failsoft_last_invalidation(parents, key, 1, &last));
    STATUS(FAILSOFT_FORKED, failsoft_within_staleness_budget(parents, key, 1, 1, &untouched));
    failsoft_writing *writing;
    STATUS(FAILSOFT_FORKED, failsoft_writing_begin(parents, NULL, NULL, 0, &writing));
    CHECK(writing == NULL);
    STATUS(FAILSOFT_FORKED, failsoft_writing_end(inside));
    STATUS(FAILSOFT_FORKED, failsoft_cancel(parents, 1));
    STATUS(FAILSOFT_FORKED, failsoft_health(parents, &text));
    STATUS(FAILSOFT_FORKED, failsoft_router_ready(parents, 1));
    STATUS(FAILSOFT_FORKED, failsoft_router_dispatch(parents));
    CHECK(failsoft_router_fd(parents) == -1);
    STATUS(FAILSOFT_FORKED, failsoft_router_close(parents));
    failsoft_router *own = open_router(address, delivery, NULL);
    read_end end;
    start(own, "k", reply_text, "the child's", &end, NULL);
    finish(own, &end);
    CHECK(has_value(end.outcome, "the parent's"));
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_router_close(own));
}

static bool is_child;

/* What the child still holds of its parent is not a leak. */
static void quit(int status, void *unused) {
    (void)unused;
    _exit(status);
}

/* A child that hangs is killed, which fails the test. Its thread may take no signals. */
static void forks(void) {
    int status = 0;
    double until = seconds_now() + LONG_MS / 1000;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        is_child = true;
        CHECK(on_exit(quit, NULL) == 0);
        return;
    }
    while (waitpid(child, &status, WNOHANG) != child) {
        if (seconds_now() > until)
            kill(child, SIGKILL);
        pause_ms(1);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void loader_forks(failsoft_load *request, void *unused) {
    (void)unused;
    forks();
    failsoft_status wanted = is_child ? FAILSOFT_FORKED : FAILSOFT_OK;
    CHECK(failsoft_load_is_wanted(request) == !is_child);
    STATUS(wanted, failsoft_load_reply(request, (const uint8_t *)"loaded", 6));
    failsoft_load_free(request);
}

static void end_forks(failsoft_status status, failsoft_outcome *outcome, void *end) {
    forks();
    on_end(status, outcome, end);
}

static void never(void *unused) {
    (void)unused;
    CHECK(!is_child);
}

/* On this thread, or on one of the library's, which then ends in the child, and the child with it. */
static void finish_forking(failsoft_router *router, read_end *end) {
    while (failsoft_router_fd(router) >= 0 && !end->ended) {
        failsoft_status status = failsoft_router_dispatch(router);
        if (is_child) {
            STATUS(FAILSOFT_FORKED, status);
            _exit(0);
        }
        STATUS(FAILSOFT_OK, status);
    }
    finish(router, end);
}

static void forks_in_callbacks(failsoft_router *router) {
    read_end end;
    failsoft_outcome *outcome;
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_OK, failsoft_get_options_on_release(options, never));
    failsoft_status status =
        failsoft_resolve(router, (const uint8_t *)"blocking", 8, options, loader_forks, NULL, &outcome);
    if (is_child) {
        STATUS(FAILSOFT_FORKED, status);
        _exit(0);
    }
    failsoft_get_options_free(options);
    CHECK(has_value(outcome, "loaded"));
    failsoft_outcome_free(outcome);
    start(router, "loader", loader_forks, NULL, &end, NULL);
    finish_forking(router, &end);
    CHECK(has_value(end.outcome, "loaded"));
    release(&end);
    memset(&end, 0, sizeof end);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback_async(router, (const uint8_t *)"k", 1, NULL, NULL, end_forks, &end, NULL));
    finish_forking(router, &end);
    CHECK(has_value(end.outcome, "the parent's"));
    release(&end);
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    char address[64];
    int status;
    read_end end;
    kit *kit = kit_start();
    kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    STATUS(FAILSOFT_OK, failsoft_set(router, (const uint8_t *)"k", 1, (const uint8_t *)"the parent's", 12, NULL));
    const uint8_t *written = (const uint8_t *)"written";
    size_t len = 7;
    failsoft_writing *inside;
    STATUS(FAILSOFT_OK, failsoft_writing_begin(router, &written, &len, 1, &inside));
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child(router, inside, address, delivery);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    STATUS(FAILSOFT_OK, failsoft_writing_end(inside));
    start(router, "k", NULL, NULL, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "the parent's"));
    release(&end);
    forks_in_callbacks(router);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    kit_stop(kit);
    printf("fork, %s: ok\n", delivery);
    return 0;
}
