/* A forked child: its parent's router says FORKED, one of its own works, and the parent's goes on. */
#include "support.h"
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void in_child(failsoft_router *parents, const char *address, const char *delivery) {
    char *text;
    const uint8_t *key = (const uint8_t *)"k";
    STATUS(FAILSOFT_FORKED, failsoft_get_with_fallback(parents, key, 1, NULL, NULL, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_get_with_fallback_async(parents, key, 1, NULL, NULL, on_end, NULL, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_set(parents, key, 1, key, 1, NULL));
    STATUS(FAILSOFT_FORKED, failsoft_cancel(parents, 1));
    STATUS(FAILSOFT_FORKED, failsoft_health(parents, &text));
    STATUS(FAILSOFT_FORKED, failsoft_router_ready(parents, 1));
    STATUS(FAILSOFT_FORKED, failsoft_router_dispatch(parents));
    CHECK(failsoft_router_fd(parents) == -1);
    STATUS(FAILSOFT_FORKED, failsoft_router_close(parents));
    failsoft_router *own = open_router(address, delivery, NULL);
    read_end end;
    start(own, "k", reply_text, "the child's", &end, NULL);
    finish(own, &end);
    CHECK(has_value(end.outcome, "the parent's"));
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_router_close(own));
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads";
    char address[64];
    int status;
    read_end end;
    kit *kit = kit_start();
    kit_scripted(kit, address, sizeof address);
    failsoft_router *router = open_router(address, delivery, NULL);
    STATUS(FAILSOFT_OK, failsoft_set(router, (const uint8_t *)"k", 1, (const uint8_t *)"the parent's", 12, NULL));
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child(router, address, delivery);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    start(router, "k", NULL, NULL, &end, NULL);
    finish(router, &end);
    CHECK(has_value(end.outcome, "the parent's"));
    release(&end);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    kit_stop(kit);
    printf("fork, %s: ok\n", delivery);
    return 0;
}
