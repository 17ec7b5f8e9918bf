/* The warden: one process per lane that builds the jail and outlives its user just long enough to remove everything.
 *
 * Rung namespaces: this process makes the cgroup and the read-only root, starts the jail (pid 1 of new user, pid, network, ipc,
 * uts and mount namespaces, under an outside uid other than 0), and then only waits: for the jail's end, or for the host's.
 * Rung landlock: no namespaces; this process serves by itself, as subreaper of what it starts.
 *
 * All policy comes on the command line from engine/warden.py; nothing here decides what a program may do. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

#define INSIDE_UID 1000
#define LEAST_DESCRIPTORS 256 /* what a program gets, and more than any process of ours has */

static struct policy policy;
static struct guards guards;
int unnamed; /* see warden.h */

static void add_mount(enum mount_kind kind, const char *source, const char *target) {
    if (policy.mount_count == MAX_PATHS) fail("more than %d paths", MAX_PATHS);
    policy.mounts[policy.mount_count++] = (struct mount_entry){kind, source, target};
}

static void parse(int count, char **words) {
    struct standing_files *files = &policy.files[0]; /* those that follow "--group N" are of group N */
    policy.control = policy.host = policy.proc = -1;
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (!strcmp(word, "--")) {
            policy.zygote = words + i + 1;
            return;
        }
        if (i + 1 >= count) break;
        const char *value = words[++i];
        if (!strcmp(word, "--rung")) policy.namespaces = !strcmp(value, "namespaces");
        else if (!strcmp(word, "--control")) set_failure_socket(policy.control = atoi(value));
        else if (!strcmp(word, "--host")) policy.host = atoi(value);
        else if (!strcmp(word, "--processes-shown")) policy.processes_shown = atoi(value);
        else if (!strcmp(word, "--uid")) policy.uid = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(word, "--policy")) policy.zygote_policy = atoi(value);
        else if (!strcmp(word, "--folder")) policy.folder = value;
        else if (!strcmp(word, "--hide")) add_mount(MOUNT_HIDE, value, value);
        else if (!strcmp(word, "--cgroup") && policy.cgroup_count < MAX_CGROUPS) {
            policy.cgroups[policy.cgroup_count++] = value;
            policy.joined_count = policy.cgroup_count;
        } else if (!strcmp(word, "--zygote-cgroup") && policy.cgroup_count < MAX_CGROUPS) policy.cgroups[policy.cgroup_count++] = value;
        else if (!strcmp(word, "--group") && atoi(value) >= 0 && atoi(value) < GROUPS) files = &policy.files[atoi(value)];
        else if (!strcmp(word, "--cpu-file")) files->cpu = value;
        else if (!strcmp(word, "--memory-limit")) files->memory_limit = value;
        else if (!strcmp(word, "--memory-peak")) files->memory_peak = value;
        else if (!strcmp(word, "--memory-current")) files->memory_current = value;
        else if (!strcmp(word, "--memory-events")) files->memory_events = value;
        else if (!strcmp(word, "--pids-limit")) files->pids_limit = value;
        else if (!strcmp(word, "--pids-events")) files->pids_events = value;
        else if (!strcmp(word, "--pids-current")) files->pids_current = value;
        else if (!strcmp(word, "--env") && policy.environment_count < 63) policy.environment[policy.environment_count++] = (char *)value;
        else if (i + 1 < count && !strcmp(word, "--set") && policy.setting_count < MAX_CGROUPS) {
            policy.settings[policy.setting_count][0] = value;
            policy.settings[policy.setting_count++][1] = words[++i];
        } else if (i + 1 < count && !strcmp(word, "--bind")) add_mount(MOUNT_BIND, value, words[++i]);
        else if (i + 1 < count && !strcmp(word, "--symlink")) add_mount(MOUNT_SYMLINK, value, words[++i]);
        else if (i + 1 < count && !strcmp(word, "--file")) add_mount(MOUNT_FILE, value, words[++i]);
        else break;
    }
    errno = EINVAL;
    fail("the warden's command line is not understood");
}

