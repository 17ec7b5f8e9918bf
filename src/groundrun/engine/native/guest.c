/* What the zygote does natively, called through ctypes: receive an order, put the forked child into its slot, reap it.
 *
 * The child's way in (enter): its namespaces, its cgroups, fresh standard streams, no other descriptor, a session of its own,
 * rlimits, its uid, landlock, no capabilities, seccomp. Every step that fails ends the child before a byte of the job was
 * read, and is told to the warden as our fault.
 *
 * No Python headers: the functions take and give plain integers and buffers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io.h"
#include "wire.h"

#define SYS_LANDLOCK_CREATE 444
#define SYS_LANDLOCK_ADD 445
#define SYS_LANDLOCK_RESTRICT 446
#define LAST_CAPABILITY 63
#define REGION_BYTES (65536u + (1u << 20))
#define JOB_FD 4
#define CHANNEL_FD 3

struct rule { uint64_t access; int32_t fd; } __attribute__((packed));

static int control = -1, ruleset = -1, namespaces = 0;
static int cgroups[8], cgroup_count = 0;
static struct order order;
static int fds[MAX_FDS], fd_count;
static struct sock_filter *tails[2];
static unsigned short tail_lengths[2];
static uint32_t self_marker;

/* Tell the warden; `error` is an errno. */
static void notify(uint32_t kind, int pid, int status, int error, uint64_t cpu_ns, uint64_t value, const char *text) {
    struct notice notice = {.version = VERSION, .kind = kind, .pid = pid, .wait_status = status, .error = error, .cpu_ns = cpu_ns, .value = value};
    if (text) snprintf(notice.text, sizeof notice.text, "%s", text);
    send_message(control, &notice, sizeof notice, 0, 0);
}

/* Abandon a child that could not be made safe. */
static void give_up(const char *step) {
    notify(NOTICE_FAILED, 0, 0, errno, 0, 0, step);
    _exit(125);
}

/* Remember the zygote's standing descriptors. `in_namespaces`: children join the slot's namespaces. */
void gr_open(int control_fd, int in_namespaces, const int *cgroup_fds, int count, uint32_t marker) {
    control = control_fd;
    namespaces = in_namespaces;
    cgroup_count = count;
    for (int i = 0; i < count; i++) cgroups[i] = cgroup_fds[i];
    self_marker = marker;
}

/* Version of landlock's interface, or -errno. */
int gr_landlock_abi(void) {
    long abi = syscall(SYS_LANDLOCK_CREATE, 0, 0, 1);
    return abi < 0 ? -errno : (int)abi;
}

/* Make the ruleset that children enter. `attributes` is struct landlock_ruleset_attr of the chosen version. 0 or -errno. */
int gr_make_ruleset(const void *attributes, size_t size) {
    ruleset = (int)syscall(SYS_LANDLOCK_CREATE, attributes, size, 0);
    return ruleset < 0 ? -errno : 0;
}

/* Allow `access` beneath a path. 0 or -errno. */
int gr_add_rule(const char *path, uint64_t access) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct rule rule = {access, fd};
    int result = syscall(SYS_LANDLOCK_ADD, ruleset, 1, &rule, 0) ? -errno : 0;
    close(fd);
    return result;
}

static int install(const struct sock_filter *filter, unsigned short length) {
    struct sock_fprog program = {length, (struct sock_filter *)filter};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Install the base filter in the zygote: every child inherits it. 0 or -errno. */
int gr_install(const void *filter, int length) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return -errno;
    return install(filter, (unsigned short)length) ? -errno : 0;
}

/* Keep the tail filter of children that may fork (1) or not (0); its copy lives as long as the zygote. 0 or -errno. */
int gr_set_tail(int may_fork, const void *filter, int length) {
    size_t size = (size_t)length * sizeof(struct sock_filter);
    tails[may_fork] = length ? malloc(size) : NULL;
    if (length && !tails[may_fork]) return -ENOMEM;
    if (length) memcpy(tails[may_fork], filter, size);
    tail_lengths[may_fork] = (unsigned short)length;
    return 0;
}

static uint64_t cpu_reported; /* of the zygote itself */

