/* One run after another: order the zygote, watch the clock and the processor time, kill, count, answer.
 *
 * At rung namespaces this is pid 1 of the worker's jail; at rung landlock it is the warden itself. It never reads a job's bytes:
 * descriptors pass through. The host's end of the socket closing means that nobody waits: everything ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "warden.h"
#include "weak.h"
#include "wire.h"

#define DISK_PERIOD (50 * MILLISECOND)
#define FINEST_LOOK (2 * MILLISECOND)  /* how closely processor time is watched near its limit */
#define SETTLED (4u << 20)              /* what a standing cgroup holds at rest, generously: kernel memory of its own */
#define MAX_GUESTS 32
#define MANY 8
#define BEGUN_BY (500ull * MILLISECOND) /* a child that has its order and did not begin by then is not late by any limit of its program */
#define OTHERS 2 /* processes of ours that count with the program's: the zygote and the next child */
#define NOTHING_HEARD ((FAULTS ? 3000ull : 60000ull) * MILLISECOND) /* a zygote that neither starts nor refuses a child for so long is broken */

/* A child that waits for an order: in its slot where there are slots, behind its guards, on a line of its own. */
struct stand {
    struct slot slot;
    pid_t child;     /* 0 until the zygote said it */
    int line, asked, dead, known, group; /* known: how many guests the zygote had loaded when it forked this one */
    uint32_t serial;
};

static const struct policy *policy;
static struct guards *guards;
static const struct stand nobody = {.slot = {.pidfd = -1, .control = -1}, .line = -1};
static struct stand current, spare;                      /* the one in use; the next one, prepared while a program runs */
static struct slot dying = {.pidfd = -1, .control = -1}; /* the last one, killed, not reaped yet */
static int zygote_socket = -1;
static pid_t zygote;
static char folder[4096];
static char guests[MAX_GUESTS][GUEST_NAME]; /* those that the zygote was told to load */
static int guest_count;
static uint32_t serial;
static int stillborn; /* children in a row that ended before their order: after MANY the next one waits until it is needed */
static long cores = 1;

/* What is known of the run in progress. */
struct run {
    struct request request;
    uint64_t started, memory_before, cpu_before, zygote_before, child_before, cpu_at_end, cpu_limit, next_look, deadline, ended;
    uint64_t oom_before, refusals_before; /* counts of a cgroup's whole life */
    uint32_t ended_by;
    int over, wait_status;
    const char *unsafe;
    int error;
    char text[TEXT];
};

/* Rung landlock: nothing of ours may stay, whatever the reason to end. */
static void remove_everything(void) {
    if (zygote > 0) kill(zygote, SIGKILL);
    kill_family(0, 1, 0, 0);
    remove_folder(folder);
    rmdir(policy->folder);
    remove_cgroups();
}

static void end_everything(void) __attribute__((noreturn));
static void end_everything(void) {
    if (!policy->namespaces) remove_everything();
    _exit(0); /* as pid 1 of the jail: the kernel kills the rest */
}

