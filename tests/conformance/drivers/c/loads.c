/* Callbacks: they say that they began, and do what the runner told them. */
#include "driver.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A load that waits: for a release, or for some time. */
typedef struct held {
    failsoft_load *request;
    const callback *self;
    const cJSON *then;
    struct held *next;
} held;

static pthread_mutex_t holding = PTHREAD_MUTEX_INITIALIZER;

static void act(failsoft_load *request, const callback *self, const cJSON *behaviour);

static bool is_many(const failsoft_load *request) { return failsoft_load_reason(request) == NULL; }

/* Gives each key what `value` makes of it; NULL of it is none. */
static void answer(failsoft_load *request, uint8_t *(*value)(const cJSON *, const uint8_t *, size_t, size_t *),
                   const cJSON *detail) {
    for (size_t i = 0; i < failsoft_load_count(request); i++) {
        size_t key_len, len;
        const uint8_t *key = failsoft_load_key_at(request, i, &key_len);
        uint8_t *bytes = value(detail, key, key_len, &len);
        if (is_many(request)) {
            if (bytes)
                failsoft_load_reply_at(request, i, bytes, len);
        } else if (bytes) {
            failsoft_load_reply(request, bytes, len);
        } else {
            failsoft_load_missing(request);
        }
        free(bytes);
    }
    if (is_many(request))
        failsoft_load_done(request);
    failsoft_load_free(request);
}

static uint8_t *given(const cJSON *detail, const uint8_t *key, size_t key_len, size_t *len) {
    (void)key, (void)key_len;
    return unblob(detail->valuestring, len);
}

static uint8_t *echoed(const cJSON *detail, const uint8_t *key, size_t key_len, size_t *len) {
    static const char start[] = "loaded:";
    (void)detail;
    *len = sizeof start - 1 + key_len;
    uint8_t *value = need(malloc(*len));
    memcpy(value, start, sizeof start - 1);
    memcpy(value + sizeof start - 1, key, key_len);
    return value;
}

static uint8_t *none(const cJSON *detail, const uint8_t *key, size_t key_len, size_t *len) {
    (void)detail, (void)key, (void)key_len, (void)len;
    return NULL;
}

static uint8_t *mapped(const cJSON *detail, const uint8_t *key, size_t key_len, size_t *len) {
    const cJSON *pair;
    cJSON_ArrayForEach(pair, detail) {
        size_t known_len;
        uint8_t *known = unblob(pair->child->valuestring, &known_len);
        bool same = known_len == key_len && memcmp(known, key, key_len) == 0;
        free(known);
        if (same)
            return unblob(pair->child->next->valuestring, len);
    }
    return NULL;
}

static held *hold(failsoft_load *request, const callback *self, const cJSON *then) {
    held *made = need(malloc(sizeof *made));
    *made = (held){request, self, then, NULL};
    return made;
}

static void *after_a_while(void *data) {
    held *slow = data;
    double ms = cJSON_GetObjectItem(slow->then, "ms")->valuedouble;
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000};
    nanosleep(&pause, NULL);
    act(slow->request, slow->self, cJSON_GetObjectItem(slow->then, "then"));
    free(slow);
    return NULL;
}

/* Fails with the error of a call that the loader made. */
static void fail_with_last(failsoft_load *request, failsoft_status status) {
    char text[512];
    snprintf(text, sizeof text, "%s: %s", failsoft_status_name((int)status), failsoft_last_error());
    failsoft_load_fail(request, 0, text);
}

