/* Texts that the kernel writes, as they might be: a cgroup's files (native/cgroup.c) and a process's map (native/guest.c). */
#include "harness.h"

#include "../../src/groundrun/engine/native/guest.c"
#include "../../src/groundrun/engine/native/cgroup.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct piece found[64];
    static char place[] = "/tmp/groundrun-fuzz-XXXXXX";
    static int maps = -1, proc = -1;
    if (proc < 0) {
        CHECK(mkdtemp(place) && (proc = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC)) >= 0);
        CHECK(!mkdirat(proc, "self", 0700) && (maps = openat(proc, "self/maps", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
    }
    const int file = file_of(data, size);
    const struct standing group = {.cpu = file, .pids_current = file};
    count_in(file, "oom_kill");
    count_in(file, "");
    cpu_used(&group);
    is_deserted(&group, 1);
    close(file);
    CHECK(!ftruncate(maps, 0) && pwrite(maps, data, size, 0) == (ssize_t)size);
    const int count = read_pieces(proc, found, 64);
    CHECK(count >= 0 && count <= 64);
    return 0;
}
