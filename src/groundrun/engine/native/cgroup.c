/* The standing cgroup of a worker: made once, joined by every program, read around every run.
 *
 * Joining costs a program a tenth of a millisecond a folder. So a folder that doesn't bound memory is joined by the zygote instead, once,
 * and inherited; what the zygote uses is then taken off. Memory's is not: the zygote must not be what the kernel kills when a program
 * uses too much. Both versions; the host says which files exist. The warden outside the jail makes and removes the folders. */
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

void open_guards(const struct policy *policy, struct guards *guards) {
    char path[4096];
    guards->procs_count = 0;
    guards->joined_count = policy->joined_count;
    for (int i = 0; i < policy->cgroup_count; i++) {
        snprintf(path, sizeof path, "%s", policy->cgroups[i]);
        char *slash = strrchr(path, '/');
        if (!slash) fail("%s is not a path", path);
        *slash = 0;
        names[made] = policy->cgroups[i] + (slash - path) + 1;
        parents[made] = open_one(path, O_PATH | O_DIRECTORY);
        if (mkdirat(parents[made], names[made], 0755) && errno != EEXIST) fail("making the cgroup %s", policy->cgroups[i]);
        made++;
        snprintf(path, sizeof path, "%s/cgroup.procs", policy->cgroups[i]);
        guards->procs[guards->procs_count++] = open_one(path, O_WRONLY);
        size_t length = strlen(policy->cgroups[i]);
        if (i < policy->joined_count) continue;
        guards->zygote_in_cpu |= policy->cpu_file && !strncmp(policy->cpu_file, policy->cgroups[i], length);
        guards->zygote_in_pids |= policy->pids_current && !strncmp(policy->pids_current, policy->cgroups[i], length);
    }
    for (int i = 0; i < policy->setting_count; i++)
        if (write_file(policy->settings[i][0], policy->settings[i][1]) && errno != ENOENT) fail("writing %s", policy->settings[i][0]);
    guards->cpu = open_one(policy->cpu_file, O_RDONLY);
    guards->memory_limit = open_one(policy->memory_limit, O_RDWR);
    /* a peak that can't be reset (version 2 before Linux 6.12) is not the run's, so it is not known */
    guards->memory_peak = policy->memory_peak ? open(policy->memory_peak, O_RDWR | O_CLOEXEC) : -1;
    if (guards->memory_peak >= 0 && write_fd(guards->memory_peak, "0")) {
        close(guards->memory_peak);
        guards->memory_peak = -1;
    }
    guards->memory_current = open_one(policy->memory_current, O_RDONLY);
    guards->memory_events = open_one(policy->memory_events, O_RDONLY);
    guards->pids_limit = open_one(policy->pids_limit, O_RDWR);
    guards->pids_events = open_one(policy->pids_events, O_RDONLY);
    guards->pids_current = open_one(policy->pids_current, O_RDONLY);
}

/* Remove the folders; waits up to two seconds for the dead to leave them. */
void remove_cgroups(void) {
    for (int i = 0; i < made; i++)
        for (int tries = 0; tries < 200 && unlinkat(parents[i], names[i], AT_REMOVEDIR) && errno == EBUSY; tries++) usleep(10000);
}

uint64_t count_in(int fd, const char *key) {
    char text[2048], *at;
    size_t length = strlen(key);
    if (fd < 0 || read_fd(fd, text, sizeof text) <= 0) return 0;
    for (at = text; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (!strncmp(at, key, length) && at[length] == ' ') return strtoull(at + length + 1, NULL, 10);
    return 0;
}

uint64_t cpu_used(const struct guards *guards) {
    char text[64];
    if (guards->cpu < 0) return 0;
    uint64_t microseconds = count_in(guards->cpu, "usage_usec"); /* cpu.stat of version 2 */
    if (microseconds) return microseconds * 1000;
    return read_fd(guards->cpu, text, sizeof text) > 0 ? strtoull(text, NULL, 10) : 0; /* cpuacct.usage of version 1 */
}

int is_deserted(const struct guards *guards) {
    char text[32];
    return guards->pids_current >= 0 && read_fd(guards->pids_current, text, sizeof text) > 0 && atoi(text) == guards->zygote_in_pids;
}
