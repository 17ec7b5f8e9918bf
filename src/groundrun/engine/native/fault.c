/* See fault.h. Empty but for builds with GROUNDRUN_FAULTS. */
#define _GNU_SOURCE
#include "fault.h"

#ifdef GROUNDRUN_FAULTS
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

enum action { ACTION_NONE, ACTION_KILL, ACTION_STALL, ACTION_GARBLE, ACTION_CUT, ACTION_LOSE, ACTION_DOUBLE, ACTION_HANG_UP, ACTION_REFUSE };

/* Shared by all. `nth`: at which passage of the point, counted over all processes, from 1 on; 0 for each. `amount`: milliseconds of a stall,
 * the bit that is turned, the errno of a refusal. */
struct plan {
    uint32_t action, nth, amount;
    volatile uint32_t passed, fired, released;
    char point[64];
};

static struct plan *plan;
static int plan_fd = -1;

void fault_open(int fd) {
    char path[PATH_MAX];
    if (fd < 0) {
        ssize_t size = readlink("/proc/self/exe", path, sizeof path - 8);
        if (size <= 0) return;
        path[size] = 0;
        strcpy(strrchr(path, '/') + 1, "plan");
        int low = open(path, O_RDWR | O_CLOEXEC);
        if (low < 0) return;
        fd = fcntl(low, F_DUPFD_CLOEXEC, PLAN_FD + 1); /* out of the way of descriptors that have numbers of their own */
        close(low);
    }
    void *shared = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    plan = shared == MAP_FAILED ? NULL : shared;
    plan_fd = fd;
}

void fault_hand_on(void) {
    if (plan_fd >= 0) dup2(plan_fd, PLAN_FD);
}

static void stall(void) {
    for (uint32_t waited = 0; waited < plan->amount && !plan->released; waited++) usleep(1000);
}

/* What is to be done at this passage. */
static enum action wanted_at(const char *point) {
    if (!plan || strncmp(plan->point, point, sizeof plan->point)) return ACTION_NONE;
    const uint32_t passage = __atomic_add_fetch(&plan->passed, 1, __ATOMIC_SEQ_CST);
    if (plan->nth && passage != plan->nth) return ACTION_NONE;
    const enum action action = (enum action)plan->action;
    __atomic_add_fetch(&plan->fired, 1, __ATOMIC_SEQ_CST);
    if (action == ACTION_KILL) kill(getpid(), SIGKILL);
    if (action == ACTION_KILL) _exit(137); /* pid 1 of a namespace can't be killed from inside */
    if (action == ACTION_STALL) stall();
    return action;
}

int fault_at(const char *point) {
    if (wanted_at(point) != ACTION_REFUSE) return 0;
    errno = (int)plan->amount;
    return 1;
}

static const char *name_of(const void *data, size_t size) {
    static const char *const requests[] = {"request", "request.run", "request.cancel", "request.renew", "request.interrupt"};
    static const char *const replies[] = {"reply", "reply.ready", "reply.done", "reply.failed", "reply.renewed"};
    static const char *const notices[] = {"notice", "notice.ready", "notice.started", "notice.ended", "notice.failed", "notice.prepared"};
    static const char *const commands[] = {"command.ready", "command.resize", "command.collect", "command.interrupt"};
    const uint32_t *words = data;
    if (size == sizeof(struct request)) return requests[words[1] < 5 ? words[1] : 0];
    if (size == sizeof(struct reply)) return replies[words[1] < 5 ? words[1] : 0];
    if (size == sizeof(struct notice)) return notices[words[1] < 6 ? words[1] : 0];
    if (size == sizeof(struct prepare)) return "prepare";
    if (size == sizeof(struct order)) return "order";
    if (size == sizeof(struct command)) return commands[words[0] < 4 ? words[0] : 0];
    return "something";
}

enum fault_effect fault_of_message(const char *verb, int fd, void *data, size_t size) {
    char point[64];
    snprintf(point, sizeof point, "%s %s", verb, name_of(data, size));
    switch (wanted_at(point)) {
        case ACTION_GARBLE:
            ((unsigned char *)data)[plan->amount / 8 % size] ^= (unsigned char)(1u << plan->amount % 8);
            return FAULT_NOTHING;
        case ACTION_CUT: return FAULT_SHORT;
        case ACTION_LOSE: return FAULT_SKIP;
        case ACTION_DOUBLE: return FAULT_TWICE;
        case ACTION_HANG_UP:
            shutdown(fd, SHUT_RDWR);
            return FAULT_FAILS;
        default: return FAULT_NOTHING;
    }
}
#endif