static void write_proc(pid_t pid, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "%d/%s", pid, name);
    int fd = openat(policy.proc, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write_whole(fd, text)) fail("writing %s of the jail", name);
    close(fd);
}

static void write_map(pid_t pid, const char *name, uint32_t inside, uint32_t outside) {
    char text[64];
    snprintf(text, sizeof text, "%u %u 1", inside, outside);
    write_proc(pid, name, text);
}

/* Become root of a user namespace of our own when we are not privileged: what follows needs mounts. */
static void gain_namespaces(void) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if ((policy.uid || !GUARD("user-namespace")) && !unshare(CLONE_NEWNS)) return;
    policy.uid = 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) fail("unshare(CLONE_NEWUSER | CLONE_NEWNS) is refused");
    write_proc(getpid(), "setgroups", "deny");
    write_map(getpid(), "uid_map", 0, uid);
    write_map(getpid(), "gid_map", 0, gid);
}

/* Mount a procfs of the jail's process namespace at its /proc: read-only, nothing but processes, and of these only what the reader may
 * inspect. The kernel allows a new procfs only beside one that is wholly visible: so it is made in the mount namespace `outside`,
 * where the host's still is, by a process of the jail's namespace, and carried in. Nothing of the host's procfs enters the jail. */
static void show_processes(int jail, int outside) {
    int status = 0;
    pid_t helper = fork();
    if (helper == 0) {
        if (setns(jail, CLONE_NEWPID)) fail("joining the jail's processes");
        pid_t inside = fork();
        if (inside == 0) {
            int made, files;
            if (setns(outside, CLONE_NEWNS)) fail("showing processes: setns");
            if ((files = (int)syscall(SYS_fsopen, "proc", 1 /* CLOEXEC */)) < 0) fail("showing processes: fsopen");
            if (syscall(SYS_fsconfig, files, 1 /* SET_STRING */, "hidepid", "invisible", 0) || syscall(SYS_fsconfig, files, 1, "subset", "pid", 0) ||
                syscall(SYS_fsconfig, files, 6 /* CREATE */, NULL, NULL, 0))
                fail("showing processes: fsconfig");
            if ((made = (int)syscall(SYS_fsmount, files, 1, 1 | 2 | 4 | 8 /* RDONLY, NOSUID, NODEV, NOEXEC */)) < 0) fail("showing processes: fsmount");
            if (setns(jail, CLONE_NEWNS)) fail("showing processes: setns");
            if (syscall(SYS_move_mount, made, "", AT_FDCWD, "/proc", 4 /* F_EMPTY_PATH */)) fail("showing processes: move_mount");
            _exit(0);
        }
        if (inside < 0 || waitpid(inside, &status, 0) != inside || status) _exit(1);
        _exit(0);
    }
    if (helper < 0 || waitpid(helper, &status, 0) != helper || status) _exit(1); /* the helper has said why */
}

static void run_jail(int go) __attribute__((noreturn));
static void run_jail(int go) {
    char byte;
    set_cleanup(NULL); /* the warden outside removes what it made */
    if (read(go, &byte, 1) != 1) _exit(1);
    setgroups(0, NULL); /* refused where the map came from an unprivileged user, who has no groups to shed there */
    if (GUARD("user-namespace") && (setresgid(INSIDE_UID, INSIDE_UID, INSIDE_UID) || setresuid(INSIDE_UID, INSIDE_UID, INSIDE_UID))) fail("becoming the jail's user");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || (GUARD("undumpable") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) || (GUARD("no-new-privileges") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))) fail("prctl");
    if (read(go, &byte, 1) != 1) _exit(1); /* the warden was still there after PDEATHSIG was set */
    close(go);
    prctl(PR_SET_NAME, "groundrun-jail", 0, 0, 0);
    if (FAULT("jail.start")) fail("starting the jail");
    if (GUARD("uts-namespace") && sethostname("groundrun", 9)) {
        if (errno != EPERM) fail("sethostname");
        unnamed = errno; /* a filter that ties the call to a capability of the host's; told, and no reason to give up a rung */
    }
    policy.host = -1; /* that process is watched by the warden outside */
    serve(&policy, &guards);
}

