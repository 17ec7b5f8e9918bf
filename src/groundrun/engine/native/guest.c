/* What the zygote does natively, called through ctypes: fork children ahead of their orders, and reap them.
 *
 * The child's way in, before its order (gr_settle): its namespaces, its cgroup, no descriptor but its line, a session of its own, its uid,
 * landlock, no capabilities. With its order (gr_begin): fresh standard streams, rlimits, the tail of seccomp. Every step that fails
 * ends the child before a byte of the job was read, and is told to the warden as our fault.
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
#include <poll.h>
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

#include "fault.h"
#include "io.h"
#include "weak.h"
#include "wire.h"

#define SYS_LANDLOCK_CREATE 444
#define SYS_LANDLOCK_ADD 445
#define SYS_LANDLOCK_RESTRICT 446
#define LAST_CAPABILITY 63
#define REGION_BYTES (65536u + (1u << 20))
#define CHANNEL_FD 3
#define JOB_FD 4
#define LINE_FD 5
#define MAX_CHILDREN 8

struct rule { uint64_t access; int32_t fd; } __attribute__((packed));

static int control = -1, line = -1, ruleset = -1, namespaces = 0;
static int cgroups[8], cgroup_count = 0;
static struct prepare wanted;
static int places[MAX_FDS], place_count; /* the slot and the child's line */
static pid_t children[MAX_CHILDREN];
static sigset_t awake;
static struct sock_filter *tails[2];
static unsigned short tail_lengths[2];
static uint32_t self_marker;

/* Tell the warden; `error` is an errno. A child tells it over its own line. */
static void notify(uint32_t kind, int pid, int status, int error, uint64_t cpu_ns, uint64_t value, const char *text) {
    struct notice notice = {.version = VERSION, .kind = kind, .pid = pid, .wait_status = status, .error = error, .cpu_ns = cpu_ns, .value = value};
    if (text) snprintf(notice.text, sizeof notice.text, "%s", text);
    send_message(line >= 0 ? line : control, &notice, sizeof notice, 0, 0);
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
    fault_open(PLAN_FD);
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

/* What an execve could give back; the zygote keeps the capabilities that it uses. */
static void drop_bounding_set(void) {
    if (!GUARD("bounding-set")) return;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int number = 0; number <= LAST_CAPABILITY; number++)
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) && errno == EINVAL) break;
}

/* Install the base filter in the zygote: every child inherits it. 0 or -errno. */
int gr_install(const void *filter, int length) {
    drop_bounding_set();
    if ((GUARD("no-new-privileges") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) || (GUARD("undumpable") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))) return -errno;
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

static void on_child(int number) { (void)number; }

/* Say that the zygote is warm, with its address space. From now on the end of a child wakes it, and only while it waits. */
void gr_ready(void) {
    struct sigaction action = {.sa_handler = on_child};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &awake);
    sigdelset(&awake, SIGCHLD);
    sigaction(SIGCHLD, &action, NULL);
    notify(NOTICE_READY, 0, 0, 0, 0, measure_address_space(), NULL);
}

/* The image: the zygote's writable memory, moved into a file in memory that is mapped privately in the same place.
 *
 * Forking copies the page table of anonymous memory, page by page, and the end of the child takes it down again. Of a file's private mapping
 * only the pages that were written since are copied; the others are found when they are touched. The content is the same, and a child can't
 * reach the file: its descriptor is closed, what it writes is its own. Left alone are the stack and this library, which are in use.
 * It pays for interpreters that imported much; in a small one, finding the pages again costs what copying the table did. */
#define LEAST_IMAGE (16u << 20)

struct piece { uint64_t start, size; };

