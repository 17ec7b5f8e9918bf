/* Starting the zygote, and hearing that it is warm. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "warden.h"
#include "wire.h"

static void give_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETPCAP};
    if (syscall(SYS_capget, &head, data)) _exit(126);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) data[0].inheritable |= 1u << kept[i];
    if (syscall(SYS_capset, &head, data)) _exit(126);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0)) _exit(126);
}

/* Start the zygote with descriptors 3 = its control socket, 4... = the procs files of the cgroups that programs join, then its policy, then
 * /proc where it could not open that itself. */
pid_t start_zygote(const struct policy *policy, const struct guards *guards, int *line) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) fail("making a socket for the zygote");
    pid_t zygote = fork();
    if (zygote < 0) fail("forking the zygote");
    if (zygote == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC), at = 4;
        int kept[MAX_CGROUPS];
        for (int i = 0; i < guards->joined_count; i++) kept[i] = fcntl(guards->procs[i], F_DUPFD, 64);
        for (int i = guards->joined_count; i < guards->procs_count; i++)
            if (write(guards->procs[i], "0", 1) != 1) _exit(126);
        int control = fcntl(ends[1], F_DUPFD, 64), told = fcntl(policy->zygote_policy, F_DUPFD, 64);
        int proc = policy->proc < 0 ? -1 : fcntl(policy->proc, F_DUPFD, 64);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        dup2(control, 3);
        for (int i = 0; i < guards->joined_count; i++) dup2(kept[i], at++);
        dup2(told, at++);
        if (proc >= 0) dup2(proc, at++);
        fault_hand_on();
        syscall(SYS_close_range, at, FAULTS ? PLAN_FD - 1 : ~0u, 0);
        if (FAULTS) syscall(SYS_close_range, PLAN_FD + 1, ~0u, 0);
        if (FAULT("zygote.start")) _exit(126);
        setsid();
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (policy->namespaces) give_capabilities();
        signal(SIGPIPE, SIG_DFL);
        execve(policy->zygote[0], policy->zygote, policy->environment);
        struct notice notice = {.version = VERSION, .kind = NOTICE_FAILED, .error = errno};
        snprintf(notice.text, sizeof notice.text, "executing %s", policy->zygote[0]);
        send_message(3, &notice, sizeof notice, NULL, 0);
        _exit(127);
    }
    close(ends[1]);
    *line = ends[0];
    return zygote;
}

void await_zygote(pid_t zygote, int line, int host, struct reply *ready) {
    struct notice notice;
    struct pollfd sources[2] = {{.fd = line, .events = POLLIN}, {.fd = host, .events = POLLIN}};
    while (poll(sources, 2, -1) < 0 && errno == EINTR) {}
    if (sources[1].revents && !sources[0].revents) fail("the host's process ended");
    int none[MAX_FDS], got = receive_message(line, &notice, sizeof notice, none);
    if (got < 0 && errno == ECONNRESET) got = receive_message(line, &notice, sizeof notice, none); /* it left our first word unread */
    if (got < 0 && errno == EPROTO) fail("the zygote's first word can't be read");
    if (got < 0) {
        int status = 0;
        waitpid(zygote, &status, 0);
        errno = 0;
        fail("the interpreter ended before it was ready (wait status %d)", status);
    }
    errno = notice.error;
    if (notice.kind != NOTICE_READY) fail("%s", notice.text);
    ready->baseline = notice.value;
}