/* Reads another key with the same router, inside the load. */
static void ask(failsoft_load *request, const callback *self, const cJSON *detail) {
    callback inner = {self->at, cJSON_GetObjectItem(detail, "fallback"), NULL};
    size_t len;
    uint8_t *key = unblob(cJSON_GetObjectItem(detail, "key")->valuestring, &len);
    failsoft_outcome *outcome = NULL;
    failsoft_status status = failsoft_get_with_fallback(self->at->router, key, len, run_loader, &inner, &outcome);
    if (status == FAILSOFT_OK) {
        const uint8_t *value = failsoft_outcome_value(outcome, &len);
        if (value)
            failsoft_load_reply(request, value, len);
        else
            failsoft_load_missing(request);
    } else if (status == FAILSOFT_FALLBACK) {
        failsoft_load_fail(request, failsoft_outcome_error_code(outcome), failsoft_outcome_error_message(outcome));
    } else {
        fail_with_last(request, status);
    }
    failsoft_outcome_free(outcome);
    failsoft_load_free(request);
    free(key);
}

/* Invalidates keys with the same router, inside the load, and goes on. */
static void invalidate(failsoft_load *request, const callback *self, const cJSON *detail) {
    blobs keys = unblob_all(cJSON_GetObjectItem(detail, "keys"));
    failsoft_status status =
        failsoft_invalidate(self->at->router, (const uint8_t *const *)keys.bytes, keys.lens, keys.count);
    free_blobs(keys);
    if (status == FAILSOFT_OK) {
        act(request, self, cJSON_GetObjectItem(detail, "then"));
    } else {
        fail_with_last(request, status);
        failsoft_load_free(request);
    }
}

static void act(failsoft_load *request, const callback *self, const cJSON *behaviour) {
    const char *name = field_name(behaviour);
    const cJSON *detail = behaviour->child;
    if (strcmp(name, "value") == 0) {
        answer(request, given, detail);
    } else if (strcmp(name, "echo") == 0) {
        answer(request, echoed, detail);
    } else if (strcmp(name, "missing") == 0) {
        answer(request, none, detail);
    } else if (strcmp(name, "mapping") == 0) {
        answer(request, mapped, detail);
    } else if (strcmp(name, "error") == 0) {
        failsoft_load_fail(request, 1, detail->valuestring);
        failsoft_load_free(request);
    } else if (strcmp(name, "hold") == 0) {
        held *waiting = hold(request, self, detail);
        pthread_mutex_lock(&holding);
        waiting->next = self->at->held;
        self->at->held = waiting;
        pthread_mutex_unlock(&holding);
    } else if (strcmp(name, "slow") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, after_a_while, hold(request, self, detail)) != 0)
            abort();
        pthread_detach(thread);
    } else if (strcmp(name, "ask") == 0) {
        ask(request, self, detail);
    } else if (strcmp(name, "invalidate") == 0) {
        invalidate(request, self, detail);
    } else if (strcmp(name, "never") != 0) {
        failsoft_load_fail(request, 2, "an unknown behaviour");
        failsoft_load_free(request);
    }
}

static void started(const failsoft_load *request, const place *at) {
    cJSON *told = need(cJSON_CreateObject()), *keys = need(cJSON_CreateArray());
    for (size_t i = 0; i < failsoft_load_count(request); i++) {
        size_t len;
        const uint8_t *key = failsoft_load_key_at(request, i, &len);
        cJSON_AddItemToArray(keys, blob(key, len));
    }
    const char *reason = failsoft_load_reason(request);
    cJSON_AddStringToObject(told, "router", at->name);
    cJSON_AddItemToObject(told, "keys", keys);
    cJSON_AddItemToObject(told, "reason", reason ? cJSON_CreateString(reason) : cJSON_CreateNull());
    say(object_of("started", told));
}

void run_loader(failsoft_load *request, void *data) {
    const callback *self = data;
    started(request, self->at);
    act(request, self, self->behaviour);
}

void run_recompute(failsoft_load *request, void *data) {
    const callback *self = data;
    started(request, self->at);
    act(request, self, self->recompute);
}

void release_held(place *at) {
    pthread_mutex_lock(&holding);
    held *released = at->held;
    at->held = NULL;
    pthread_mutex_unlock(&holding);
    while (released) {
        held *now = released;
        released = now->next;
        act(now->request, now->self, now->then);
        free(now);
    }
}