static int read_pieces(int proc, struct piece *pieces, int most) {
    static char text[1 << 17];
    size_t got = 0;
    int count = 0, fd = openat(proc < 0 ? AT_FDCWD : proc, proc < 0 ? "/proc/self/maps" : "self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    for (ssize_t part; got < sizeof text - 1 && (part = read(fd, text + got, sizeof text - 1 - got)) > 0;) got += (size_t)part;
    close(fd);
    text[got] = 0;
    for (char *at = text, *end; count < most && (end = strchr(at, '\n')); at = end + 1) {
        unsigned long start, stop;
        char flags[5] = "", *name = NULL;
        int used = 0;
        *end = 0;
        if (sscanf(at, "%lx-%lx %4s %*s %*s %*s %n", &start, &stop, flags, &used) < 3) continue;
        name = at + used;
        if (strcmp(flags, "rw-p") || strstr(name, "guest.so") || (name[0] == '[' && strcmp(name, "[heap]"))) continue;
        if (start <= (unsigned long)pieces && (unsigned long)pieces < stop) continue;
        pieces[count++] = (struct piece){start, stop - start};
    }
    return count;
}

/* Move the image if it is large. `proc`: a descriptor of /proc, or -1 for the one that there is. The number of pieces moved, or -errno: what
 * can't be moved stays, slower and as right. */
int gr_make_image(int proc) {
    static struct piece pieces[512];
    int count = read_pieces(proc, pieces, 512), moved = 0;
    uint64_t at = 0, all = 0;
    for (int i = 0; i < count; i++) all += pieces[i].size;
    if (count < 0 || all < LEAST_IMAGE) return count < 0 ? count : 0;
    const int file = memfd_create("image", MFD_CLOEXEC);
    if (file < 0) return -errno;
    for (int i = 0; i < count; i++) {
        const struct piece *piece = &pieces[i];
        uint64_t done = 0;
        for (ssize_t part; done < piece->size; done += (uint64_t)part)
            if ((part = pwrite(file, (char *)(uintptr_t)piece->start + done, piece->size - done, (off_t)(at + done))) <= 0) break;
        if (done < piece->size) continue;
        const int rights = PROT_READ | PROT_WRITE;
        if (mmap((void *)(uintptr_t)piece->start, piece->size, rights, MAP_PRIVATE | MAP_FIXED, file, (off_t)at) == MAP_FAILED) continue;
        at += piece->size;
        moved++;
    }
    close(file);
    return moved;
}

/* Say that the zygote can't serve, and why. */
void gr_refuse(int error, const char *text) { notify(NOTICE_FAILED, 0, 0, error, 0, 0, text); }

/* Reap and tell every child that ended. */
static void reap(void) {
    for (;;) {
        siginfo_t ended = {.si_pid = 0};
        struct rusage usage;
        int status = 0, i = 0;
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT | __WALL) || !ended.si_pid) return;
        while (i < MAX_CHILDREN && children[i] != ended.si_pid) i++;
        /* At rung landlock the whole session is one process group that nothing can leave (tail filter); it dies at once, while its leader, not
         * reaped yet, keeps the number from meaning anything else. */
        if (!namespaces && i < MAX_CHILDREN && GUARD("group-kill")) kill(-ended.si_pid, SIGKILL);
        if (wait4(ended.si_pid, &status, __WALL, &usage) != ended.si_pid) return;
        if (i == MAX_CHILDREN) continue; /* no program can make itself siblings; a slot must not wait for one all the same */
        children[i] = 0;
        uint64_t cpu = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                       ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
        notify(NOTICE_ENDED, ended.si_pid, status, 0, cpu, 0, NULL);
    }
}

/* Wait until a child is wanted, and aim the next fork at its slot; reap meanwhile. Copies the name of the guest to load. 1; 2 when it can't be
 * done, which the warden was told; 0 at the end of the stream; -errno. */
