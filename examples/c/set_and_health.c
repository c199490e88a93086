/* Waits for the cluster, writes a value, and shows what the router knows.
 *
 *     cc set_and_health.c $(pkg-config --cflags --libs failsoft) -o set_and_health
 *     ./set_and_health 127.0.0.1:7000 */
#include <failsoft.h>
#include <stdio.h>

int main(int argc, char **argv) {
    failsoft_config *config = failsoft_config_new(argc > 1 ? argv[1] : "127.0.0.1:7000");
    failsoft_router *router;
    failsoft_outcome *user;
    uint64_t ttl_ms = 300000;
    char *health;
    if (failsoft_router_open(config, &router) != FAILSOFT_OK)
        return fprintf(stderr, "%s\n", failsoft_last_error()), 1;
    failsoft_config_free(config);
    /* Reads with a loader work without a view as well, and the router goes on trying. */
    if (failsoft_router_ready(router, 5000) != FAILSOFT_OK)
        printf("no view of the cluster yet: %s\n", failsoft_last_error());
    /* After the causes "timeout" and "connection" it is not known whether it was written. */
    if (failsoft_set(router, (const uint8_t *)"user:43", 7, (const uint8_t *)"Grace", 5, &ttl_ms) != FAILSOFT_OK)
        printf("not written: %s\n", failsoft_last_error());
    /* Without a loader the cluster alone is asked. */
    if (failsoft_get_with_fallback(router, (const uint8_t *)"user:43", 7, NULL, NULL, &user) == FAILSOFT_OK) {
        size_t len;
        const char *value = (const char *)failsoft_outcome_value(user, &len);
        printf("%.*s\n", (int)len, value ? value : "");
    } else {
        printf("not read: %s\n", failsoft_last_error());
    }
    failsoft_outcome_free(user);
    /* A JSON object, for the parser of your choice; failsoft.h lists its fields. */
    if (failsoft_health(router, &health) == FAILSOFT_OK) {
        printf("%s\n", health);
        failsoft_string_free(health);
    }
    failsoft_router_close(router);
    return 0;
}
