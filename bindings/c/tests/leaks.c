/* Many reads, one in a hundred cancelled and one with a loader that fails: memory stays within 5% of what it was after
 * the first tenth, and no descriptor or thread is left. FAILSOFT_LEAK_READS says how many reads; 50,000 by default. */
#include "support.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 100 };

static int entries_of(const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static long resident_kib(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static bool all_ended(void *ends) {
    for (int i = 0; i < BATCH; i++)
        if (!((read_end *)ends)[i].ended)
            return false;
    return true;
}

static void fails(failsoft_load *request, void *unused) {
    (void)unused;
    STATUS(FAILSOFT_OK, failsoft_load_fail(request, 1, "no luck"));
    failsoft_load_free(request);
}

static void reads(failsoft_router *router, long number) {
    static read_end ends[BATCH];
    uint64_t id;
    for (long done = 0; done < number; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            char key[16];
            snprintf(key, sizeof key, "%c%ld", i == 1 ? 'f' : 'k', (done + i) % 500);
            start(router, key, i == 1 ? fails : reply_text, "a value", &ends[i], i == 0 ? &id : NULL);
        }
        STATUS(FAILSOFT_OK, failsoft_cancel(router, id));
        wait_for(router, all_ended, ends);
        for (int i = 0; i < BATCH; i++) {
            CHECK(ends[i].status == (i == 1 ? FAILSOFT_FALLBACK : FAILSOFT_OK) ||
                  (i <= 1 && ends[i].status == FAILSOFT_SHED) || /* of late all loaders have failed */
                  (i == 0 && ends[i].status == FAILSOFT_CANCELLED));
            release(&ends[i]);
        }
    }
}

int main(int argc, char **argv) {
    const char *delivery = argc > 1 ? argv[1] : "threads", *wanted = getenv("FAILSOFT_LEAK_READS");
    long number = wanted ? atol(wanted) : 50000;
    char address[64];
    kit *kit = kit_start();
    kit_scripted(kit, address, sizeof address);
    /* The first router starts the I/O thread, which the process keeps. */
    failsoft_router *router = open_router(address, delivery, NULL);
    reads(router, BATCH);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    int threads = entries_of("/proc/self/task"), descriptors = entries_of("/proc/self/fd");
    router = open_router(address, delivery, NULL);
    reads(router, number / 10);
    long before = resident_kib();
    reads(router, number - number / 10);
    long after = resident_kib();
    CHECK(after <= before + before / 20);
    STATUS(FAILSOFT_OK, failsoft_router_close(router));
    for (double until = seconds_now() + LONG_MS / 1000;
         entries_of("/proc/self/fd") > descriptors || entries_of("/proc/self/task") > threads; pause_ms(1))
        CHECK(seconds_now() < until);
    kit_stop(kit);
    printf("leaks, %s: ok, %ld reads, %ld KiB, then %ld\n", delivery, number, before, after);
    return 0;
}