int gr_wait(char *guest) {
    struct pollfd source = {.fd = control, .events = POLLIN};
    reap();
    while (ppoll(&source, 1, NULL, &awake) < 0) {
        if (errno != EINTR) return -errno;
        reap();
    }
    place_count = receive_message(control, &wanted, sizeof wanted, places);
    if (place_count < 0) return errno ? -errno : 0;
    if (wanted.version != VERSION || place_count != 2) return -EPROTO;
    memcpy(guest, wanted.guest, GUEST_NAME);
    guest[GUEST_NAME - 1] = 0;
    if (namespaces && GUARD("pid-namespace") && syscall(SYS_setns, places[0], CLONE_NEWPID)) {
        notify(NOTICE_FAILED, 0, 0, errno, 0, wanted.serial, "joining the slot's pid namespace");
        close_all(places, place_count);
        return 2;
    }
    return 1;
}

/* In the zygote, after the fork: say what came of it, a child or an errno. */
void gr_forked(int pid, int error) {
    int i = 0;
    if (FAULT("zygote.forked")) _exit(1);
    close_all(places, place_count);
    while (i < MAX_CHILDREN - 1 && children[i]) i++;
    if (pid > 0) children[i] = pid;
    if (pid > 0) notify(NOTICE_PREPARED, pid, 0, 0, 0, wanted.serial, NULL);
    else notify(NOTICE_FAILED, 0, 0, error, 0, wanted.serial, "fork");
}

static void limit(int resource, uint64_t value, const char *name) {
    struct rlimit now, wanted = {value, value};
    if (!GUARD(name)) wanted.rlim_cur = wanted.rlim_max = value = RLIM_INFINITY; /* as much as the host gives */
    if (getrlimit(resource, &now)) give_up(name);
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
    if (setrlimit(resource, &wanted)) give_up(name);
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    if (GUARD("capabilities") && syscall(SYS_capset, &head, none)) give_up("capset");
}

/* In the child, ahead of its order: enter the slot and give up every right. Doesn't return when a guard can't be had. */
void gr_settle(const char *work) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    line = places[1];
    if (namespaces && syscall(SYS_setns, places[0], CLONE_NEWNS | (GUARD("ipc-namespace") ? CLONE_NEWIPC : 0))) give_up("setns");
    if (FAULT("child.slot")) give_up("entering the slot");
    if (cgroup_count && write(cgroups[wanted.group % (uint32_t)cgroup_count], "0", 1) != 1) give_up("joining the cgroup");
    int own = fcntl(line, F_DUPFD_CLOEXEC, 64), rules = fcntl(ruleset, F_DUPFD_CLOEXEC, 64);
    if (own < 0 || rules < 0 || dup3(own, LINE_FD, O_CLOEXEC) < 0 || (line = LINE_FD, dup3(rules, JOB_FD, O_CLOEXEC)) < 0) give_up("dup");
    close(CHANNEL_FD);
    if (GUARD("closed-descriptors") && syscall(SYS_close_range, LINE_FD + 1, ~0u, 0)) give_up("close_range");
    if (GUARD("own-session") && setsid() < 0) give_up("setsid");
    umask(022);
    limit(RLIMIT_CORE, 0, "RLIMIT_CORE");
    limit(RLIMIT_MEMLOCK, 65536, "RLIMIT_MEMLOCK");
    limit(RLIMIT_MSGQUEUE, 65536, "RLIMIT_MSGQUEUE");
    limit(RLIMIT_SIGPENDING, 1024, "RLIMIT_SIGPENDING"); /* timers and queued signals count for the user, across namespaces */
    limit(RLIMIT_NICE, 0, "RLIMIT_NICE");
    limit(RLIMIT_RTPRIO, 0, "RLIMIT_RTPRIO");
    if (wanted.uid) {
        if (syscall(SYS_setgroups, 0, NULL) || setresgid(wanted.uid, wanted.uid, wanted.uid) || setresuid(wanted.uid, wanted.uid, wanted.uid))
            give_up("changing the user");
    }
    if (chdir(work)) give_up("entering the working folder");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) give_up("prctl");
    if (GUARD("landlock-domain") && syscall(SYS_LANDLOCK_RESTRICT, JOB_FD, 0)) give_up("landlock");
    close(JOB_FD);
    drop_capabilities();
    if (FAULT("child.settled")) give_up("settling");
}