static uint64_t own_cpu(void) {
    struct timespec used;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) ? 0 : (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* The address space in use, in bytes, found by lowering the limit until nothing more can be mapped: there is no /proc in the jail. */
static uint64_t measure_address_space(void) {
    struct rlimit before, trial;
    uint64_t low = 0, high = 1ull << 40;
    if (getrlimit(RLIMIT_AS, &before)) return 0;
    trial = before;
    while (high - low > 65536) {
        trial.rlim_cur = low + (high - low) / 2;
        if (trial.rlim_cur > before.rlim_max || setrlimit(RLIMIT_AS, &trial)) break;
        void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) low = trial.rlim_cur;
        else {
            munmap(page, 4096);
            high = trial.rlim_cur;
        }
    }
    setrlimit(RLIMIT_AS, &before);
    return high;
}

/* Say that the zygote is warm, with its address space. */
void gr_ready(void) {
    cpu_reported = own_cpu();
    notify(NOTICE_READY, 0, 0, 0, 0, measure_address_space(), NULL);
}

/* Say that the zygote can't serve, and why. */
void gr_refuse(int error, const char *text) { notify(NOTICE_FAILED, 0, 0, error, 0, 1, text); }

/* Wait for an order and aim the next fork at its slot. Copies the guest's name. 1; 2 when the order can't be carried out, which the
 * warden was told; 0 at the end of the stream; -errno. */
int gr_wait(char *guest) {
    fd_count = receive_message(control, &order, sizeof order, fds);
    if (fd_count < 0) return errno ? -errno : 0;
    if (order.version != VERSION) return -EPROTO;
    memcpy(guest, order.guest, GUEST_NAME);
    guest[GUEST_NAME - 1] = 0;
    if (namespaces && syscall(SYS_setns, fds[0], CLONE_NEWPID)) {
        notify(NOTICE_FAILED, 0, 0, errno, 0, 1, "joining the slot's pid namespace");
        close_all(fds, fd_count);
        return 2;
    }
    return 1;
}

/* In the zygote, after the fork: report the child, wait for its end, report that, and what the zygote used since the last time. */
void gr_reap(int pid) {
    close_all(fds, fd_count);
    if (order.flags & TELL_START) notify(NOTICE_STARTED, pid, 0, 0, 0, 0, NULL);
    struct rusage usage;
    int status = 0;
    memset(&usage, 0, sizeof usage);
    if (!namespaces) {
        /* The whole session is one process group that nothing can leave (tail filter); it dies at once, while its leader, not reaped yet,
         * keeps the number from meaning anything else. */
        siginfo_t ended;
        int seen;
        do seen = waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT);
        while (seen < 0 && errno == EINTR);
        if (seen == 0) kill(-pid, SIGKILL);
    }
    int reaped;
    do reaped = wait4(pid, &status, 0, &usage);
    while (reaped < 0 && errno == EINTR);
    if (reaped != pid) {
        notify(NOTICE_FAILED, pid, 0, errno, 0, 1, "waiting for the program");
        return;
    }
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {} /* no program can make itself siblings; a slot must not wait for one all the same */
    uint64_t cpu = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                   ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
    uint64_t now = own_cpu(), share = now - cpu_reported;
    cpu_reported = now;
    notify(NOTICE_ENDED, pid, status, 0, cpu, share, NULL);
}

/* The fork itself failed. */
void gr_fork_failed(int error) {
    close_all(fds, fd_count);
    notify(NOTICE_FAILED, 0, 0, error, 0, 1, "fork");
}

static void limit(int resource, uint64_t value, const char *name) {
    struct rlimit now, wanted = {value, value};
    if (getrlimit(resource, &now)) give_up(name);
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    if (setrlimit(resource, &wanted)) give_up(name);
}

/* Before the user changes: afterwards there is no right left to do it. */
static void drop_bounding_set(void) {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int number = 0; number <= LAST_CAPABILITY; number++)
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) && errno == EINVAL) break;
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    if (syscall(SYS_capset, &head, none)) give_up("capset");
}

