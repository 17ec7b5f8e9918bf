"""A host that gives less: makes conditions in this process alone, then becomes the command.

    python hosts.py CONDITION[,CONDITION...] COMMAND...

Each condition is real: a namespace of its own with its own sysctls and mounts, or a seccomp filter. Nothing of the host changes.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys

NEWUSER, NEWNS = 0x10000000, 0x20000
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95
ALLOW, REFUSE = 0x7FFF0000, 0x50000
ALL_UIDS = "0 0 4294967295"
ARCHES = {
    "x86_64": (
        0xC000003E,
        {"unshare": 272, "clone": 56, "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308, "sethostname": 170},
    ),
    "aarch64": (0xC00000B7, {"unshare": 97, "clone": 220, "mount": 40, "umount2": 39, "pivot_root": 41, "setns": 268, "sethostname": 161}),
}
AUDIT, CALLS = ARCHES[os.uname().machine]
CALLS |= {"clone3": 435, "mount_setattr": 442, "landlock_create_ruleset": 444, "pidfd_open": 434}

libc = ctypes.CDLL(None, use_errno=True)


def must(result: int) -> None:
    """The call succeeded."""
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def put(path: str, text: str) -> None:
    """Write all at once, as the files of /proc want it."""
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def enter_user_namespace(*, whole: bool) -> None:
    """As its root: over all uids, which takes root outside, or over the own one."""
    uid, gid, me = os.getuid(), os.getgid(), os.getpid()
    if not whole:
        must(libc.unshare(NEWUSER))
        put("/proc/self/setgroups", "deny")
        put("/proc/self/uid_map", f"0 {uid} 1")
        put("/proc/self/gid_map", f"0 {gid} 1")
        return
    ready, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        os.read(ready, 1)
        put(f"/proc/{me}/uid_map", ALL_UIDS)
        put(f"/proc/{me}/gid_map", ALL_UIDS)
        os._exit(0)
    must(libc.unshare(NEWUSER))
    os.write(go, b"x")
    os.waitpid(helper, 0)


def filter_calls(errnos: dict[str, int], *, namespaces_by_clone: bool = False) -> None:
    """A seccomp filter that answers these calls with these errnos, and clone with flags of namespaces with EPERM."""
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT), (0x06, 0, 0, ALLOW), (0x20, 0, 0, 0)]
    for name, number in errnos.items():
        program += [(0x15, 0, 1, CALLS[name]), (0x06, 0, 0, REFUSE | number)]
    if namespaces_by_clone:
        program += [(0x15, 0, 3, CALLS["clone"]), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000), (0x06, 0, 0, REFUSE | EPERM)]
    program.append((0x06, 0, 0, ALLOW))
    data = b"".join(struct.pack("HBBI", *each) for each in program)
    space = ctypes.create_string_buffer(data)
    head = struct.pack("HxxxxxxP", len(program), ctypes.addressof(space))
    must(libc.prctl(38, 1, 0, 0, 0))
    must(libc.prctl(22, 2, head, 0, 0))


def mount(*words: str) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *words], check=True, timeout=20)


def own_mounts() -> None:
    """From now on, what is mounted is mounted for this process only."""
    must(libc.unshare(NEWNS))
    mount("--make-rprivate", "/")


def no_user_namespaces() -> None:
    """As RHEL 7 is shipped, seen by an ordinary user."""
    enter_user_namespace(whole=False)
    put("/proc/sys/user/max_user_namespaces", "0")


def no_network_namespaces() -> None:
    """As root of a container whose sysctl is 0."""
    enter_user_namespace(whole=True)
    put("/proc/sys/user/max_net_namespaces", "0")


def limited_from_above() -> None:
    """A container whose own sysctls allow everything, inside one that allows nothing more."""
    enter_user_namespace(whole=True)
    entered, enter = os.pipe()
    limited, limit = os.pipe()
    child = os.fork()
    if child:
        os.close(enter)
        os.read(entered, 1)
        put("/proc/sys/user/max_user_namespaces", "1")
        os.write(limit, b"x")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    enter_user_namespace(whole=True)
    os.write(enter, b"x")
    os.read(limited, 1)


def docker_filter() -> None:
    """What Docker's default profile answers without CAP_SYS_ADMIN to the calls that make namespaces."""
    names = ("unshare", "mount", "umount2", "pivot_root", "setns", "sethostname", "mount_setattr")
    filter_calls(dict.fromkeys(names, EPERM) | {"clone3": ENOSYS}, namespaces_by_clone=True)


