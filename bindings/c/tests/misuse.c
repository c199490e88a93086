/* Misuse gives a status, never a crash. */
#include "support.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

/* Every function with NULL for each argument that can be NULL. */
static void nulls(void) {
    failsoft_status bad = FAILSOFT_INVALID_ARGUMENT;
    failsoft_router *router;
    failsoft_outcome *outcome;
    size_t len = 7;
    char *text;
    CHECK(failsoft_config_new(NULL) == NULL);
    CHECK(strstr(failsoft_last_error(), "nodes"));
    STATUS(bad, failsoft_config_set(NULL, "fill", "true"));
    STATUS(bad, failsoft_router_open(NULL, &router));
    CHECK(router == NULL);
    STATUS(bad, failsoft_router_close(NULL));
    STATUS(bad, failsoft_router_ready(NULL, 1));
    STATUS(bad, failsoft_router_dispatch(NULL));
    CHECK(failsoft_router_fd(NULL) == -1);
    STATUS(bad, failsoft_get_with_fallback(NULL, bytes("k"), 1, NULL, NULL, &outcome));
    CHECK(outcome == NULL);
    STATUS(bad, failsoft_get_with_fallback_async(NULL, bytes("k"), 1, NULL, NULL, on_end, NULL, NULL));
    STATUS(bad, failsoft_get_many_with_fallback(NULL, NULL, NULL, 0, reply_text, NULL, NULL));
    STATUS(bad, failsoft_set(NULL, bytes("k"), 1, bytes("v"), 1, NULL));
    STATUS(bad, failsoft_invalidate(NULL, NULL, NULL, 0));
    STATUS(bad, failsoft_invalidate_async(NULL, NULL, NULL, 0, on_done, NULL, NULL));
    STATUS(bad, failsoft_invalidate_and_hold(NULL, NULL, NULL, 0, 1));
    STATUS(bad, failsoft_last_invalidation(NULL, NULL, 0, NULL));
    STATUS(bad, failsoft_within_staleness_budget(NULL, NULL, 0, 1, NULL));
    failsoft_writing *writing;
    STATUS(bad, failsoft_writing_begin(NULL, NULL, NULL, 0, &writing));
    CHECK(writing == NULL);
    STATUS(bad, failsoft_writing_end(NULL));
    STATUS(bad, failsoft_cancel(NULL, 1));
    STATUS(bad, failsoft_health(NULL, &text));
    CHECK(text == NULL);
    STATUS(bad, failsoft_get_options_set(NULL, "ttl_ms", "1"));
    STATUS(bad, failsoft_load_reply(NULL, bytes("v"), 1));
    STATUS(bad, failsoft_load_missing(NULL));
    STATUS(bad, failsoft_load_fail(NULL, 1, "x"));
    STATUS(bad, failsoft_load_reply_at(NULL, 0, bytes("v"), 1));
    STATUS(bad, failsoft_load_done(NULL));
    CHECK(failsoft_load_key(NULL, &len) == NULL && len == 0);
    CHECK(failsoft_load_key_at(NULL, 0, NULL) == NULL);
    CHECK(failsoft_load_count(NULL) == 0 && failsoft_load_reason(NULL) == NULL);
    CHECK(failsoft_outcome_value(NULL, &len) == NULL && len == 0);
    CHECK(!failsoft_outcome_found(NULL) && !failsoft_outcome_coalesced(NULL));
    CHECK(failsoft_outcome_served_by(NULL) == NULL && failsoft_outcome_reason(NULL) == NULL);
    CHECK(failsoft_outcome_node(NULL) == NULL && failsoft_outcome_error_message(NULL) == NULL);
    CHECK(failsoft_outcome_age_ms(NULL) == 0 && failsoft_outcome_attempts(NULL) == 0);
    CHECK(failsoft_outcome_error_code(NULL) == 0 && failsoft_outcome_status(NULL) == bad);
    CHECK(failsoft_outcomes_count(NULL) == 0 && failsoft_outcomes_at(NULL, 0) == NULL);
    failsoft_config_free(NULL);
    failsoft_get_options_free(NULL);
    failsoft_load_free(NULL);
    failsoft_outcome_free(NULL);
    failsoft_outcomes_free(NULL);
    failsoft_string_free(NULL);
}

