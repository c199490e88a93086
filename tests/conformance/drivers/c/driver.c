/* The C driver of the conformance suite: does with libfailsoft what the lines on its input say.
 *
 * `driver threads` and `driver fd`: the two deliveries. Reads and invalidations are asynchronous; what only blocks
 * (ready, set, close) has a thread of its own each. */
#include "driver.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROTOCOL = 1, ROUTERS = 4096 };

/* One call of the runner. */
typedef struct call {
    double id;
    uint64_t read_id;
    place *at;
    /* The router at that place when the call came. */
    failsoft_router *router;
    const cJSON *detail;
    bool account;
    struct call *next;
} call;

static const char *delivery;
static place *places;
/* The asynchronous calls, for `cancel`; kept until the program ends. */
static call *calls;

static place *place_of(const char *name) {
    for (place *at = places; at; at = at->next)
        if (strcmp(at->name, name) == 0)
            return at;
    return NULL;
}

static cJSON *text_or_null(const char *text) { return text ? cJSON_CreateString(text) : cJSON_CreateNull(); }

static cJSON *value_of(const failsoft_outcome *outcome) {
    size_t len;
    const uint8_t *value = failsoft_outcome_value(outcome, &len);
    return blob(value, len);
}

static cJSON *account_of(const failsoft_outcome *outcome) {
    cJSON *account = need(cJSON_CreateObject());
    cJSON_AddItemToObject(account, "value", value_of(outcome));
    cJSON_AddStringToObject(account, "served_by", failsoft_outcome_served_by(outcome));
    cJSON_AddItemToObject(account, "reason", text_or_null(failsoft_outcome_reason(outcome)));
    int64_t age = failsoft_outcome_age_ms(outcome);
    cJSON_AddItemToObject(account, "age_ms", need(age == FAILSOFT_AGE_UNKNOWN ? cJSON_CreateNull() : cJSON_CreateNumber((double)age)));
    cJSON_AddNumberToObject(account, "attempts", failsoft_outcome_attempts(outcome));
    cJSON_AddBoolToObject(account, "coalesced", failsoft_outcome_coalesced(outcome));
    cJSON_AddItemToObject(account, "node", text_or_null(failsoft_outcome_node(outcome)));
    return account;
}

static void read_ended(failsoft_status status, failsoft_outcome *outcome, void *data) {
    call *self = data;
    if (status != FAILSOFT_OK)
        reply_error(self->id, status, failsoft_outcome_error_message(outcome));
    else if (self->account)
        reply_ok(self->id, "outcome", account_of(outcome));
    else
        reply_ok(self->id, "value", value_of(outcome));
    failsoft_outcome_free(outcome);
}

static void many_ended(failsoft_status status, failsoft_outcomes *outcomes, void *data) {
    call *self = data;
    cJSON *list = need(cJSON_CreateArray());
    const failsoft_outcome *failed = NULL;
    for (size_t i = 0; i < failsoft_outcomes_count(outcomes); i++) {
        const failsoft_outcome *outcome = failsoft_outcomes_at(outcomes, i);
        failsoft_status each = failsoft_outcome_status(outcome);
        if (each != FAILSOFT_OK && !failed)
            failed = outcome;
        if (!self->account)
            cJSON_AddItemToArray(list, value_of(outcome));
        else if (each == FAILSOFT_OK)
            cJSON_AddItemToArray(list, object_of("ok", object_of("outcome", account_of(outcome))));
        else
            cJSON_AddItemToArray(list, failure(each, failsoft_outcome_error_message(outcome)));
    }
    if (!outcomes || (failed && !self->account)) {
        reply_error(self->id, status, failed ? failsoft_outcome_error_message(failed) : failsoft_last_error());
        cJSON_Delete(list);
    } else {
        reply_ok(self->id, self->account ? "outcomes" : "values", list);
    }
    failsoft_outcomes_free(outcomes);
}

static void call_ended(failsoft_status status, void *data) {
    call *self = data;
    if (status == FAILSOFT_OK)
        reply_ok(self->id, "done", cJSON_CreateObject());
    else
        reply_error(self->id, status, failsoft_last_error());
}

