/* Lines of JSON, and bytes as base64. */
#include "driver.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void *need(void *memory) {
    if (!memory)
        abort();
    return memory;
}

void say(cJSON *line) {
    static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
    char *text = need(cJSON_PrintUnformatted(line));
    pthread_mutex_lock(&writing);
    puts(text);
    fflush(stdout);
    pthread_mutex_unlock(&writing);
    cJSON_free(text);
    cJSON_Delete(line);
}

cJSON *object_of(const char *name, cJSON *value) {
    cJSON *object = need(cJSON_CreateObject());
    cJSON_AddItemToObject(object, name, value);
    return object;
}

cJSON *blob(const void *data, size_t len) {
    const uint8_t *bytes = data;
    if (!bytes)
        return cJSON_CreateNull();
    char *text = need(malloc(len / 3 * 4 + 5)), *at = text;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        *at++ = digits[three >> 18];
        *at++ = digits[three >> 12 & 63];
        *at++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[three & 63] : '=';
    }
    *at = 0;
    cJSON *made = need(cJSON_CreateString(text));
    free(text);
    return made;
}

uint8_t *unblob(const char *text, size_t *len) {
    uint8_t *bytes = need(malloc(strlen(text) + 1));
    uint32_t bits = 0;
    int have = 0;
    *len = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *text) - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes[(*len)++] = (uint8_t)(bits >> have);
        }
    }
    return bytes;
}

blobs unblob_all(const cJSON *list) {
    size_t count = (size_t)cJSON_GetArraySize(list);
    blobs all = {need(calloc(count + 1, sizeof *all.bytes)), need(calloc(count + 1, sizeof *all.lens)), 0};
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        all.bytes[all.count] = unblob(item->valuestring, &all.lens[all.count]);
        all.count++;
    }
    return all;
}

void free_blobs(blobs all) {
    for (size_t i = 0; i < all.count; i++)
        free(all.bytes[i]);
    free(all.bytes);
    free(all.lens);
}

const char *field_name(const cJSON *object) { return ((const cJSON *)need(object->child))->string; }

cJSON *failure(failsoft_status status, const char *message) {
    cJSON *error = need(cJSON_CreateObject());
    cJSON_AddStringToObject(error, "code", failsoft_status_name((int)status));
    cJSON_AddStringToObject(error, "message", message ? message : "");
    return object_of("error", error);
}

static void reply(double id, cJSON *result) {
    cJSON *line = need(cJSON_CreateObject());
    cJSON_AddNumberToObject(line, "id", id);
    cJSON_AddItemToObject(line, "result", result);
    say(object_of("reply", line));
}

void reply_ok(double id, const char *name, cJSON *value) { reply(id, object_of("ok", object_of(name, value))); }

void reply_error(double id, failsoft_status status, const char *message) { reply(id, failure(status, message)); }
