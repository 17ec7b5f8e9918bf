/* What the parts of the warden share: the policy as the host gave it on the command line, and the slot in use. */
#ifndef GROUNDRUN_WARDEN_H
#define GROUNDRUN_WARDEN_H

#include <stdint.h>
#include <sys/types.h>

#define MAX_PATHS 1024
#define MAX_CGROUPS 4
#define GROUPS 2
#define SLOT "/run/slot"

enum mount_kind { MOUNT_BIND, MOUNT_SYMLINK, MOUNT_FILE, MOUNT_HIDE };

struct mount_entry {
    enum mount_kind kind;
    const char *source, *target; /* symlink: its text and place; file: its content and place; hide: place twice */
};

struct policy {
    int namespaces;          /* 1: rung namespaces, 0: rung landlock */
    int processes_shown;     /* 1: programs find their own processes below /proc (rung namespaces) */
    int control, host;       /* socket to the host; pidfd of the host's process */
    uint32_t uid;            /* the uid outside; 0: keep the caller's */
    struct mount_entry mounts[MAX_PATHS];
    int mount_count;
    const char *folder;      /* rung landlock: where slots live, made and removed by the warden */
    const char *cgroups[MAX_CGROUPS]; /* folders to make; the first `joined_count` are joined by programs in turn, the rest once by the zygote */
    int cgroup_count, joined_count;
    struct standing_files { const char *cpu, *memory_limit, *memory_peak, *memory_current, *memory_events, *pids_limit, *pids_events, *pids_current; } files[GROUPS];
    const char *settings[MAX_CGROUPS][2]; /* file and what to write to it, once */
    int setting_count;
    char **zygote;           /* argument vector of the zygote */
    int zygote_policy;       /* a memfd with what the zygote is told */
    int proc;                /* the host's /proc, which the new root doesn't have; -1 at rung landlock, where it can be opened */
    char *environment[64];
    int environment_count;
};

/* Descriptors of a standing cgroup's files, -1 where it has none. Two groups take turns, so that the child that is prepared for the next run
 * isn't charged to this one. A file that both have (of a folder that the zygote joined) has a descriptor in each. */
struct standing {
    int cpu, memory_limit, memory_peak, memory_current, memory_events, pids_limit, pids_events, pids_current;
    uint64_t memory_limit_now, pids_limit_now;
};

struct guards {
    int procs[MAX_CGROUPS], procs_count, joined_count;
    int zygote_in_cpu, zygote_in_pids; /* what the zygote and the next child use is to be taken off */
    struct standing groups[GROUPS];
};

struct slot {
    pid_t init;    /* 0 at rung landlock */
    int pidfd, control;
    uint64_t disk, inodes;
};

/* cgroup.c */
void open_guards(const struct policy *policy, struct guards *guards);
void remove_cgroups(void);
uint64_t cpu_used(const struct standing *group);                        /* ns; 0 without a guard */
int is_deserted(const struct standing *group, int others);              /* 1: known that only so many others are in it */
uint64_t count_in(int fd, const char *key);                          /* "key N" in a file, or 0 */
void set_limit(int fd, uint64_t wanted, uint64_t *now);              /* of a cgroup, unless it stands already; ends this process when it can't */
/* root.c: build the read-only root and make it this mount namespace's. */
void build_root(const struct policy *policy);
/* slot.c */
int make_slot(struct slot *slot, uint64_t disk, uint64_t inodes);    /* 0 or -1 with errno */
int slot_is_alive(const struct slot *slot);
int slot_resize(struct slot *slot, uint64_t disk, uint64_t inodes);
int slot_collect(struct slot *slot, int in, int out, uint64_t budget);
int slot_interrupt(struct slot *slot, pid_t target);                 /* SIGINT to a process of the slot, by its pid there */
void kill_slot(const struct slot *slot);                             /* everything in it is dying; end_slot must follow */
uint64_t end_slot(struct slot *slot);                                /* kill everything in it; CPU ns of what its init reaped */
int collect_files(int folder, int in, int out, uint64_t budget);     /* 0 or -1 with errno */
/* folder.c: slots of rung landlock. The folders `work`, `tmp` and `branches` (of sessions) stand as long as the lane: landlock's rules hold
 * for them, not for what lies above, so that no program can put another folder in their place. */
int make_folder(const char *path, uint32_t uid);
void wipe_folder(const char *path);                                  /* empty them */
void remove_folder(const char *path);
uint64_t measure_folder(const char *path, uint64_t enough);
int collect_from_folder(const char *path, uint32_t uid, int in, int out, uint64_t budget); /* 0 or -1 with errno */
uint64_t kill_family(pid_t child, int may_fork, pid_t zygote, pid_t spare); /* CPU ns of what was reaped */
/* warden.c: errno when the jail kept the host's name, else 0. */
extern int unnamed;
/* zygote.c */
struct reply;
pid_t start_zygote(const struct policy *policy, const struct guards *guards, int *line); /* its pid; `line` gets our end of its socket */
/* Ends this process, with the reason told, if it doesn't come; also when the host, a pidfd or -1, ends meanwhile. */
void await_zygote(pid_t zygote, int line, int host, struct reply *ready);
/* serve.c: one run after another until the host goes. */
void serve(const struct policy *policy, struct guards *guards) __attribute__((noreturn));

#endif