/* A setting as text. */
static char *setting(const cJSON *value) {
    char text[64];
    if (cJSON_IsNumber(value)) {
        snprintf(text, sizeof text, "%.17g", value->valuedouble);
        return need(strdup(text));
    }
    if (!cJSON_IsObject(value)) {
        const char *word = cJSON_IsTrue(value) ? "true" : cJSON_IsFalse(value) ? "false" : value->valuestring;
        return need(strdup(word ? word : ""));
    }
    char *pairs = need(calloc(1, 1));
    const cJSON *pair;
    cJSON_ArrayForEach(pair, value) {
        size_t size = strlen(pairs) + strlen(pair->string) + strlen(pair->valuestring) + 3;
        char *more = need(malloc(size));
        snprintf(more, size, "%s%s%s=%s", pairs, *pairs ? "," : "", pair->string, pair->valuestring);
        free(pairs);
        pairs = more;
    }
    return pairs;
}

static failsoft_status open_place(const char *name, const cJSON *detail) {
    char nodes[4096] = "";
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(detail, "nodes")) {
        if (*nodes)
            strncat(nodes, ",", sizeof nodes - strlen(nodes) - 1);
        strncat(nodes, item->valuestring, sizeof nodes - strlen(nodes) - 1);
    }
    place *at = need(calloc(1, sizeof *at));
    failsoft_config *config = failsoft_config_new(nodes);
    failsoft_status status = failsoft_config_set(config, "delivery", delivery);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(detail, "config")) {
        char *value = setting(item);
        if (status == FAILSOFT_OK)
            status = failsoft_config_set(config, item->string, value);
        free(value);
    }
    if (status == FAILSOFT_OK)
        status = failsoft_router_open(config, &at->router);
    failsoft_config_free(config);
    at->name = need(strdup(name));
    at->next = places;
    places = at;
    return status;
}

/* The callback that a call asks for: NULL if none. */
static callback *callback_of(const call *self) {
    const cJSON *behaviour = cJSON_GetObjectItem(self->detail, "fallback");
    if (!behaviour || cJSON_IsNull(behaviour))
        return NULL;
    callback *made = need(malloc(sizeof *made));
    *made = (callback){self->at, behaviour};
    return made;
}

static void set_option(failsoft_get_options *options, const cJSON *detail, const char *key) {
    const cJSON *given = cJSON_GetObjectItem(detail, key);
    if (given && !cJSON_IsNull(given)) {
        char *value = setting(given);
        failsoft_get_options_set(options, key, value);
        free(value);
    }
}

static failsoft_get_options *options_of(const call *self) {
    failsoft_get_options *options = failsoft_get_options_new();
    set_option(options, self->detail, "ttl_ms");
    set_option(options, self->detail, "deadline_ms");
    set_option(options, self->detail, "staleness_budget_ms");
    return options;
}

static failsoft_status start_read(call *self) {
    callback *loader = callback_of(self);
    failsoft_get_options *options = options_of(self);
    size_t len;
    uint8_t *key = unblob(cJSON_GetObjectItem(self->detail, "key")->valuestring, &len);
    failsoft_status status = failsoft_resolve_async(self->at->router, key, len, options, loader ? run_loader : NULL, loader,
                                                    read_ended, self, &self->read_id);
    failsoft_get_options_free(options);
    free(key);
    return status;
}

static failsoft_status start_many(call *self) {
    failsoft_get_options *options = options_of(self);
    blobs keys = unblob_all(cJSON_GetObjectItem(self->detail, "keys"));
    failsoft_status status =
        failsoft_resolve_many_async(self->at->router, (const uint8_t *const *)keys.bytes, keys.lens, keys.count, options,
                                    run_loader, callback_of(self), many_ended, self, &self->read_id);
    failsoft_get_options_free(options);
    free_blobs(keys);
    return status;
}