static void settings(void) {
    failsoft_config *config = failsoft_config_new("127.0.0.1:1");
    failsoft_router *router;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_config_set(config, NULL, "1"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_config_set(config, "fill", NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_config_set(config, "client_name", "\xff"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "max_retrys", "3"));
    CHECK(strstr(failsoft_last_error(), "max_retries") && strstr(failsoft_last_error(), "delivery"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "deadline", "3"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "deadline_ms", "-3"));
    CHECK(strstr(failsoft_last_error(), "1 ms to 1 h"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "deadline_ms", "off"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "failure_pause_ms", "off"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "address_map", "off"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "password", "off"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "delivery", "signals"));
    CHECK(strstr(failsoft_last_error(), "threads or fd"));
    STATUS(FAILSOFT_CONFIG, failsoft_config_set(config, "tls", "on"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls_server_name", "example.org"));
    STATUS(FAILSOFT_CONFIG, failsoft_router_open(config, &router));
    CHECK(strstr(failsoft_last_error(), "tls_server_name") && router == NULL);
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls", "true"));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls_client_cert_pem", "x"));
    STATUS(FAILSOFT_CONFIG, failsoft_router_open(config, &router));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls_client_key_pem", "x"));
    STATUS(FAILSOFT_CONFIG, failsoft_router_open(config, &router));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls_client_cert_pem", ""));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "tls_client_key_pem", ""));
    STATUS(FAILSOFT_OK, failsoft_config_set(config, "client_name", ""));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_router_open(config, NULL));
    /* What was refused left nothing behind. */
    STATUS(FAILSOFT_OK, failsoft_router_open(config, &router));
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    failsoft_config_free(config);
    config = failsoft_config_new("127.0.0.1:7000, nowhere:");
    STATUS(FAILSOFT_CONFIG, failsoft_router_open(config, &router));
    CHECK(strstr(failsoft_last_error(), "nowhere"));
    failsoft_config_free(config);
    CHECK(strcmp(failsoft_version(), FAILSOFT_VERSION) == 0);
    CHECK(strcmp(failsoft_status_name(FAILSOFT_FORKED), "FORKED") == 0);
    CHECK(strcmp(failsoft_status_name(-1), "UNKNOWN") == 0);
}

static void options(failsoft_router *router) {
    failsoft_get_options *options = failsoft_get_options_new();
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_options_set(options, "ttl", "1"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_options_set(options, "ttl_ms", "soon"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_options_set(options, "deadline_ms", "-1"));
    CHECK(strstr(failsoft_last_error(), "`deadline_ms`: \"-1\" is not allowed; allowed: a number of milliseconds, from 0"));
    STATUS(FAILSOFT_OK, failsoft_get_options_set(options, "ttl_ms", "0.1"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_resolve(router, bytes("k"), 1, options, NULL, NULL, NULL));
    CHECK(strncmp(failsoft_last_error(), "`ttl_ms`: 100µs is out of range", 30) == 0);
    CHECK(strcmp((const char *)failsoft_last_error_detail(NULL), "ttl_ms") == 0);
    STATUS(FAILSOFT_OK, failsoft_get_options_set(options, "ttl_ms", ""));
    failsoft_get_options_free(options);
}

/* Answers twice, in every way. */
static void answers_twice(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_load_reply(request, NULL, 3));
    STATUS(FAILSOFT_OK, failsoft_load_reply(request, bytes("first"), 5));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_reply(request, bytes("second"), 6));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_missing(request));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_fail(request, 1, NULL));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_reply_at(request, 0, bytes("x"), 1));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_done(request));
    failsoft_load_free(request);
}

static void no_answer(failsoft_load *request, void *unused) {
    (void)unused;
    failsoft_load_free(request);
}

static failsoft_load *kept;