/* ns; 0 for a process that is gone. */
static uint64_t cpu_of(pid_t pid) {
    struct timespec used;
    if (pid <= 0 || clock_gettime((clockid_t)((~(unsigned)pid << 3) | 2), &used)) return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static struct standing *group_now(void) { return &guards->groups[current.group]; }

/* What the program used, without what the zygote and the child that it prepares meanwhile did in the same cgroup. */
static uint64_t slot_cpu(const struct run *run) {
    if (group_now()->cpu < 0) {
        uint64_t used = cpu_of(current.child);
        return used > run->child_before ? used - run->child_before : 0;
    }
    uint64_t used = cpu_used(group_now()) - run->cpu_before, ours = 0;
    if (guards->zygote_in_cpu) ours = cpu_of(zygote) - run->zygote_before + cpu_of(spare.child);
    return used > ours ? used - ours : 0;
}

static void kill_run(struct run *run, uint32_t why) {
    if (run->ended_by == BY_ITSELF) run->ended_by = why;
    if (!GUARD("pid-namespace") && current.child > 0) kill(current.child, SIGKILL);
    if (policy->namespaces) {
        kill_slot(&current.slot); /* a child that has not entered its slot yet finds it dead and gives up */
    } else if (current.child > 0)
        kill(current.child, SIGKILL);
}

/* Bring a stand to its end, without waiting for what is in its slot. */
static void leave(struct stand *stand) {
    if (stand->line >= 0) close(stand->line); /* a child that still waits ends by it */
    if (dying.init) end_slot(&dying);
    kill_slot(&stand->slot);
    dying = stand->slot;
    *stand = nobody;
}

/* The zygote's word; `run` is NULL between runs. */
static void take_notice(struct run *run) {
    struct notice notice;
    int none[MAX_FDS];
    if (receive_message(zygote_socket, &notice, sizeof notice, none) < 0) {
        errno = 0;
        fail("the zygote ended");
    }
    struct stand *stand = NULL, *const both[] = {&current, &spare};
    for (int i = 0; i < 2; i++)
        if (both[i]->asked && (notice.kind == NOTICE_ENDED ? both[i]->child == notice.pid : both[i]->serial == notice.value)) stand = both[i];
    if (!stand) return; /* of one that was given up */
    switch (notice.kind) {
        case NOTICE_PREPARED:
            if (notice.pid <= 1 || stand->child) {
                errno = EPROTO;
                fail("the zygote named no child, or two");
            }
            stand->child = notice.pid;
            if (stand == &current && run && run->ended_by != BY_ITSELF) kill_run(run, run->ended_by);
            break;
        case NOTICE_ENDED:
            stand->dead = 1;
            if (stand == &current && run) {
                run->over = 1;
                run->wait_status = notice.wait_status;
                run->cpu_at_end = notice.cpu_ns;
            }
            break;
        case NOTICE_FAILED: /* no child follows */
            stand->dead = 1;
            if (stand == &current && run) {
                run->over = 1;
                run->unsafe = run->text;
                run->error = notice.error;
                snprintf(run->text, sizeof run->text, "%.120s", notice.text);
            }
            break;
        default:
            errno = EPROTO;
            fail("the zygote said something unknown");
    }
}

/* What the child said on its way to the program: that it began, or why it could not. Silence is our fault, unless it was ended by someone who
 * no longer wanted it, or by a limit before it could be expected to begin. */
static void take_last_word(struct run *run) {
    struct notice notice = {.kind = 0};
    struct pollfd waiting = {.fd = current.line, .events = POLLIN};
    int none[MAX_FDS], got = -1;
    if (run->unsafe) return;
    for (int tries = 0; tries < 2 && got < 0 && poll(&waiting, 1, 0) > 0; tries++) /* an order that nobody read is an error, told once */
        got = receive_message(current.line, &notice, sizeof notice, none);
    if (notice.kind == NOTICE_STARTED) {
        stillborn = 0;
        return;
    }
    const int early = run->ended_by == BY_CANCEL || run->ended - run->started < BEGUN_BY;
    if (run->ended_by != BY_ITSELF && notice.kind != NOTICE_FAILED && early) return;
    run->unsafe = run->text;
    run->error = notice.error;
    snprintf(run->text, sizeof run->text, "%.120s", notice.kind == NOTICE_FAILED ? notice.text : "the child ended before it began");
}

/* A run whose files did not all come back is no run. */
static void miss_files(struct run *run) {
    run->unsafe = run->text;
    run->error = errno;
    snprintf(run->text, sizeof run->text, "its files could not be collected");
}

static uint64_t peak_memory(const struct run *run) {
    char text[64];
    if (group_now()->memory_peak < 0 || read_fd(group_now()->memory_peak, text, sizeof text) <= 0) return 0;
    uint64_t peak = strtoull(text, NULL, 10);
    return peak > run->memory_before ? peak - run->memory_before : 1;
}

/* Limits count from `now`, on top of the processor time that was used before. */
static void set_limits(struct run *run, const struct request *request, uint64_t now, uint64_t used) {
    run->cpu_limit = used + (GUARD("processor-clock") ? request->cpu_ns : 1ull << 60);
    run->next_look = now + request->cpu_ns / (uint64_t)cores;
    run->deadline = now + (GUARD("wall-clock") ? request->wall_ns : 1ull << 60);
}

static void renew(struct run *run, const struct request *request) {
    uint64_t now = now_ns(), used = slot_cpu(run);
    struct reply reply = {.version = VERSION, .kind = REPLY_RENEWED, .id = run->request.id, .cpu_ns = used, .wall_ns = now - run->started};
    reply.memory_peak = peak_memory(run);
    reply.oom_kills = count_in(group_now()->memory_events, "oom_kill") - run->oom_before;
    reply.process_refusals = count_in(group_now()->pids_events, "max") - run->refusals_before;
    set_limits(run, request, now, used);
    if (send_message(policy->control, &reply, sizeof reply, NULL, 0)) end_everything();
}

/* At rung landlock nothing leaves the group that the program leads; elsewhere pids are those of the slot. */
static void interrupt(pid_t target) {
    if (target <= 1) return;
    if (policy->namespaces) slot_interrupt(&current.slot, target);
    else if (current.child > 0 && getpgid(target) == current.child) kill(target, SIGINT);
}

static void take_request_while_running(struct run *run) {
    struct request request;
    int fds[MAX_FDS], count = receive_message(policy->control, &request, sizeof request, fds);
    if (count < 0) {
        kill_run(run, BY_CANCEL);
        end_everything();
    }
    close_all(fds, count);
    if (request.id != run->request.id || run->ended_by != BY_ITSELF) return; /* a run that is being ended answers by its end */
    if (request.kind == REQUEST_RENEW) renew(run, &request);
    else if (request.kind == REQUEST_INTERRUPT) interrupt((pid_t)request.target);
    else if (request.kind == REQUEST_CANCEL) {
        uint64_t deadline = now_ns() + request.grace_ns;
        if (deadline < run->deadline) {
            run->deadline = deadline;
            run->request.grace_ns = 1; /* marks that the deadline is a cancellation */
        }
    }
}

/* What the last run left must not count against the next: its slot goes first, and what is still charged gets a moment to be given back. */
static uint64_t settle_memory(void) {
    char text[32];
    uint64_t used = 0;
    const int fd = group_now()->memory_current;
    if (fd < 0) return 0;
    for (int round = 0; round < 200; round++) {
        if (read_fd(fd, text, sizeof text) <= 0) return 0;
        used = strtoull(text, NULL, 10);
        if (used <= SETTLED) break;
        if (dying.init) end_slot(&dying);
        else usleep(1000);
    }
    return used;
}

static void watch(struct run *run) {
    uint64_t next_disk = run->started + DISK_PERIOD, heard_by = run->started + NOTHING_HEARD;
    while (!run->over) {
        uint64_t now = now_ns(), until = run->deadline;
        if (run->ended_by != BY_ITSELF || run->unsafe) until = heard_by;
        else {
            if (now >= run->deadline) {
                kill_run(run, run->request.grace_ns == 1 ? BY_CANCEL : BY_WALL);
                heard_by = now + NOTHING_HEARD;
                continue;
            }
            if (now >= run->next_look) {
                uint64_t used = slot_cpu(run);
                if (used >= run->cpu_limit) {
                    kill_run(run, BY_CPU);
                    heard_by = now + NOTHING_HEARD;
                    continue;
                }
                uint64_t step = used < run->cpu_limit ? (run->cpu_limit - used) / (uint64_t)cores : 0;
                run->next_look = now + (step < FINEST_LOOK ? FINEST_LOOK : step);
            }
            if (!policy->namespaces && now >= next_disk && GUARD("measured-folder")) {
                if (measure_folder(folder, run->request.disk) > run->request.disk) {
                    kill_run(run, BY_DISK);
                    heard_by = now + NOTHING_HEARD;
                    continue;
                }
                next_disk = now_ns() + DISK_PERIOD;
            }
            if (run->next_look < until) until = run->next_look;
            if (!policy->namespaces && next_disk < until) until = next_disk;
        }
        if (now > heard_by && run->ended_by != BY_ITSELF) {
            errno = 0;
            fail("a killed run did not end");
        }
        struct pollfd sources[2] = {{.fd = zygote_socket, .events = POLLIN}, {.fd = policy->control, .events = POLLIN}};
        int ready = poll(sources, 2, timeout_ms(until));
        if (ready < 0 && errno != EINTR) fail("poll");
        if (ready <= 0) continue;
        if (sources[0].revents) take_notice(run);
        if (!run->over && sources[1].revents) take_request_while_running(run);
    }
}

/* Where a guest's name stands among those that the zygote knows, from 1 on; 0 when it doesn't. */
static int find_guest(const char *name) {
    for (int i = 0; i < guest_count; i++)
        if (!strncmp(guests[i], name, GUEST_NAME)) return i + 1;
    return 0;
}

/* A slot and a child in it that waits for an order; the zygote loads `guest` first. 0, or -1 with errno: nothing is left then. */
static int prepare(struct stand *stand, const char *guest, uint64_t disk, uint64_t inodes) {
    struct prepare order = {.version = VERSION, .serial = ++serial, .group = serial % GROUPS, .uid = policy->namespaces ? 0 : policy->uid};
    int ends[2];
    *stand = nobody;
    if (policy->namespaces && make_slot(&stand->slot, disk, inodes)) return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
        end_slot(&stand->slot);
        return -1;
    }
    memcpy(order.guest, guest, GUEST_NAME);
    if (!find_guest(guest) && guest_count < MAX_GUESTS) memcpy(guests[guest_count++], guest, GUEST_NAME);
    stand->line = ends[0];
    stand->asked = 1;
    stand->known = guest_count;
    stand->serial = order.serial;
    stand->group = (int)order.group;
    const int passed[2] = {policy->namespaces ? stand->slot.pidfd : zygote_socket, ends[1]}; /* a place holder keeps the positions on both rungs */
    if (send_message(zygote_socket, &order, sizeof order, passed, 2)) fail("ordering the zygote");
    close(ends[1]);
    return 0;
}

