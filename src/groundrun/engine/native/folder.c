/* Slots of rung landlock: a private folder, and a family of processes found and killed one by one. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "warden.h"

#define MAX_PROCESSES 8192

static int make_one(const char *path, uint32_t uid) {
    if (mkdir(path, 0700)) return -1;
    return uid ? lchown(path, uid, uid) : 0;
}

int make_folder(const char *path, uint32_t uid) {
    char text[4096];
    if (mkdir(path, 0711)) return -1;
    snprintf(text, sizeof text, "%s/work", path);
    if (make_one(text, uid)) return -1;
    snprintf(text, sizeof text, "%s/branches", path);
    if (make_one(text, uid)) return -1;
    snprintf(text, sizeof text, "%s/tmp", path);
    return make_one(text, uid);
}

/* Empty a folder whatever its depth, with one open folder at a time: nothing in it runs any more. */
static void empty_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    size_t depth = 0;
    while (fd >= 0) {
        DIR *folder = fdopendir(dup(fd));
        struct dirent *entry;
        char below[256] = "";
        if (!folder) break;
        rewinddir(folder);
        while ((entry = readdir(folder))) {
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
            if (!unlinkat(fd, entry->d_name, 0) || !unlinkat(fd, entry->d_name, AT_REMOVEDIR)) continue;
            if (errno == ENOTEMPTY || errno == EEXIST) {
                snprintf(below, sizeof below, "%s", entry->d_name);
                break;
            }
        }
        closedir(folder);
        int next;
        if (below[0]) {
            next = openat(fd, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next < 0 && !fchmodat(fd, below, 0700, 0)) next = openat(fd, below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            depth++;
        } else if (depth) {
            next = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            depth--;
        } else
            next = -1;
        close(fd);
        fd = next;
    }
    if (fd >= 0) close(fd);
}

static void in_each(const char *path, void (*act)(const char *)) {
    char text[4096];
    snprintf(text, sizeof text, "%s/work", path);
    act(text);
    snprintf(text, sizeof text, "%s/branches", path);
    act(text);
    snprintf(text, sizeof text, "%s/tmp", path);
    act(text);
}

void wipe_folder(const char *path) { in_each(path, empty_folder); }

static void remove_one(const char *path) {
    empty_folder(path);
    rmdir(path);
}

void remove_folder(const char *path) {
    in_each(path, remove_one);
    rmdir(path);
}

static uint64_t measure_at(int fd, uint64_t enough, int depth) {
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat what;
    uint64_t sum = 0;
    if (!folder) {
        if (fd >= 0) close(fd);
        return 0;
    }
    while (sum <= enough && (entry = readdir(folder))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (fstatat(dirfd(folder), entry->d_name, &what, AT_SYMLINK_NOFOLLOW)) continue;
        sum += (uint64_t)what.st_blocks * 512 + 512; /* every entry costs something, so that empty files count too */
        if (S_ISDIR(what.st_mode)) {
            int below = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            /* nobody nests so deep, or shuts himself out, by accident: stop measuring, stop the program */
            if (depth > 200 || (below < 0 && errno == EACCES)) sum = enough + 1;
            if (depth > 200 && below >= 0) close(below);
            else sum += measure_at(below, enough, depth + 1);
        }
    }
    closedir(folder);
    return sum;
}

uint64_t measure_folder(const char *path, uint64_t enough) {
    return measure_at(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), enough, 0);
}

int collect_from_folder(const char *path, uint32_t uid, int in, int out, uint64_t budget) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) { /* as the program's user, so that a hard link gives nothing that the program couldn't read */
        char text[4096];
        snprintf(text, sizeof text, "%s/work", path);
        if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) _exit(1);
        int folder = open(text, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _exit(folder >= 0 && collect_files(folder, in, out, budget) ? (errno ? errno : EIO) : 0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (pid > 0) errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    return pid < 0 || status ? -1 : 0;
}

static pid_t parent_of(pid_t pid) {
    char path[64], text[512], *at;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t got = read_fd(fd, text, sizeof text);
    close(fd);
    if (got <= 0 || !(at = strrchr(text, ')')) || strlen(at) < 5 || at[2] == 'Z') return -1; /* a zombie has no children and no harm left */
    return (pid_t)strtol(at + 4, NULL, 10);
}

/* Kill every process that descends from this one, the zygote and the next child spared. Returns how many were found. */
static int kill_descendants(pid_t zygote, pid_t spare) {
    static pid_t pids[MAX_PROCESSES], parents[MAX_PROCESSES];
    int count = 0, found = 0;
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    if (!folder) return 0;
    while (count < MAX_PROCESSES && (entry = readdir(folder)))
        if (isdigit((unsigned char)entry->d_name[0])) {
            pids[count] = (pid_t)strtol(entry->d_name, NULL, 10);
            parents[count] = parent_of(pids[count]);
            count++;
        }
    closedir(folder);
    for (int i = 0; i < count; i++) {
        pid_t at = pids[i];
        int steps = 0;
        if (at == zygote || at == spare) continue;
        while (at > 1 && at != getpid() && steps++ < count) {
            int j = 0;
            while (j < count && pids[j] != at) j++;
            at = j < count ? parents[j] : 0;
        }
        if (at == getpid() && pids[i] != at) {
            kill(pids[i], SIGKILL);
            found++;
        }
    }
    return found;
}

static uint64_t reap_family(pid_t zygote) {
    struct rusage usage;
    uint64_t sum = 0;
    siginfo_t next = {.si_pid = 0};
    while (!waitid(P_ALL, 0, &next, WEXITED | WNOHANG | WNOWAIT | __WALL) && next.si_pid && next.si_pid != zygote) {
        if (wait4(next.si_pid, NULL, __WALL, &usage) > 0)
            sum += ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                   ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
        next.si_pid = 0;
    }
    return sum;
}

uint64_t kill_family(pid_t child, int may_fork, pid_t zygote, pid_t spare) {
    if (child > 0) kill(child, SIGKILL);
    if (!may_fork) return 0;
    uint64_t sum = 0;
    /* The zygote killed the program's process group, which nothing leaves; this finds what is still on its way out, and reaps it. */
    for (int round = 0; round < 1000; round++) {
        int left = kill_descendants(zygote, spare);
        sum += reap_family(zygote);
        if (!left) break;
        usleep(1000);
    }
    return sum;
}
