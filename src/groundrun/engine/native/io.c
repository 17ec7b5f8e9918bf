/* See io.h. */
#define _GNU_SOURCE
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "wire.h"

static int failure_socket = -1;
static void (*cleanup)(void);

/* CRC-32 as zlib has it, over four bits at a time: a table of a cache line. */
static uint32_t checksum(const void *data, size_t size) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t sum = ~0u;
    for (const unsigned char *at = data; size--; at++) {
        sum = sum >> 4 ^ table[(sum ^ *at) & 15];
        sum = sum >> 4 ^ table[(sum ^ *at >> 4) & 15];
    }
    return ~sum;
}

static int transmit(int fd, const void *data, size_t size, uint32_t sum, const int *fds, int count) {
    char control[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    struct iovec parts[2] = {{(void *)data, size}, {&sum, sizeof sum}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    memset(control, 0, sizeof control);
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * (size_t)count);
    }
    ssize_t sent;
    do sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)(size + sizeof sum) ? 0 : -1;
}

int send_message(int fd, const void *data, size_t size, const int *fds, int count) {
    const uint32_t sum = checksum(data, size);
    switch (fault_of_message("send", fd, (void *)data, size)) {
        case FAULT_NOTHING: break;
        case FAULT_SKIP: return 0;
        case FAULT_TWICE: transmit(fd, data, size, sum, fds, count); break;
        case FAULT_SHORT: return transmit(fd, data, size / 2, sum, fds, count);
        case FAULT_FAILS: return -1;
    }
    return transmit(fd, data, size, sum, fds, count);
}

int receive_message(int fd, void *data, size_t size, int *fds) {
    char control[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    uint32_t sum = 0;
    struct iovec parts[2] = {{data, size}, {&sum, sizeof sum}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got;
    int count = 0;
    do got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0) return -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(head), sizeof(int) * (size_t)count);
    }
    if (got > 0 && fault_of_message("receive", fd, data, size) != FAULT_NOTHING) got = 1;
    if (got == (ssize_t)(size + sizeof sum) && sum == checksum(data, size) && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) return count;
    close_all(fds, count);
    errno = got == 0 ? 0 : EPROTO;
    return -1;
}

void close_all(int *fds, int count) {
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0) close(fds[i]);
        fds[i] = -1;
    }
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int timeout_ms(uint64_t until) {
    uint64_t now = now_ns();
    if (until <= now) return 0;
    uint64_t ms = (until - now + MILLISECOND - 1) / MILLISECOND;
    return ms > 60000 ? 60000 : (int)ms;
}

int write_whole(int fd, const char *text) {
    ssize_t size = (ssize_t)strlen(text);
    return write(fd, text, (size_t)size) == size ? 0 : -1;
}

int write_fd(int fd, const char *text) {
    ssize_t size = (ssize_t)strlen(text);
    return pwrite(fd, text, (size_t)size, 0) == size ? 0 : -1;
}

int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = write_whole(fd, text), error = errno;
    close(fd);
    errno = error;
    return result;
}

ssize_t read_fd(int fd, char *buffer, size_t size) {
    ssize_t got = pread(fd, buffer, size - 1, 0);
    if (got >= 0) buffer[got] = 0;
    return got;
}

int open_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

void set_failure_socket(int fd) { failure_socket = fd; }

void set_cleanup(void (*function)(void)) { cleanup = function; }

void fail(const char *what, ...) {
    struct reply reply = {.version = VERSION, .kind = REPLY_FAILED, .error = errno};
    va_list arguments;
    va_start(arguments, what);
    vsnprintf(reply.text, sizeof reply.text, what, arguments);
    va_end(arguments);
    if (failure_socket >= 0) send_message(failure_socket, &reply, sizeof reply, 0, 0);
    void (*last)(void) = cleanup;
    cleanup = NULL;
    if (last) last();
    _exit(1);
}
