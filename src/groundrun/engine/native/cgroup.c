/* The standing cgroup of a worker: made once, joined by every program, read around every run.
 *
 * Joining costs a program a tenth of a millisecond a folder. So a folder that doesn't bound memory is joined by the zygote instead, once,
 * and inherited; what the zygote uses is then taken off. Memory's is not: the zygote must not be what the kernel kills when a program
 * uses too much; of these there are two, which successive programs join in turn, before their time counts. Both versions; the host says which files exist. The warden outside the jail makes and removes the folders. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "warden.h"

static int parents[MAX_CGROUPS]; /* folders that hold ours, kept open: paths mean nothing after the pivot */
static const char *names[MAX_CGROUPS];
static int made = 0;

static int open_one(const char *path, int flags) {
    if (!path) return -1;
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) fail("opening %s", path);
    return fd;
}

static void open_group(const struct standing_files *files, struct standing *group) {
    group->cpu = open_one(files->cpu, O_RDONLY);
    group->memory_limit = open_one(files->memory_limit, O_RDWR);
    /* a peak that can't be reset (version 2 before Linux 6.12) is not the run's, so it is not known */
    group->memory_peak = files->memory_peak ? open(files->memory_peak, O_RDWR | O_CLOEXEC) : -1;
    if (group->memory_peak >= 0 && write_fd(group->memory_peak, "0")) {
        close(group->memory_peak);
        group->memory_peak = -1;
    }
    group->memory_current = open_one(files->memory_current, O_RDONLY);
    group->memory_events = open_one(files->memory_events, O_RDONLY);
    group->pids_limit = open_one(files->pids_limit, O_RDWR);
    group->pids_events = open_one(files->pids_events, O_RDONLY);
    group->pids_current = open_one(files->pids_current, O_RDONLY);
}

void open_guards(const struct policy *policy, struct guards *guards) {
    char path[4096];
    guards->procs_count = 0;
    guards->joined_count = policy->joined_count;
    for (int i = 0; i < policy->cgroup_count; i++) {
        const struct standing_files *first = &policy->files[0];
        snprintf(path, sizeof path, "%s", policy->cgroups[i]);
        char *slash = strrchr(path, '/');
        if (!slash) fail("%s is not a path", path);
        *slash = 0;
        names[made] = policy->cgroups[i] + (slash - path) + 1;
        parents[made] = open_one(path, O_PATH | O_DIRECTORY);
        if (mkdirat(parents[made], names[made], 0755) && errno != EEXIST) fail("making the cgroup %s", policy->cgroups[i]);
        made++;
        /* version 1 has a file for one thread, which is all that a child is: joining by it stops no fork elsewhere on the host */
        snprintf(path, sizeof path, "%s/tasks", policy->cgroups[i]);
        int joining = open(path, O_WRONLY | O_CLOEXEC);
        snprintf(path, sizeof path, "%s/cgroup.procs", policy->cgroups[i]);
        guards->procs[guards->procs_count++] = joining < 0 ? open_one(path, O_WRONLY) : joining;
        size_t length = strlen(policy->cgroups[i]);
        if (i < policy->joined_count) continue;
        guards->zygote_in_cpu |= first->cpu && !strncmp(first->cpu, policy->cgroups[i], length);
        guards->zygote_in_pids |= first->pids_current && !strncmp(first->pids_current, policy->cgroups[i], length);
    }
    for (int i = 0; i < policy->setting_count; i++)
        if (write_file(policy->settings[i][0], policy->settings[i][1]) && errno != ENOENT) fail("writing %s", policy->settings[i][0]);
    for (int i = 0; i < GROUPS; i++) open_group(&policy->files[i], &guards->groups[i]);
}

/* Remove the folders; waits up to two seconds for the dead to leave them. */
void remove_cgroups(void) {
    for (int i = 0; i < made; i++)
        for (int tries = 0; tries < 200 && unlinkat(parents[i], names[i], AT_REMOVEDIR) && errno == EBUSY; tries++) usleep(10000);
}

void set_limit(int fd, uint64_t wanted, uint64_t *now) {
    char text[32];
    if (fd < 0 || *now == wanted) return;
    snprintf(text, sizeof text, "%llu", (unsigned long long)wanted);
    if (write_fd(fd, text)) {
        /* version 1 refuses a limit below what dead pages still hold: what they hold goes first */
        usleep(20000);
        if (write_fd(fd, text)) fail("setting a cgroup limit to %s", text);
    }
    *now = wanted;
}

uint64_t count_in(int fd, const char *key) {
    char text[2048], *at;
    size_t length = strlen(key);
    if (fd < 0 || read_fd(fd, text, sizeof text) <= 0) return 0;
    for (at = text; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (!strncmp(at, key, length) && at[length] == ' ') return strtoull(at + length + 1, NULL, 10);
    return 0;
}

uint64_t cpu_used(const struct standing *group) {
    char text[64];
    if (group->cpu < 0) return 0;
    uint64_t microseconds = count_in(group->cpu, "usage_usec"); /* cpu.stat of version 2 */
    if (microseconds) return microseconds * 1000;
    return read_fd(group->cpu, text, sizeof text) > 0 ? strtoull(text, NULL, 10) : 0; /* cpuacct.usage of version 1 */
}

int is_deserted(const struct standing *group, int others) {
    char text[32];
    return group->pids_current >= 0 && read_fd(group->pids_current, text, sizeof text) > 0 && atoi(text) == others;
}