def podman_filter() -> None:
    """What Podman's default profile refuses of them: the host's name, and calls that it doesn't know."""
    filter_calls({"sethostname": EPERM, "mount_setattr": ENOSYS})


def landlock_unknown() -> None:
    """A filter older than landlock."""
    filter_calls({"landlock_create_ruleset": ENOSYS})


def landlock_disabled() -> None:
    """What the kernel answers when landlock isn't among the modules chosen at boot."""
    filter_calls({"landlock_create_ruleset": EOPNOTSUPP})


def pidfd_refused() -> None:
    """A filter older than pidfd_open."""
    filter_calls({"pidfd_open": EPERM})


def masked_proc() -> None:
    """What Docker covers of /proc."""
    own_mounts()
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list"):
        if os.path.exists(path):
            mount("--bind", "/dev/null", path)
    mount("--bind", "/proc/sys", "/proc/sys")
    mount("-o", "remount,bind,ro", "/proc/sys")


def no_proc() -> None:
    """No /proc at all."""
    own_mounts()
    mount("-t", "tmpfs", "none", "/proc")


def nothing_writable() -> None:
    """A root that can't be written, as Kubernetes' readOnlyRootFilesystem makes it."""
    own_mounts()
    os.chdir("/")
    for path in {
        os.path.realpath(path) for path in ("/tmp", "/var/tmp", "/usr/tmp", os.environ.get("TMPDIR", "/tmp")) if os.path.isdir(path)
    }:
        mount("-t", "tmpfs", "-o", "ro", "none", path)
    mount("-o", "remount,bind,ro", "/")


def noexec_tmp() -> None:
    """As hardened hosts mount it."""
    own_mounts()
    mount("-t", "tmpfs", "-o", "noexec", "none", "/tmp")
    os.environ["TMPDIR"] = "/tmp"


def noexec_package() -> None:
    """The native part on a file system where nothing can be executed."""
    own_mounts()
    place = os.environ["GROUNDRUN_TEST_NATIVE"]
    mount("--bind", place, place)
    mount("-o", "remount,bind,noexec", place)


def read_only_cgroups() -> None:
    """As container runtimes mount them."""
    own_mounts()
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file if line.partition(" - ")[2].startswith("cgroup")]
    for point in points:
        mount("-o", "remount,bind,ro", point)


def drop(*numbers: int) -> None:
    """Root loses these capabilities when it next executes something, as by --cap-drop."""
    for number in numbers:
        must(libc.prctl(24, number, 0, 0, 0))


def no_capabilities() -> None:
    """Root as Kubernetes' `drop: [ALL]` leaves it."""
    drop(*range(32))


def no_kill() -> None:
    """Root that may not signal another user."""
    drop(5)


def no_dac_override() -> None:
    """Root that can't pass another user's folder."""
    drop(1, 2)


def chroot() -> None:
    """A folder as the root, without a container's pivot_root."""
    own_mounts()
    folder = os.environ["GROUNDRUN_TEST_ROOT"]
    mount("-t", "tmpfs", "none", folder)
    root = f"{folder}/inner"
    os.mkdir(root)
    for name in os.listdir("/"):
        path = f"/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            os.mkdir(root + path)
            mount("--rbind", path, root + path)
    os.chroot(root)
    os.chdir("/")


if __name__ == "__main__":
    for condition in sys.argv[1].split(","):
        globals()[condition]()
    os.execvp(sys.argv[2], sys.argv[2:])