static failsoft_status start_invalidation(call *self) {
    blobs keys = unblob_all(cJSON_GetObjectItem(self->detail, "keys"));
    failsoft_status status = failsoft_invalidate_async(self->at->router, (const uint8_t *const *)keys.bytes, keys.lens,
                                                       keys.count, call_ended, self, &self->read_id);
    free_blobs(keys);
    return status;
}

/* Both questions about the invalidations of a key. */
static failsoft_status ask_history(const call *self, failsoft_router *router, const char **field, cJSON **answer) {
    size_t len;
    uint8_t *key = unblob(cJSON_GetObjectItem(self->detail, "key")->valuestring, &len);
    failsoft_status status;
    if (strcmp(self->detail->string, "last_invalidation") == 0) {
        failsoft_invalidation *found;
        status = failsoft_last_invalidation(router, key, len, &found);
        *field = "last";
        *answer = last_of(found);
        failsoft_invalidation_free(found);
    } else {
        bool said;
        uint64_t max_age_ms = (uint64_t)cJSON_GetObjectItem(self->detail, "max_age_ms")->valuedouble;
        status = failsoft_within_staleness_budget(router, key, len, max_age_ms, &said);
        *field = "said";
        *answer = need(cJSON_CreateBool(said));
    }
    free(key);
    return status;
}

/* What only blocks. */
static void *block(void *data) {
    call *self = data;
    failsoft_router *router = self->router;
    const char *name = self->detail->string;
    failsoft_status status;
    if (strcmp(name, "ready") == 0) {
        status = failsoft_router_ready(router, (uint64_t)cJSON_GetObjectItem(self->detail, "timeout_ms")->valuedouble);
    } else if (strcmp(name, "set") == 0) {
        const cJSON *ttl = cJSON_GetObjectItem(self->detail, "ttl_ms");
        size_t key_len, len;
        uint8_t *key = unblob(cJSON_GetObjectItem(self->detail, "key")->valuestring, &key_len);
        uint8_t *value = unblob(cJSON_GetObjectItem(self->detail, "value")->valuestring, &len);
        uint64_t ttl_ms = cJSON_IsNumber(ttl) ? (uint64_t)ttl->valuedouble : 0;
        status = failsoft_set(router, key, key_len, value, len, cJSON_IsNumber(ttl) ? &ttl_ms : NULL);
        free(key);
        free(value);
    } else if (strcmp(name, "close") == 0) {
        status = failsoft_router_close(router);
    } else {
        const char *field;
        cJSON *answer;
        status = ask_history(self, router, &field, &answer);
        if (status == FAILSOFT_OK) {
            reply_ok(self->id, field, answer);
            return NULL;
        }
        cJSON_Delete(answer);
    }
    call_ended(status, self);
    return NULL;
}

static void cancel(double id) {
    for (call *known = calls; known; known = known->next)
        if (known->id == id && known->at->router)
            failsoft_cancel(known->at->router, known->read_id);
}