/* In the child: wait for the order and become the program. Copies the guest's name. Returns the address of the report region; the job is at
 * descriptor 4, the channel at 3 or -1 in *channel. Doesn't return without an order, nor when a guard can't be had. */
void *gr_begin(int *channel, char *guest) {
    struct order order;
    int fds[MAX_FDS], count = receive_message(line, &order, sizeof order, fds);
    if (count < 5) _exit(124); /* nobody wants a child any more */
    const int has_channel = !!(order.flags & HAS_CHANNEL), may_fork = !!(order.flags & MAY_FORK);
    memcpy(guest, order.guest, GUEST_NAME);
    guest[GUEST_NAME - 1] = 0;
    void *region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[4], 0);
    if (region == MAP_FAILED) give_up("mapping the report");
    for (int i = 0; i < count; i++)
        if (fds[i] <= LINE_FD && (fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, LINE_FD + 1)) < 0) give_up("fcntl");
    if (dup2(fds[1], 0) < 0 || dup2(fds[2], 1) < 0 || dup2(fds[3], 2) < 0 || dup3(fds[0], JOB_FD, O_CLOEXEC) < 0) give_up("dup");
    if (has_channel ? dup3(fds[5], CHANNEL_FD, O_CLOEXEC) < 0 : (close(CHANNEL_FD), 0)) give_up("dup");
    *channel = has_channel ? CHANNEL_FD : -1;
    if (FAULT("child.begun")) give_up("beginning");
    limit(RLIMIT_AS, order.address_space, "RLIMIT_AS");
    limit(RLIMIT_FSIZE, order.file_size, "RLIMIT_FSIZE");
    limit(RLIMIT_STACK, order.stack, "RLIMIT_STACK");
    limit(RLIMIT_NOFILE, order.descriptors, "RLIMIT_NOFILE");
    limit(RLIMIT_CPU, order.cpu_s, "RLIMIT_CPU");
    if (order.user_processes) limit(RLIMIT_NPROC, order.user_processes, "RLIMIT_NPROC");
    if (tail_lengths[may_fork]) {
        const uint32_t self = (uint32_t)syscall(SYS_getpid);
        for (int i = 0; i < tail_lengths[may_fork]; i++)
            if (tails[may_fork][i].k == self_marker) tails[may_fork][i].k = self;
        if (install(tails[may_fork], tail_lengths[may_fork])) give_up("seccomp");
    }
    if (FAULT("child.guarded")) give_up("seccomp");
    notify(NOTICE_STARTED, 0, 0, 0, 0, 0, NULL);
    if (GUARD("closed-descriptors") && syscall(SYS_close_range, LINE_FD, ~0u, 0)) _exit(125);
    return region;
}

static void *branch_place[5];
static int branch_error;

static int fork_between(void *unused) {
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) __builtin_longjmp(branch_place, 1);
    branch_error = pid < 0 ? errno : 0;
    syscall(SYS_exit, 0);
    return 0;
}

/* Fork so that the child is not this process's: the one between ends at once, and whoever adopts orphans gets the child. The one between
 * shares this process's memory while this process waits, as after vfork, so that page tables are copied once.
 * 0 in the child, 1 in this process, -errno. */
int gr_branch(void) {
    static char stack[65536] __attribute__((aligned(64)));
    if (__builtin_setjmp(branch_place)) return 0;
    branch_error = 0;
    pid_t between = clone(fork_between, stack + sizeof stack, CLONE_VM | CLONE_VFORK, NULL); /* no signal: it is no child that a cell made */
    if (between < 0) return -errno;
    while (waitpid(between, NULL, __WALL) < 0 && errno == EINTR) {}
    return branch_error ? -branch_error : 1;
}
