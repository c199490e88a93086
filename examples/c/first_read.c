/* The first read: from the cluster if it has the key, else from your own store.
 *
 *     cc first_read.c $(pkg-config --cflags --libs failsoft) -o first_read
 *     ./first_read 127.0.0.1:7000 */
#include <failsoft.h>
#include <stdio.h>

/* Your own store: what the cache is in front of. */
static void load_user(failsoft_load *request, void *user_data) {
    (void)user_data;
    failsoft_load_reply(request, (const uint8_t *)"Ada", 3);
    failsoft_load_free(request);
}

int main(int argc, char **argv) {
    failsoft_config *config = failsoft_config_new(argc > 1 ? argv[1] : "127.0.0.1:7000");
    failsoft_router *router;
    failsoft_outcome *user;
    if (failsoft_router_open(config, &router) != FAILSOFT_OK)
        return fprintf(stderr, "%s\n", failsoft_last_error()), 1;
    failsoft_config_free(config);
    if (failsoft_get_with_fallback(router, (const uint8_t *)"user:42", 7, load_user, NULL, &user) == FAILSOFT_OK) {
        size_t len;
        const char *value = (const char *)failsoft_outcome_value(user, &len);
        printf("%.*s %s\n", (int)len, value ? value : "", failsoft_outcome_served_by(user));
    }
    failsoft_outcome_free(user);
    failsoft_router_close(router);
    return 0;
}