/* What can wait until a program runs or nothing is asked: reap the last slot, prepare the next child. Failing to is no fault yet. */
static void tidy(const struct request *request) {
    if (dying.init) end_slot(&dying);
    if (spare.dead) stillborn++;
    if (spare.dead || (policy->namespaces && spare.asked && !slot_is_alive(&spare.slot))) leave(&spare);
    if (!spare.asked && stillborn < MANY && prepare(&spare, request->guest, request->disk, request->inodes)) spare = nobody;
}

/* Wait until the zygote said what came of the next child, so that it can be told from what a program left. */
static void meet_spare(void) {
    struct pollfd said = {.fd = zygote_socket, .events = POLLIN};
    while (spare.asked && !spare.child && !spare.dead) {
        const int ready = poll(&said, 1, (int)(NOTHING_HEARD / MILLISECOND));
        if (ready > 0) take_notice(NULL);
        else if (ready == 0) {
            errno = 0;
            fail("the zygote prepared no child");
        }
    }
}

/* Make `current` a child that can carry out the request. */
static void take_stand(const struct request *request) {
    const int known = find_guest(request->guest);
    struct pollfd said = {.fd = zygote_socket, .events = POLLIN};
    while (spare.asked && poll(&said, 1, 0) > 0) take_notice(NULL);
    int good = spare.asked && !spare.dead && known && known <= spare.known;
    if (good && policy->namespaces) good = slot_is_alive(&spare.slot) && !slot_resize(&spare.slot, request->disk, request->inodes);
    if (!good && spare.asked) leave(&spare);
    if (!good && prepare(&spare, request->guest, request->disk, request->inodes)) fail("making a slot");
    current = spare;
    spare = nobody;
}

