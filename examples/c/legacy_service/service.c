/* A service of the old kind: one poll loop, no threads of its own, SQLite behind a cache. It answers as long as its
 * database does.
 *
 *     cc service.c $(pkg-config --cflags --libs failsoft sqlite3) -o service
 *     ./service 127.0.0.1:7000 users.sqlite3 8080
 *
 * The nodes, the database, which is made if there is none, and a port (0: any that is free). A client sends the number of a user and a newline, and gets a line with the user's name ("-" if there is none) and
 * who served it. */
#include <arpa/inet.h>
#include <failsoft.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64, LINE = 64, USERS = 1000 };

/* One connection. It asks again when it has its answer, so one read is under way for it at most. */
typedef struct {
    int socket;
    bool reading, closed;
    size_t used;
    char line[LINE];
} client;

static failsoft_router *router;
static sqlite3 *database;
static sqlite3_stmt *select_user;
static volatile sig_atomic_t stopping;

static void stop(int signal) {
    (void)signal;
    stopping = 1;
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* Makes a table of users, once. */
static void open_database(const char *path) {
    char *insert = sqlite3_mprintf(
        "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
        "INSERT OR IGNORE INTO users SELECT i, 'user ' || i FROM n;",
        USERS - 1);
    if (sqlite3_open(path, &database) || sqlite3_exec(database, insert, NULL, NULL, NULL) ||
        sqlite3_prepare_v2(database, "SELECT name FROM users WHERE id = ?", -1, &select_user, NULL))
        die("the database", sqlite3_errmsg(database));
    sqlite3_free(insert);
}

/* What the cache is in front of. It is called by failsoft_router_dispatch: in this program's one thread. */
static void load_user(failsoft_load *request, void *user_data) {
    size_t len;
    const char *key = (const char *)failsoft_load_key(request, &len);
    (void)user_data;
    sqlite3_bind_text(select_user, 1, key + strlen("user:"), (int)(len - strlen("user:")), SQLITE_TRANSIENT);
    switch (sqlite3_step(select_user)) {
    case SQLITE_ROW:
        failsoft_load_reply(request, sqlite3_column_text(select_user, 0), (size_t)sqlite3_column_bytes(select_user, 0));
        break;
    case SQLITE_DONE:
        failsoft_load_missing(request);
        break;
    default:
        failsoft_load_fail(request, sqlite3_errcode(database), sqlite3_errmsg(database));
    }
    sqlite3_reset(select_user);
    failsoft_load_free(request);
}

static void hang_up(client *self) {
    close(self->socket);
    self->socket = -1;
    self->closed = self->reading = false;
    self->used = 0;
}

static void answer(failsoft_status status, failsoft_outcome *outcome, void *data) {
    client *self = data;
    char text[256];
    size_t len;
    const char *name = (const char *)failsoft_outcome_value(outcome, &len);
    int length = status == FAILSOFT_OK
                     ? snprintf(text, sizeof text, "%.*s %s\n", name ? (int)len : 1, name ? name : "-",
                                failsoft_outcome_served_by(outcome))
                     : snprintf(text, sizeof text, "error %s\n", failsoft_outcome_error_message(outcome));
    failsoft_outcome_free(outcome);
    self->reading = false;
    /* A line is short: a socket that cannot take it belongs to a client that does not read. */
    if (self->closed || send(self->socket, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) != length)
        hang_up(self);
}

/* Reads what a client sent, and asks for the user of a whole line. */
static void hear(client *self) {
    ssize_t got = recv(self->socket, self->line + self->used, LINE - 1 - self->used, MSG_DONTWAIT);
    if (got <= 0) {
        hang_up(self);
        return;
    }
    self->used += (size_t)got;
    self->line[self->used] = 0;
    if (strchr(self->line, '\n')) {
        char key[LINE];
        int len = snprintf(key, sizeof key, "user:%ld", strtol(self->line, NULL, 10));
        self->used = 0;
        self->reading = true;
        if (failsoft_get_with_fallback_async(router, (const uint8_t *)key, (size_t)len, load_user, NULL, answer, self,
                                             NULL) != FAILSOFT_OK)
            hang_up(self);
    } else if (self->used == LINE - 1) {
        hang_up(self);
    }
}

static int listen_at(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int made = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    socklen_t size = sizeof address;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (made < 0 || bind(made, (struct sockaddr *)&address, size) || listen(made, 16) ||
        getsockname(made, (struct sockaddr *)&address, &size))
        die("the port", port);
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return made;
}

static void serve(int listener) {
    static client clients[CLIENTS];
    struct pollfd watched[CLIENTS + 2];
    for (int i = 0; i < CLIENTS; i++)
        clients[i].socket = -1;
    while (!stopping) {
        watched[CLIENTS] = (struct pollfd){failsoft_router_fd(router), POLLIN, 0};
        watched[CLIENTS + 1] = (struct pollfd){listener, POLLIN, 0};
        for (int i = 0; i < CLIENTS; i++)
            watched[i] = (struct pollfd){clients[i].reading ? -1 : clients[i].socket, POLLIN, 0};
        if (poll(watched, CLIENTS + 2, -1) < 0)
            continue;
        if (watched[CLIENTS].revents)
            failsoft_router_dispatch(router);
        for (int i = 0; i < CLIENTS; i++)
            if (watched[i].revents && watched[i].fd == clients[i].socket)
                hear(&clients[i]);
        if (watched[CLIENTS + 1].revents) {
            int accepted = accept(listener, NULL, NULL), i = 0;
            while (i < CLIENTS && clients[i].socket >= 0)
                i++;
            if (i < CLIENTS)
                clients[i].socket = accepted;
            else
                close(accepted);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        clients[i].closed = true;
    failsoft_router_close(router);
}

int main(int argc, char **argv) {
    if (argc != 4)
        die("usage", "service NODES DATABASE PORT");
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    open_database(argv[2]);
    failsoft_config *config = failsoft_config_new(argv[1]);
    if (failsoft_config_set(config, "delivery", "fd") != FAILSOFT_OK || failsoft_router_open(config, &router) != FAILSOFT_OK)
        die("the router", failsoft_last_error());
    failsoft_config_free(config);
    serve(listen_at(argv[3]));
    sqlite3_finalize(select_user);
    sqlite3_close(database);
    return 0;
}
