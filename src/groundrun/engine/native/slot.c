/* A slot of rung namespaces: pid, mount and ipc namespaces with a private tmpfs, kept by a tiny init. Single-use.
 *
 * The init is pid 1, so that the program is not; it reaps orphans (their CPU time then reaches whoever reaps the init), hands
 * files out when asked, and its death kills everything in the slot. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "warden.h"
#include "weak.h"
#include "wire.h"

#define SYS_OPENAT2 437

struct how { uint64_t flags, mode, resolve; };

/* Write all of it, which only a lack of memory can hinder. */
static int write_all(int out, const void *data, size_t size) {
    const char *at = data;
    for (ssize_t part; size > 0; at += part, size -= (size_t)part)
        if ((part = write(out, at, size)) <= 0) return -1;
    return 0;
}

/* One file: its head, then its content, filled up with zeros should it shrink meanwhile. */
static int copy_file(int fd, const char *name, size_t size, int out) {
    static char block[65536];
    const uint32_t head[2] = {(uint32_t)strlen(name), (uint32_t)size};
    if (write_all(out, head, sizeof head) || write_all(out, name, head[0])) return -1;
    while (size > 0) {
        ssize_t got = read(fd, block, size < sizeof block ? size : sizeof block);
        if (got <= 0 && !GUARD("collect-whole")) return 0;
        if (got <= 0) {
            got = (ssize_t)(size < sizeof block ? size : sizeof block);
            memset(block, 0, (size_t)got);
        }
        if (write_all(out, block, (size_t)got)) return -1;
        size -= (size_t)got;
    }
    return 0;
}

/* Copy the files named in `in`, one a line, below `folder`: no links, no devices, nothing outside. 0, or -1 with errno when `out` took less. */
int collect_files(int folder, int in, int out, uint64_t budget) {
    static char names[300000];
    ssize_t size = read_fd(in, names, sizeof names);
    if (size < 0 || FAULT("collecting")) return -1;
    for (char *name = names, *end; name < names + size; name = end + 1) {
        if (!(end = strchr(name, '\n'))) break;
        *end = 0;
        /* BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV */
        struct how how = {O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0, 0x08 | 0x04 | 0x02 | 0x01};
        if (!GUARD("collect-beneath")) how = (struct how){O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0, 0};
        int fd = (int)syscall(SYS_OPENAT2, folder, name, &how, sizeof how), failed = 0;
        struct stat what;
        if (fd < 0) continue;
        if (!fstat(fd, &what) && S_ISREG(what.st_mode) && (uint64_t)what.st_size <= budget && what.st_size <= UINT32_MAX) {
            failed = copy_file(fd, name, (size_t)what.st_size, out);
            budget -= (uint64_t)what.st_size;
        }
        close(fd);
        if (failed) return -1;
    }
    return 0;
}

static void on_child(int number) { (void)number; }

static void reap_orphans(void) {
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {}
}

static int mount_slot(uint64_t disk, uint64_t inodes, unsigned long flags) {
    char options[96];
    if (!GUARD("disk-bytes")) disk = 0; /* no bound */
    if (!GUARD("disk-inodes")) inodes = 0;
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=0755", (unsigned long long)disk, (unsigned long long)inodes);
    return mount("slot", SLOT, "tmpfs", MS_NOSUID | MS_NODEV | flags, options);
}

/* The zygote joins this process's namespaces through its pidfd, for which the kernel wants it inspectable and with no right that the
 * zygote lacks. A program can't inspect it all the same: it lacks the one right that stays. */
static void keep_only_mounting(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{.effective = 1u << CAP_SYS_ADMIN, .permitted = 1u << CAP_SYS_ADMIN}};
    if (syscall(SYS_capset, &head, data) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)) _exit(1);
}

/* Kill everything in the slot, and wait until it is dead: what was sent a signal may still write for a while. */
static void end_all(void) {
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR) {}
}