static void answer(struct run *run, uint64_t reaped_cpu) {
    struct reply reply = {.version = VERSION, .kind = REPLY_DONE, .id = run->request.id, .wait_status = run->wait_status};
    reply.ended_by = run->ended_by;
    reply.wall_ns = run->ended - run->started;
    reply.cpu_ns = (run->cpu_at_end > run->child_before ? run->cpu_at_end - run->child_before : 0) + reaped_cpu;
    if (group_now()->cpu >= 0) {
        uint64_t used = slot_cpu(run);
        if (used > reply.cpu_ns) reply.cpu_ns = used;
        reply.measured_by_cgroup = 1;
    }
    reply.memory_peak = peak_memory(run);
    reply.oom_kills = count_in(group_now()->memory_events, "oom_kill") - run->oom_before;
    reply.process_refusals = count_in(group_now()->pids_events, "max") - run->refusals_before;
    if (run->unsafe && run->ended_by != BY_CANCEL) {
        reply.kind = REPLY_FAILED;
        reply.error = run->error;
        snprintf(reply.text, sizeof reply.text, "the run could not be carried out: %.110s", run->text);
    }
    if (send_message(policy->control, &reply, sizeof reply, NULL, 0)) {
        end_everything();
    }
}

static void carry_out(struct run *run, int *fds, int count) {
    const struct request *request = &run->request;
    const int wanted = 5 + !!(request->flags & HAS_CHANNEL) + 2 * !!(request->flags & HAS_COLLECT);
    const int given = 5 + !!(request->flags & HAS_CHANNEL);
    struct order order = {.version = VERSION, .flags = request->flags, .address_space = request->address_space, .file_size = request->file_size,
                          .stack = request->stack, .user_processes = request->user_processes, .descriptors = request->descriptors, .cpu_s = request->cpu_s};
    if (count != wanted) {
        errno = EPROTO;
        fail("a request with %d descriptors instead of %d", count, wanted);
    }
    memcpy(order.guest, request->guest, GUEST_NAME);
    if (FAULT("run.taken")) fail("taking a run");
    take_stand(request);
    struct standing *group = group_now(), *counted = guards->zygote_in_pids ? &guards->groups[0] : group;
    set_limit(group->memory_limit, request->memory, &group->memory_limit_now);
    set_limit(counted->pids_limit, request->processes + (guards->zygote_in_pids ? OTHERS : 0), &counted->pids_limit_now);
    run->memory_before = settle_memory();
    if (group->memory_peak >= 0) write_fd(group->memory_peak, "0");
    run->oom_before = count_in(group->memory_events, "oom_kill");
    run->refusals_before = count_in(group->pids_events, "max");
    run->zygote_before = guards->zygote_in_cpu ? cpu_of(zygote) : 0;
    run->cpu_before = cpu_used(group);
    run->child_before = cpu_of(current.child);
    run->started = now_ns();
    set_limits(run, request, run->started, 0);
    send_message(current.line, &order, sizeof order, fds, given); /* to one that is gone: its last word says why */
    if (request->flags & HAS_CHANNEL) close_all(fds + 5, 1); /* so that the other side sees the end when the program ends */
    tidy(request);
    watch(run);
    run->ended = now_ns();
    if (FAULT("run.over")) fail("ending a run");
    take_last_word(run);
    uint64_t reaped = 0;
    const int may_fork = !!(request->flags & MAY_FORK), collect = !!(request->flags & HAS_COLLECT);
    if (policy->namespaces) {
        const int others = guards->zygote_in_pids ? 1 + (spare.child > 0 && !spare.dead) : 0;
        if (collect && run->ended_by == BY_ITSELF && slot_collect(&current.slot, fds[count - 2], fds[count - 1], request->disk)) miss_files(run);
        if (collect || run->ended_by != BY_ITSELF || (may_fork && !is_deserted(group, others)))
            reaped = end_slot(&current.slot); /* no stray may write into what the host reads */
    } else {
        if (may_fork) meet_spare();
        if (GUARD("family-hunt")) reaped = kill_family(current.child, may_fork, zygote, spare.child);
        if (run->ended_by == BY_ITSELF && GUARD("measured-folder") && measure_folder(folder, request->disk) > request->disk) run->ended_by = BY_DISK;
        if (collect && collect_from_folder(folder, policy->uid, fds[count - 2], fds[count - 1], request->disk)) miss_files(run);
    }
    close_all(fds, count);
    answer(run, reaped);
    leave(&current); /* whatever it held is given back while the next request is read */
    if (!policy->namespaces && GUARD("wiped-folder")) wipe_folder(folder);
}

