/* What the driver asks about the invalidations of a key. */
#include "driver.h"
#include <stdlib.h>
#include <string.h>

static cJSON *time_of(int64_t ms) {
    return need(ms == FAILSOFT_TIME_UNKNOWN ? cJSON_CreateNull() : cJSON_CreateNumber((double)ms));
}

/* An invalidation as the protocol has it; null for none. */
static cJSON *last_of(const failsoft_invalidation *found) {
    if (!found)
        return need(cJSON_CreateNull());
    cJSON *last = need(cJSON_CreateObject());
    const char *id = failsoft_invalidation_id(found);
    cJSON_AddItemToObject(last, "age_ms", time_of(failsoft_invalidation_age_ms(found)));
    cJSON_AddItemToObject(last, "at_ms", time_of(failsoft_invalidation_at_ms(found)));
    cJSON_AddItemToObject(last, "id", need(id ? cJSON_CreateString(id) : cJSON_CreateNull()));
    cJSON_AddBoolToObject(last, "own", failsoft_invalidation_own(found));
    cJSON_AddStringToObject(last, "record", failsoft_invalidation_record(found));
    return last;
}

/* Both questions about the invalidations of a key. */
failsoft_status ask_history(const cJSON *detail, failsoft_router *router, const char **field, cJSON **answer) {
    size_t len;
    uint8_t *key = unblob(cJSON_GetObjectItem(detail, "key")->valuestring, &len);
    failsoft_status status;
    if (strcmp(detail->string, "last_invalidation") == 0) {
        failsoft_invalidation *found;
        status = failsoft_last_invalidation(router, key, len, &found);
        *field = "last";
        *answer = last_of(found);
        failsoft_invalidation_free(found);
    } else {
        bool said;
        uint64_t max_age_ms = (uint64_t)cJSON_GetObjectItem(detail, "max_age_ms")->valuedouble;
        status = failsoft_within_staleness_budget(router, key, len, max_age_ms, &said);
        *field = "said";
        *answer = need(cJSON_CreateBool(said));
    }
    free(key);
    return status;
}