static void run_init(int control, uint64_t disk, uint64_t inodes) __attribute__((noreturn));
static void run_init(int control, uint64_t disk, uint64_t inodes) {
    struct command command = {0, 0, 0, 0};
    sigset_t blocked, open_set;
    struct sigaction action = {.sa_handler = on_child};
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NAME, "slot", 0, 0, 0);
    setsid();
    keep_only_mounting();
    if (dup2(control, 3) < 0) _exit(1);
    control = 3;
    syscall(SYS_close_range, 4, ~0u, 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &open_set);
    sigdelset(&open_set, SIGCHLD);
    sigaction(SIGCHLD, &action, NULL);
    if (FAULT("init.mount") || mount_slot(disk, inodes, 0) || mkdir(SLOT "/work", 0755) || mkdir(SLOT "/tmp", 01777) || mkdir(SLOT "/shm", 01777)) command.error = errno;
    int folder = open(SLOT "/work", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); /* now: later a program may have put something else there */
    if (folder < 0 && !command.error) command.error = errno;
    send_message(control, &command, sizeof command, NULL, 0);
    for (;;) {
        struct pollfd watch = {.fd = control, .events = POLLIN};
        int fds[MAX_FDS], count;
        if (ppoll(&watch, 1, NULL, &open_set) < 0) {
            reap_orphans();
            continue;
        }
        if ((count = receive_message(control, &command, sizeof command, fds)) < 0) _exit(0);
        command.error = 0;
        if (command.what == COMMAND_RESIZE) {
            if (mount_slot(command.disk, command.inodes, MS_REMOUNT)) command.error = errno;
        } else if (command.what == COMMAND_COLLECT && count == 2) {
            if (GUARD("pid-namespace") && GUARD("dead-before-collection")) end_all();
            if (!GUARD("early-folder")) folder = open(SLOT "/work", O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (collect_files(folder, fds[0], fds[1], command.disk)) command.error = errno;
        }
        if (command.what == COMMAND_INTERRUPT && kill((pid_t)command.disk, SIGINT)) command.error = errno;
        close_all(fds, count);
        send_message(control, &command, sizeof command, NULL, 0);
    }
}

static int ask(struct slot *slot, struct command command, int *fds, int count) {
    struct command answer;
    int none[MAX_FDS];
    if (send_message(slot->control, &command, sizeof command, fds, count)) return -1;
    if (receive_message(slot->control, &answer, sizeof answer, none) < 0) return -1;
    errno = answer.what == command.what ? answer.error : EPROTO;
    return errno ? -1 : 0;
}

int make_slot(struct slot *slot, uint64_t disk, uint64_t inodes) {
    int ends[2], none[MAX_FDS];
    struct command ready = {0, 0, 0, 0};
    static struct slot kept;
    if (!GUARD("single-use") && kept.init) return *slot = kept, 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) return -1;
    const int flags = (GUARD("pid-namespace") ? CLONE_NEWPID : 0) | CLONE_NEWNS | (GUARD("ipc-namespace") ? CLONE_NEWIPC : 0) | SIGCHLD;
    pid_t pid = FAULT("slot.clone") ? -1 : (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (pid == 0) run_init(ends[1], disk, inodes);
    int error = errno;
    close(ends[1]);
    *slot = (struct slot){.init = pid, .pidfd = -1, .control = ends[0], .disk = disk, .inodes = inodes};
    if (pid < 0) {
        close(ends[0]);
        slot->init = 0;
        errno = error;
        return -1;
    }
    slot->pidfd = open_pidfd(pid);
    if (slot->pidfd >= 0 && receive_message(slot->control, &ready, sizeof ready, none) >= 0 && !ready.error) return kept = *slot, 0;
    error = ready.error ? ready.error : errno;
    end_slot(slot);
    errno = error;
    return -1;
}

int slot_is_alive(const struct slot *slot) {
    struct pollfd watch = {.fd = slot->pidfd, .events = POLLIN};
    return slot->init > 0 && poll(&watch, 1, 0) == 0;
}

int slot_resize(struct slot *slot, uint64_t disk, uint64_t inodes) {
    if (slot->disk == disk && slot->inodes == inodes) return 0;
    slot->disk = disk;
    slot->inodes = inodes;
    return ask(slot, (struct command){COMMAND_RESIZE, 0, disk, inodes}, NULL, 0);
}

int slot_collect(struct slot *slot, int in, int out, uint64_t budget) {
    int fds[2] = {in, out};
    return ask(slot, (struct command){COMMAND_COLLECT, 0, budget, 0}, fds, 2);
}

int slot_interrupt(struct slot *slot, pid_t target) {
    return ask(slot, (struct command){COMMAND_INTERRUPT, 0, (uint64_t)target, 0}, NULL, 0);
}

void kill_slot(const struct slot *slot) {
    if (slot->init > 0 && GUARD("single-use")) kill(slot->init, SIGKILL);
}

uint64_t end_slot(struct slot *slot) {
    struct rusage usage;
    memset(&usage, 0, sizeof usage);
    if (!GUARD("single-use")) return *slot = (struct slot){.pidfd = -1, .control = -1}, 0;
    kill_slot(slot);
    if (slot->init > 0) {
        while (wait4(slot->init, NULL, __WALL, &usage) < 0 && errno == EINTR) {}
    }
    if (slot->pidfd >= 0) close(slot->pidfd);
    if (slot->control >= 0) close(slot->control);
    *slot = (struct slot){.pidfd = -1, .control = -1};
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}