static void guard_jail(int outside) __attribute__((noreturn));
static void guard_jail(int outside) {
    int go[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go)) fail("socketpair");
    const int flags = (GUARD("user-namespace") ? CLONE_NEWUSER : 0) | (GUARD("pid-namespace") ? CLONE_NEWPID : 0) | (GUARD("net-namespace") ? CLONE_NEWNET : 0) |
                      (GUARD("ipc-namespace") ? CLONE_NEWIPC : 0) | (GUARD("uts-namespace") ? CLONE_NEWUTS : 0) | CLONE_NEWNS | SIGCHLD;
    pid_t jail = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (jail < 0) fail("clone with new namespaces is refused");
    if (jail == 0) {
        close(go[0]);
        run_jail(go[1]);
    }
    close(go[1]);
    if (!policy.uid && GUARD("user-namespace")) write_proc(jail, "setgroups", "deny");
    if (GUARD("user-namespace")) write_map(jail, "uid_map", INSIDE_UID, policy.uid);
    if (GUARD("user-namespace")) write_map(jail, "gid_map", INSIDE_UID, policy.uid);
    int watch = open_pidfd(jail);
    if (watch < 0) fail("pidfd_open");
    if (policy.processes_shown) show_processes(watch, outside);
    if (write(go[0], "g", 1) != 1 || write(go[0], "g", 1) != 1) fail("starting the jail");
    close(policy.control);
    struct pollfd sources[2] = {{.fd = watch, .events = POLLIN}, {.fd = policy.host, .events = POLLIN}};
    while (poll(sources, 2, -1) < 0 && errno == EINTR) {}
    kill(jail, SIGKILL);
    while (waitpid(jail, NULL, 0) < 0 && errno == EINTR) {}
    remove_cgroups();
    _exit(0);
}

/* What a lane needs doesn't depend on what the host's process has left for itself. */
static void allow_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) fail("getrlimit");
    errno = EMFILE;
    if (limit.rlim_max < LEAST_DESCRIPTORS)
        fail("a process may have no more than %llu descriptors: raise the hard limit (ulimit -Hn) to %d", (unsigned long long)limit.rlim_max, LEAST_DESCRIPTORS);
    limit.rlim_cur = limit.rlim_max < 4 * LEAST_DESCRIPTORS ? limit.rlim_max : 4 * LEAST_DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit)) fail("setrlimit");
}

int main(int count, char **words) {
    parse(count, words);
    allow_descriptors();
    /* Nothing of the host's: an ignored SIGCHLD would lose every exit status, a blocked SIGALRM every alarm of a program. */
    sigset_t nothing;
    sigemptyset(&nothing);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &nothing, NULL);
    umask(022);
    prctl(PR_SET_NAME, "groundrun-warden", 0, 0, 0);
    write_file("/proc/self/oom_score_adj", "500"); /* when the host runs out of memory, a candidate goes before its user's process */
    set_cleanup(remove_cgroups);
    fault_open(-1);
    if (FAULT("warden.start")) fail("starting");
    open_guards(&policy, &guards);
    if (policy.namespaces) {
        policy.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (policy.proc < 0) fail("opening /proc");
        gain_namespaces();
        int outside = -1;
        if (policy.processes_shown && ((outside = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)) < 0 || unshare(CLONE_NEWNS)))
            fail("keeping the mount namespace");
        if (FAULT("warden.root")) fail("mounting");
        build_root(&policy);
        guard_jail(outside);
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("prctl");
    if (mkdir(policy.folder, 0711)) fail("making %s", policy.folder);
    serve(&policy, &guards);
}
