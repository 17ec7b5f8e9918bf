/* What the fuzzed parts share: their ends of the process are taken out, so that a part that gives up returns to the harness.
 *
 * Linked with --wrap: `_exit` jumps back, `kill` checks whom it would hit and hits nobody. Each harness includes the sources that it needs,
 * so that what is static there can be reached, and defines LLVMFuzzerTestOneInput. */
#ifndef GROUNDRUN_HARNESS_H
#define GROUNDRUN_HARNESS_H
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static jmp_buf gave_up;
static pid_t allowed_victims[4];

#define ENDS(statement)          \
    do {                         \
        if (!setjmp(gave_up)) {  \
            statement;           \
        }                        \
    } while (0)

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                   \
        }                                                                              \
    } while (0)

void __wrap__exit(int status);
void __wrap__exit(int status) {
    (void)status;
    longjmp(gave_up, 1);
}

int __wrap_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number) {
    (void)number;
    for (size_t i = 0; i < sizeof allowed_victims / sizeof *allowed_victims; i++)
        if (pid > 1 && (pid == allowed_victims[i] || pid == -allowed_victims[i])) return 0;
    fprintf(stderr, "a signal for process %d\n", (int)pid);
    abort();
}

/* A memfd with these bytes, for those who read small files. */
static inline int file_of(const void *data, size_t size) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    CHECK(fd >= 0 && (!size || write(fd, data, size) == (ssize_t)size));
    return fd;
}

/* Take up to `size` bytes of the input; what is missing is zero. */
static inline void take(void *into, size_t size, const uint8_t **data, size_t *left) {
    size_t got = *left < size ? *left : size;
    memset(into, 0, size);
    memcpy(into, *data, got);
    *data += got;
    *left -= got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#endif
