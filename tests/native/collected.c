/* collect_files (native/slot.c): whatever names are asked for, only the content of plain files below the folder comes back, within the budget. */
#include "harness.h"

#include "../../src/groundrun/engine/native/slot.c"

#define SECRET "a secret of the host"

static int folder = -1;

/* A folder as a program may leave it: links out, a pipe, a device's name, depth, odd names, a hole. */
static void lay_out(void) {
    char place[] = "/tmp/groundrun-fuzz-XXXXXX", path[4096];
    if (folder >= 0) return;
    CHECK(mkdtemp(place));
    snprintf(path, sizeof path, "%s/secret", place);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, SECRET, sizeof SECRET) == sizeof SECRET);
    close(fd);
    snprintf(path, sizeof path, "%s/work", place);
    CHECK(!mkdir(path, 0755));
    folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder >= 0 && !symlinkat("../secret", folder, "link") && !symlinkat("..", folder, "up") && !symlinkat("/", folder, "root"));
    CHECK(!mkfifoat(folder, "pipe", 0600) && !mkdirat(folder, "deep", 0700) && !mkdirat(folder, "deep/er", 0700));
    static const char *const names[] = {"a", "deep/b", "deep/er/c", "\xff\xfe", " ", "-"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fd = openat(folder, names[i], O_WRONLY | O_CREAT, 0600);
        CHECK(fd >= 0 && write(fd, "plain", 5) == 5);
        close(fd);
    }
    fd = openat(folder, "hole", O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && !ftruncate(fd, 100000));
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint32_t budget;
    static char back[1 << 20];
    lay_out();
    take(&budget, sizeof budget, &data, &size);
    const int in = file_of(data, size), out = file_of("", 0);
    if (!collect_files(folder, in, out, budget)) {
        const ssize_t got = pread(out, back, sizeof back, 0);
        uint64_t total = 0;
        for (ssize_t at = 0; at < got;) {
            uint32_t head[2];
            if (got == sizeof back) break;
            CHECK(got - at >= (ssize_t)sizeof head);
            memcpy(head, back + at, sizeof head);
            at += (ssize_t)sizeof head;
            CHECK(head[0] <= size && got - at >= (ssize_t)head[0] + (ssize_t)head[1]);
            CHECK(memmem(data, size, back + at, head[0]));
            at += head[0];
            CHECK(head[1] == 5 || head[1] == 100000);
            CHECK(!memmem(back + at, head[1], SECRET, strlen(SECRET)));
            at += head[1];
            total += head[1];
        }
        CHECK(got == sizeof back || total <= budget);
    }
    close(in);
    close(out);
    return 0;
}
