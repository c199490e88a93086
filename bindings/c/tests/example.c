/* The example of `ready`, `set` and `health`, given as the first argument, on a cluster. */
#include "support.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char addresses[512], command[1024], said[16384];
    kit *kit = kit_start();
    kit_cluster(kit, 3, 0, addresses, sizeof addresses);
    snprintf(command, sizeof command, "'%s' '%s'", argv[1], addresses);
    FILE *output = popen(command, "r");
    CHECK(output != NULL);
    size_t got = fread(said, 1, sizeof said - 1, output);
    said[got] = 0;
    CHECK(pclose(output) == 0);
    if (strncmp(said, "Grace\n{", strlen("Grace\n{")) != 0)
        fprintf(stderr, "it says: %s", said);
    CHECK(strncmp(said, "Grace\n{", strlen("Grace\n{")) == 0);
    CHECK(strstr(said, "\"kind\":\"cluster\"") && strstr(said, "\"slots_ok\":16384,") && strstr(said, "\"sets\":1,"));
    kit_stop(kit);
    printf("example: ok\n");
    return 0;
}
