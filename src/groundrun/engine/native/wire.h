/* The wire format between host, warden and zygote: fixed structs over SOCK_SEQPACKET, descriptors beside them.
 *
 *   host    -> warden   struct request  + job, stdin, stdout, stderr, report [, channel] [, collect_in, collect_out]
 *   warden  -> host     struct reply
 *
 * While a run lasts the host may cancel it, renew its limits (they then count from now; answered by what it used so far), and
 * interrupt one of its processes (`target` is its pid as it sees itself).
 *
 *   warden  -> zygote   struct order    + slot, job, stdin, stdout, stderr, report [, channel]
 *   zygote  -> warden   struct notice
 *
 * All integers are in the machine's order and naturally aligned; the host's side is engine/warden.py, which must agree
 * (VERSION is checked in the first reply). Times are nanoseconds, sizes bytes.
 */
#ifndef GROUNDRUN_WIRE_H
#define GROUNDRUN_WIRE_H

#include <stdint.h>

#define VERSION 1u
#define GUEST_NAME 96
#define TEXT 160
#define MAX_FDS 8

enum request_kind { REQUEST_RUN = 1, REQUEST_CANCEL = 2, REQUEST_RENEW = 3, REQUEST_INTERRUPT = 4 };
enum reply_kind { REPLY_READY = 1, REPLY_DONE = 2, REPLY_FAILED = 3, REPLY_RENEWED = 4 };
enum notice_kind { NOTICE_READY = 1, NOTICE_STARTED = 2, NOTICE_ENDED = 3, NOTICE_FAILED = 4 };
enum ended_by { BY_ITSELF = 0, BY_CPU = 1, BY_WALL = 2, BY_CANCEL = 3, BY_DISK = 4 };
enum flags { HAS_CHANNEL = 1, HAS_COLLECT = 2, MAY_FORK = 4, TELL_START = 8 };

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

struct order {
    uint32_t version, flags;
    uint64_t address_space, file_size, stack;
    uint32_t user_processes, descriptors, cpu_s, uid;
    char guest[GUEST_NAME];
};

struct notice {
    uint32_t version, kind;
    int32_t pid, wait_status, error, pad;
    uint64_t cpu_ns, value; /* READY: address space; ENDED: cpu_ns of the child, value: of the zygote since the last; FAILED: 1 when no child follows */
    char text[TEXT];
};

#endif