static void carry_out(const cJSON *request) {
    const cJSON *op = cJSON_GetObjectItem(request, "op"), *detail = op->child;
    const char *name = field_name(op), *router = cJSON_GetObjectItem(request, "router")->valuestring;
    call *self = need(calloc(1, sizeof *self));
    self->id = cJSON_GetObjectItem(request, "id")->valuedouble;
    self->detail = detail;
    self->at = place_of(router);
    self->account = strncmp(name, "resolve", 7) == 0;
    failsoft_status status = FAILSOFT_OK;
    if (strcmp(name, "open") == 0) {
        status = open_place(router, detail);
    } else if (strcmp(name, "cancel") == 0) {
        cancel(cJSON_GetObjectItem(detail, "call")->valuedouble);
    } else if (self->at && !self->at->router && strcmp(name, "close") == 0) {
        /* The runner closes at its end whatever it opened: there is nothing left to close. */
        reply_ok(self->id, "done", cJSON_CreateObject());
        return;
    } else if (!self->at || !self->at->router) {
        reply_error(self->id, FAILSOFT_INTERNAL, "the runner names a router that is not open");
        return;
    } else if (strcmp(name, "release") == 0) {
        release_held(self->at);
    } else if (strcmp(name, "health") == 0) {
        char *text = NULL;
        status = failsoft_health(self->at->router, &text);
        if (status == FAILSOFT_OK) {
            reply_ok(self->id, "health", need(cJSON_Parse(text)));
            failsoft_string_free(text);
            return;
        }
    } else if (strcmp(name, "ready") == 0 || strcmp(name, "set") == 0 || strcmp(name, "close") == 0 ||
               strcmp(name, "last_invalidation") == 0 || strcmp(name, "within_staleness_budget") == 0) {
        pthread_t thread;
        self->router = self->at->router;
        if (strcmp(name, "close") == 0)
            self->at->router = NULL;
        if (pthread_create(&thread, NULL, block, self) != 0)
            abort();
        pthread_detach(thread);
        return;
    } else {
        self->next = calls;
        calls = self;
        if (strcmp(name, "invalidate") == 0)
            status = start_invalidation(self);
        else
            status = strstr(name, "_many") ? start_many(self) : start_read(self);
        if (status == FAILSOFT_OK)
            return;
    }
    call_ended(status, self);
}

/* Carries out the whole lines of what has come; false at the end of the input. */
static bool hear(void) {
    static char *buffer;
    static size_t used, size;
    if (size - used < 65536)
        buffer = need(realloc(buffer, size = size * 2 + 65536));
    ssize_t got = read(0, buffer + used, size - used - 1);
    if (got <= 0)
        return false;
    used += (size_t)got;
    buffer[used] = 0;
    char *line = buffer;
    for (char *end; (end = memchr(line, '\n', used - (size_t)(line - buffer))) != NULL; line = end + 1) {
        *end = 0;
        /* Kept: what a callback is to do stands in it. */
        carry_out(need(cJSON_Parse(line)));
    }
    used -= (size_t)(line - buffer);
    memmove(buffer, line, used);
    return true;
}

static void run(void) {
    static struct pollfd watched[ROUTERS + 1];
    static place *watching[ROUTERS + 1];
    for (;;) {
        nfds_t count = 1;
        watched[0] = (struct pollfd){0, POLLIN, 0};
        if (strcmp(delivery, "fd") == 0)
            for (place *at = places; at && count <= ROUTERS; at = at->next)
                if (at->router) {
                    watching[count] = at;
                    watched[count++] = (struct pollfd){failsoft_router_fd(at->router), POLLIN, 0};
                }
        if (poll(watched, count, -1) < 0)
            continue;
        for (nfds_t i = 1; i < count; i++)
            if (watched[i].revents && watching[i]->router)
                failsoft_router_dispatch(watching[i]->router);
        if (watched[0].revents && !hear())
            return;
    }
}

int main(int argc, char **argv) {
    delivery = argc == 2 ? argv[1] : "";
    bool fd = strcmp(delivery, "fd") == 0;
    if (!fd && strcmp(delivery, "threads") != 0) {
        fputs("usage: driver threads|fd\n", stderr);
        return 2;
    }
    cJSON *hello = need(cJSON_CreateObject()), *cannot = need(cJSON_CreateObject());
    cJSON_AddStringToObject(cannot, "stop", "a function in C cannot be stopped");
    cJSON_AddStringToObject(cannot, "inside", "what answers a load from another thread is not inside of it");
    cJSON_AddStringToObject(cannot, "panic", "a function in C has nothing to throw");
    cJSON_AddStringToObject(cannot, "wrong_type", "the compiler takes nothing but a value");
    cJSON_AddStringToObject(cannot, "closed", "failsoft_router_close frees the handle: there is nothing left to call");
    cJSON_AddStringToObject(hello, "binding", fd ? "c-fd" : "c");
    cJSON_AddNumberToObject(hello, "protocol", PROTOCOL);
    cJSON_AddItemToObject(hello, "cannot", cannot);
    say(object_of("hello", hello));
    run();
    /* Callbacks may still be running: nothing is torn down under them. */
    _exit(0);
}
