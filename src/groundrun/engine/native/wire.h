/* The wire format between host, warden, zygote and children: fixed structs over SOCK_SEQPACKET, descriptors beside them.
 *
 *   host    -> warden   struct request  + job, stdin, stdout, stderr, report [, channel] [, collect_in, collect_out]
 *   warden  -> host     struct reply
 *
 * While a run lasts the host may cancel it, renew its limits (they then count from now; answered by what it used so far), and
 * interrupt one of its processes (`target` is its pid as it sees itself).
 *
 *   warden  -> zygote   struct prepare  + slot, the child's line
 *   zygote  -> warden   struct notice   PREPARED, ENDED, or FAILED when no child came of it
 *   warden  -> child    struct order    + job, stdin, stdout, stderr, report [, channel], over the child's line
 *   child   -> warden   struct notice   STARTED, the last word before the job is read, or FAILED
 *
 * A child is prepared ahead of its order: it is in its slot, behind its guards, when the job comes. The zygote never sees a job's descriptors.
 *
 *   warden <-> init     struct command  READY, then each order and its answer [+ collect_in, collect_out]
 *
 * Each struct is followed by the CRC-32 of its bytes: what was garbled on the way is no message.
 *
 * All integers are in the machine's order and naturally aligned; the host's side is engine/wire.py, which must agree
 * (VERSION is checked in the first reply). Times are nanoseconds, sizes bytes.
 */
#ifndef GROUNDRUN_WIRE_H
#define GROUNDRUN_WIRE_H

#include <stdint.h>

#define VERSION 2u
#define GUEST_NAME 96
#define TEXT 160
#define MAX_FDS 8

enum request_kind { REQUEST_RUN = 1, REQUEST_CANCEL = 2, REQUEST_RENEW = 3, REQUEST_INTERRUPT = 4 };
enum reply_kind { REPLY_READY = 1, REPLY_DONE = 2, REPLY_FAILED = 3, REPLY_RENEWED = 4 };
enum notice_kind { NOTICE_READY = 1, NOTICE_STARTED = 2, NOTICE_ENDED = 3, NOTICE_FAILED = 4, NOTICE_PREPARED = 5 };
enum command_kind { COMMAND_READY = 0, COMMAND_RESIZE = 1, COMMAND_COLLECT = 2, COMMAND_INTERRUPT = 3 };
enum ended_by { BY_ITSELF = 0, BY_CPU = 1, BY_WALL = 2, BY_CANCEL = 3, BY_DISK = 4 };
enum flags { HAS_CHANNEL = 1, HAS_COLLECT = 2, MAY_FORK = 4 };

struct request {
    uint32_t version, kind;
    uint64_t id;
    uint64_t cpu_ns, wall_ns, grace_ns;
    uint64_t memory, address_space, file_size, disk, inodes, stack;
    uint32_t processes, user_processes, flags, descriptors, cpu_s, target; /* user_processes: RLIMIT_NPROC, 0 for none; target: INTERRUPT */
    char guest[GUEST_NAME];
};

struct reply {
    uint32_t version, kind;
    uint64_t id;
    int32_t wait_status, error;
    uint32_t ended_by, measured_by_cgroup;
    uint64_t cpu_ns, wall_ns, memory_peak, oom_kills, process_refusals;
    uint64_t baseline; /* READY: address space of the zygote */
    char text[TEXT];
};

struct prepare {
    uint32_t version, serial, group, uid; /* group: which of the cgroups that programs join, in turn; uid: 0 to stay who it is */
    char guest[GUEST_NAME];               /* to be loaded before the fork; empty for none */
};

struct order {
    uint32_t version, flags;
    uint64_t address_space, file_size, stack;
    uint32_t user_processes, descriptors, cpu_s, pad;
    char guest[GUEST_NAME];
};

struct notice {
    uint32_t version, kind;
    int32_t pid, wait_status, error, pad;
    uint64_t cpu_ns, value; /* READY: address space; ENDED: cpu_ns of the child; PREPARED and the zygote's FAILED: the serial */
    char text[TEXT];
};

struct command {
    uint32_t what;
    int32_t error;
    uint64_t disk, inodes; /* COLLECT: the budget in bytes; INTERRUPT: the pid */
};

#endif
