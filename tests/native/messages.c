/* receive_message (native/io.c): datagrams of any size and content, with any descriptors, are messages only when they are whole. */
#include "harness.h"

#include <sys/uio.h>

#include "../../src/groundrun/engine/native/io.c"

static int count_open(void) {
    int open = 0;
    for (int fd = 3; fd < 64; fd++) open += fcntl(fd, F_GETFD) >= 0;
    return open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t sizes[] = {sizeof(struct request), sizeof(struct reply), sizeof(struct prepare),
                                   sizeof(struct order),   sizeof(struct notice), sizeof(struct command)};
    unsigned char wanted[1024], got[1024];
    int ends[2], fds[MAX_FDS], sent[MAX_FDS];
    uint8_t head[4];
    const int before = count_open();
    take(head, sizeof head, &data, &size);
    const size_t expected = sizes[head[0] % 6];
    const int count = head[1] % (MAX_FDS + 1);
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    for (int i = 0; i < count; i++) sent[i] = file_of("", 0);
    if (head[2] & 1) { /* a message as it should be: it comes as it went; with one bit turned it doesn't come */
        take(wanted, expected, &data, &size);
        CHECK(!send_message(ends[0], wanted, expected, sent, count));
        CHECK(receive_message(ends[1], got, expected, fds) == count && !memcmp(wanted, got, expected));
        close_all(fds, count);
        uint32_t sum = checksum(wanted, expected);
        wanted[head[3] % expected] ^= (unsigned char)(1u << (head[2] >> 1) % 8);
        CHECK(!transmit(ends[0], wanted, expected, sum, sent, count));
    } else {
        struct iovec part = {(void *)(uintptr_t)data, size};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        char control[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        if (count) {
            message.msg_control = control;
            message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
            struct cmsghdr *at = CMSG_FIRSTHDR(&message);
            *at = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count)};
            memcpy(CMSG_DATA(at), sent, sizeof(int) * (size_t)count);
        }
        CHECK(sendmsg(ends[0], &message, MSG_NOSIGNAL) == (ssize_t)size);
    }
    const int result = receive_message(ends[1], got, expected, fds);
    if (result >= 0) {
        CHECK(!(head[2] & 1) && size == expected + 4 && result == count);
        close_all(fds, result);
    }
    for (int i = 0; i < count; i++) close(sent[i]);
    close(ends[0]);
    close(ends[1]);
    CHECK(count_open() == before);
    return 0;
}
