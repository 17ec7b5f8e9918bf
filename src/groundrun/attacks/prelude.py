"""What every attack program begins with: where its canaries are, a way to try things, and a name by which strays are found.

`attempt(name, action)` tries and tells; `kernel(name, number, ...)` does so for a system call by its number, past any wrapper of libc.
The process calls itself `scene["mark"]`, which its children inherit, so that whatever outlives the run can be seen from outside.
"""

from __future__ import annotations

PRELUDE = r"""
import ctypes, errno, json, os, sys, time
scene = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(15, scene["mark"].encode(), 0, 0, 0)

def say(**facts):
    os.write(1, json.dumps(facts).encode() + b"\n")

def attempt(name, action):
    try:
        result = action()
    except BaseException as error:
        number = getattr(error, "errno", None)
        say(**{name: {"refused": errno.errorcode.get(number, type(error).__name__)}})
        return None
    say(**{name: {"done": result if isinstance(result, (int, str)) else True}})
    return result

def system_call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

_X86 = os.uname().machine == "x86_64"
def number(name):
    return CALLS[name][0 if _X86 else 1]

CALLS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "clone": (56, 220), "clone3": (435, 435), "fsopen": (430, 430), "open_tree": (428, 428), "move_mount": (429, 429),
    "mount_setattr": (442, 442), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "tkill": (200, 130),
    "prlimit64": (302, 261), "ioprio_set": (251, 30), "sched_setattr": (314, 274), "sched_setscheduler": (144, 119),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "io_uring_setup": (425, 425), "bpf": (321, 280), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "perf_event_open": (298, 241), "kexec_load": (246, 104),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "memfd_secret": (447, 447),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "syslog": (103, 116),
    "reboot": (169, 142),
    "swapon": (167, 224), "acct": (163, 89), "quotactl": (179, 60), "personality": (135, 92), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "vmsplice": (278, 75),
    "get_robust_list": (274, 100), "lookup_dcookie": (212, 18), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "mq_open": (240, 180), "msgget": (68, 186), "semget": (64, 190), "setxattr": (188, 5), "truncate": (76, 45), "openat2": (437, 437),
    "getpid": (39, 172), "fchmodat2": (452, 452), "file_setattr": (469, 469), "setxattrat": (463, 463), "statmount": (457, 457),
    "listmount": (458, 458), "lsm_set_self_attr": (460, 460),
    "io_setup": (206, 0), "inotify_init1": (294, 26), "sync": (162, 81),
    "open_tree_attr": (467, 467), "set_mempolicy_home_node": (450, 450),
}

def kernel(name, *arguments, label=None):
    return attempt(label or name, lambda: system_call(number(name), *arguments))

say(began=True)
"""
