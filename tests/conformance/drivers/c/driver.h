/* What the parts of the driver share. */
#ifndef DRIVER_H
#define DRIVER_H

#include <cjson/cJSON.h>
#include <failsoft.h>
#include <stdbool.h>

/* A router by the name that the runner gave it. It stays until the program ends; its handle until it is closed. */
typedef struct place {
    char *name;
    failsoft_router *router;
    struct held *held;
    struct place *next;
} place;

/* What the loaders of a read are to do, and for whom; NULL for one that there is not. Kept until the program ends: a loader
   may outlive its read. */
typedef struct {
    place *at;
    const cJSON *behaviour, *recompute;
} callback;

/* json.c: lines, and bytes as base64. */
void say(cJSON *line);
cJSON *object_of(const char *name, cJSON *value);
cJSON *blob(const void *bytes, size_t len);
/* The bytes, to be freed. */
uint8_t *unblob(const char *text, size_t *len);
/* Keys, as a call for many takes them. */
typedef struct {
    uint8_t **bytes;
    size_t *lens;
    size_t count;
} blobs;
blobs unblob_all(const cJSON *list);
void free_blobs(blobs all);
void reply_ok(double id, const char *name, cJSON *value);
void reply_error(double id, failsoft_status status, const char *message);
cJSON *failure(failsoft_status status, const char *message);
const char *field_name(const cJSON *object);

/* loads.c: callbacks. */
void run_loader(failsoft_load *request, void *callback);
void run_recompute(failsoft_load *request, void *callback);
void release_held(place *at);

/* history.c: both questions about the invalidations of a key, and under which name the answer goes. */
failsoft_status ask_history(const cJSON *detail, failsoft_router *router, const char **field, cJSON **answer);

void *need(void *memory);

#endif