static void keeps(failsoft_load *request, void *unused) {
    (void)unused;
    lock_state();
    kept = request;
    unlock_state();
}

static bool is_kept(void *unused) {
    (void)unused;
    return kept != NULL;
}

static void closes(failsoft_load *request, void *router) {
    STATUS(FAILSOFT_MISUSE, failsoft_router_close(router));
    CHECK(strstr(failsoft_last_error(), "inside"));
    reply_text(request, "still open");
}

static void closes_at_end(failsoft_status status, failsoft_outcome *outcome, void *data) {
    void **both = data;
    STATUS(FAILSOFT_MISUSE, failsoft_router_close(both[1]));
    on_end(status, outcome, both[0]);
}

static void with_delivery(kit *kit, const char *delivery) {
    char address[64];
    read_end end;
    kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    options(router);
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_with_fallback_async(router, bytes("k"), 1, NULL, NULL, NULL, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_with_fallback(router, NULL, 5, NULL, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_with_fallback(router, bytes("k"), SIZE_MAX, NULL, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_health(router, NULL));
    uint64_t nothing = 0;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_set(router, bytes("k"), 1, bytes("v"), 1, &nothing));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_cancel(router, 0));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_cancel(router, 123456789));
    const uint8_t *key = bytes("k");
    size_t len = 1;
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_many_with_fallback(router, &key, &len, 1, NULL, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_many_with_fallback(router, &key, NULL, 1, reply_text, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_get_many_with_fallback(router, &key, &len, 1000000, reply_text, NULL, NULL));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate(router, &key, &len, 1000001));
    CHECK(detail_is("argument", "count") && strstr(failsoft_last_error(), "at most 1000000"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate(router, NULL, &len, 1));
    CHECK(detail_is("argument", "keys"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate(router, &key, NULL, 1));
    CHECK(detail_is("argument", "lens"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_writing_begin(router, &key, &len, 1, NULL));
    CHECK(detail_is("argument", "out"));
    STATUS(FAILSOFT_INVALID_ARGUMENT, failsoft_invalidate_async(router, &key, &len, 1, NULL, NULL, NULL));
    CHECK(detail_is("argument", "on_done"));
    if (strcmp(delivery, "threads") == 0) {
        CHECK(failsoft_router_fd(router) == -1);
        STATUS(FAILSOFT_MISUSE, failsoft_router_dispatch(router));
    }

    start(router, "twice", answers_twice, NULL, &end, NULL);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_OK && has_value(end.outcome, "first"));
    release(&end);

    start(router, "no answer", no_answer, NULL, &end, NULL);
    finish(router, &end);
    CHECK(end.status == FAILSOFT_FALLBACK && failsoft_outcome_error_code(end.outcome) == 0);
    CHECK(strstr(failsoft_outcome_error_message(end.outcome), "without an answer"));
    release(&end);

    start(router, "closes", closes, router, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "still open"));
    release(&end);
    void *both[2] = {&end, router};
    memset(&end, 0, sizeof end);
    STATUS(FAILSOFT_OK, failsoft_get_with_fallback_async(router, bytes("k"), 1, NULL, NULL, closes_at_end, both, NULL));
    finish(router, &end);
    release(&end);

    /* A load and an outcome stay valid when their router is closed. */
    start(router, "kept", keeps, NULL, &end, NULL);
    wait_for(router, is_kept, NULL);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    CHECK(end.times == 1 && end.status == FAILSOFT_CLOSED);
    CHECK(strcmp(failsoft_load_reason(kept), "absent") == 0);
    STATUS(FAILSOFT_OK, failsoft_load_reply(kept, bytes("late"), 4));
    STATUS(FAILSOFT_ALREADY_ANSWERED, failsoft_load_missing(kept));
    failsoft_load_free(kept);
    kept = NULL;
    release(&end);
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    nulls();
    settings();
    kit *kit = kit_start();
    with_delivery(kit, delivery);
    kit_stop(kit);
    printf("misuse, %s: ok\n", delivery);
    return 0;
}
