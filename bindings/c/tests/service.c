/* The example service, given as the first argument, under load while its cluster is killed: no request fails. */
#include "support.h"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 8 };

static long primary, replica, secondary;

static FILE *connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int made = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(made, (struct sockaddr *)&address, sizeof address) == 0);
    return fdopen(made, "r+");
}

/* Each client asks one question, all at once, and gets its answer. */
static void round_of(FILE **clients, int *at) {
    for (int i = 0; i < CLIENTS; i++) {
        at[i] = (at[i] + 7) % 1000;
        fprintf(clients[i], "%d\n", at[i]);
        fflush(clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        char line[256], wanted[64];
        CHECK(fgets(line, sizeof line, clients[i]) != NULL);
        fseek(clients[i], 0, SEEK_CUR);
        snprintf(wanted, sizeof wanted, "user %d ", at[i]);
        if (strncmp(line, wanted, strlen(wanted)) != 0)
            fprintf(stderr, "asked for %d: %s", at[i], line);
        CHECK(strncmp(line, wanted, strlen(wanted)) == 0);
        primary += strstr(line, "primary") != NULL;
        replica += strstr(line, "replica") != NULL;
        secondary += strstr(line, "secondary") != NULL;
    }
}

static void until(FILE **clients, int *at, long *count, long more) {
    double limit = seconds_now() + LONG_MS / 1000;
    for (more += *count; *count < more; CHECK(seconds_now() < limit))
        round_of(clients, at);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    char addresses[512], line[64];
    int output[2], at[CLIENTS], status;
    FILE *clients[CLIENTS];
    kit *kit = kit_start();
    kit_cluster(kit, 3, 1, addresses, sizeof addresses);
    CHECK(pipe(output) == 0);
    pid_t service = fork();
    if (service == 0) {
        dup2(output[1], 1);
        execl(argv[1], argv[1], addresses, argv[2], "0", (char *)NULL);
        _exit(127);
    }
    FILE *said = fdopen(output[0], "r");
    CHECK(fgets(line, sizeof line, said) != NULL);
    int port = atoi(line + strlen("listening on "));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = connect_to(port);
        at[i] = i * 100;
    }
    /* A user who does not exist is an answer, too. */
    fprintf(clients[0], "5000\n");
    fflush(clients[0]);
    CHECK(fgets(line, sizeof line, clients[0]) && strcmp(line, "- none\n") == 0);
    fseek(clients[0], 0, SEEK_CUR);
    until(clients, at, &primary, 500);
    kit_ask(kit, "\"do\": \"kill\", \"node\": 0");
    until(clients, at, &replica, 10);
    kit_ask(kit, "\"do\": \"kill_all\"");
    until(clients, at, &secondary, 500);
    CHECK(kill(service, SIGTERM) == 0 && waitpid(service, &status, 0) == service);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < CLIENTS; i++)
        fclose(clients[i]);
    fclose(said);
    close(output[1]);
    kit_stop(kit);
    printf("service: ok, %ld from primaries, %ld from replicas, %ld from the database, 0 failed\n", primary, replica,
           secondary);
    return 0;
}