void serve(const struct policy *the_policy, struct guards *the_guards) {
    struct reply ready = {.version = VERSION, .kind = REPLY_READY};
    const struct request first = {.disk = 64u << 20, .inodes = 16384};
    policy = the_policy;
    guards = the_guards;
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    if (!policy->namespaces) {
        snprintf(folder, sizeof folder, "%s/slot", policy->folder);
        set_cleanup(remove_everything);
        if (make_folder(folder, policy->uid)) fail("making the working folder");
    }
    current = spare = nobody;
    zygote = start_zygote(policy, guards, &zygote_socket);
    tidy(&first);
    await_zygote(zygote, zygote_socket, policy->host, &ready);
    ready.error = unnamed;
    if (send_message(policy->control, &ready, sizeof ready, NULL, 0)) end_everything();
    struct request last = first;
    for (;;) {
        struct pollfd sources[3] = {
            {.fd = policy->control, .events = POLLIN}, {.fd = zygote_socket, .events = POLLIN}, {.fd = policy->host, .events = POLLIN}};
        int waiting = poll(sources, 3, 0);
        if (waiting == 0) {
            tidy(&last);
            waiting = poll(sources, 3, -1);
        }
        if (waiting < 0) continue;
        if (sources[2].revents) {
            end_everything();
        }
        if (sources[1].revents) {
            take_notice(NULL);
            continue;
        }
        struct run run;
        int fds[MAX_FDS];
        memset(&run, 0, sizeof run);
        int count = receive_message(policy->control, &run.request, sizeof run.request, fds);
        if (count < 0) {
            end_everything();
        }
        if (run.request.version != VERSION) {
            errno = EPROTO;
            fail("a request of version %u", run.request.version);
        }
        if (run.request.kind == REQUEST_RUN) {
            last = run.request;
            carry_out(&run, fds, count);
        } else close_all(fds, count);
    }
}