/* In the child: become a program in its slot. Returns the address of the report region; the job is at descriptor 4, the channel
 * at 3 or -1 in *channel. Doesn't return when a guard can't be had. */
void *gr_enter(int *channel, const char *work) {
    int has_channel = order.flags & HAS_CHANNEL, may_fork = order.flags & MAY_FORK ? 1 : 0;
    int self = 0;
    if (namespaces && syscall(SYS_setns, fds[0], CLONE_NEWNS | CLONE_NEWIPC)) give_up("setns");
    for (int i = 0; i < cgroup_count; i++)
        if (write(cgroups[i], "0", 1) != 1) give_up("joining the cgroup");
    void *region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[5], 0);
    if (region == MAP_FAILED) give_up("mapping the report");
    int saved = fcntl(control, F_DUPFD_CLOEXEC, 64), rules = fcntl(ruleset, F_DUPFD_CLOEXEC, 64);
    int job = fcntl(fds[1], F_DUPFD_CLOEXEC, 64), line = has_channel ? fcntl(fds[6], F_DUPFD_CLOEXEC, 64) : -1;
    int in = fcntl(fds[2], F_DUPFD_CLOEXEC, 64), out = fcntl(fds[3], F_DUPFD_CLOEXEC, 64), err = fcntl(fds[4], F_DUPFD_CLOEXEC, 64);
    if (saved < 0 || rules < 0 || job < 0 || in < 0 || out < 0 || err < 0 || (has_channel && line < 0)) give_up("fcntl");
    control = saved;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || dup3(job, JOB_FD, O_CLOEXEC) < 0) give_up("dup");
    if (has_channel ? dup3(line, CHANNEL_FD, O_CLOEXEC) < 0 : (close(CHANNEL_FD), 0)) give_up("dup");
    *channel = has_channel ? CHANNEL_FD : -1;
    control = dup3(saved, 5, O_CLOEXEC);
    ruleset = dup3(rules, 6, O_CLOEXEC);
    if (control < 0 || ruleset < 0 || syscall(SYS_close_range, 7, ~0u, 0)) give_up("close_range");
    if (setsid() < 0) give_up("setsid");
    umask(022);
    limit(RLIMIT_CORE, 0, "RLIMIT_CORE");
    limit(RLIMIT_AS, order.address_space, "RLIMIT_AS");
    limit(RLIMIT_FSIZE, order.file_size, "RLIMIT_FSIZE");
    limit(RLIMIT_STACK, order.stack, "RLIMIT_STACK");
    limit(RLIMIT_NOFILE, order.descriptors, "RLIMIT_NOFILE");
    limit(RLIMIT_CPU, order.cpu_s, "RLIMIT_CPU");
    limit(RLIMIT_MEMLOCK, 65536, "RLIMIT_MEMLOCK");
    limit(RLIMIT_MSGQUEUE, 65536, "RLIMIT_MSGQUEUE");
    limit(RLIMIT_SIGPENDING, 1024, "RLIMIT_SIGPENDING"); /* timers and queued signals count for the user, across namespaces */
    limit(RLIMIT_NICE, 0, "RLIMIT_NICE");
    limit(RLIMIT_RTPRIO, 0, "RLIMIT_RTPRIO");
    drop_bounding_set();
    if (order.uid) {
        if (syscall(SYS_setgroups, 0, NULL) || setresgid(order.uid, order.uid, order.uid) || setresuid(order.uid, order.uid, order.uid))
            give_up("changing the user");
    }
    if (order.user_processes) limit(RLIMIT_NPROC, order.user_processes, "RLIMIT_NPROC");
    if (chdir(work)) give_up("entering the working folder");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) give_up("prctl");
    if (syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0)) give_up("landlock");
    drop_capabilities();
    if (tail_lengths[may_fork]) {
        self = (int)syscall(SYS_getpid);
        for (int i = 0; i < tail_lengths[may_fork]; i++)
            if (tails[may_fork][i].k == self_marker) tails[may_fork][i].k = (uint32_t)self;
        if (install(tails[may_fork], tail_lengths[may_fork])) give_up("seccomp");
    }
    close(control);
    close(ruleset);
    return region;
}
