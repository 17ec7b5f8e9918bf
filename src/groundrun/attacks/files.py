"""Attacks on the host's files: reading, writing, and everything about a file that is neither."""

from __future__ import annotations

from groundrun.attacks.attack import Aftermath, Attack, Family
from groundrun.attacks.guards import Guard


def _opened(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through("no access", "attributes")


def _stat(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through("stat")


def _heard(aftermath: Aftermath) -> list[str]:
    return ["it was told what happens in a folder outside"] if aftermath.said["events"] else []


def _answers(aftermath: Aftermath) -> list[str]:
    return [f"it read {answers} files that hold answers"] if (answers := aftermath.said["answers"]) else []


def _found(aftermath: Aftermath) -> list[str]:
    return ["a later job found what it had left"] if aftermath.later.get("found") else []


def _devices(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through()


ATTACKS = (
    Attack(
        name="read_file",
        family=Family.FILES,
        tries="Read a file of the host that every user may read.",
        guards=(Guard.VIEW,),
        at_landlock=(Guard.LANDLOCK_FILES,),
        unguarded=True,
        source="""
def read(path, flags=os.O_RDONLY):
    print(os.read(os.open(path, flags), 100).decode(), flush=True)
attempt("read", lambda: read(scene["secret"]))
attempt("read without following links", lambda: read(scene["secret"], os.O_NOFOLLOW))
def through_folder():
    folder = os.open(scene["folder"], os.O_PATH)
    print(os.read(os.open("secret.txt", os.O_RDONLY, dir_fd=folder), 100).decode(), flush=True)
attempt("through its folder", through_folder)
attempt("through a parent", lambda: read("../" * 12 + scene["secret"].lstrip("/")))
attempt("execute", lambda: os.execv(scene["secret"], ["x"]))
""",
    ),
    Attack(
        name="write_file",
        family=Family.FILES,
        tries="Change, add, rename, link and remove files of the host in a folder that every user may write.",
        guards=(Guard.VIEW, Guard.READ_ONLY_ROOT, Guard.LANDLOCK_FILES),
        at_landlock=(Guard.LANDLOCK_FILES,),
        unguarded=True,
        source="""
folder, file = scene["folder"], scene["file"]
attempt("append", lambda: os.write(os.open(file, os.O_WRONLY | os.O_APPEND), b"broken"))
attempt("add", lambda: os.open(folder + "/added", os.O_WRONLY | os.O_CREAT))
attempt("folder", lambda: os.mkdir(folder + "/added.d"))
attempt("link in", lambda: os.symlink("/", folder + "/added.l"))
attempt("link out", lambda: os.link(scene["secret"], "taken"))
attempt("move out", lambda: os.rename(scene["secret"], "taken"))
attempt("move", lambda: os.rename(folder + "/log", folder + "/moved"))
attempt("node", lambda: os.mkfifo(folder + "/added.f"))
attempt("remove", lambda: os.unlink(folder + "/watched"))
""",
    ),
    Attack(
        name="truncate_by_path",
        family=Family.FILES,
        tries="Empty a file of the host by truncate(2).",
        guards=(Guard.VIEW, Guard.READ_ONLY_ROOT, Guard.LANDLOCK_FILES),
        at_landlock=(Guard.LANDLOCK_FILES,),
        unguarded=True,
        source="""
attempt("truncate", lambda: os.truncate(scene["file"], 0))
kernel("truncate", scene["file"].encode(), 0, label="truncate by number")
""",
    ),
    Attack(
        name="truncate_by_open",
        family=Family.FILES,
        tries="Empty a file of the host by opening it with O_TRUNC for reading, for writing, and for neither.",
        guards=(Guard.VIEW, Guard.READ_ONLY_ROOT, Guard.LANDLOCK_FILES),
        unguarded=True,
        source="""
import struct
for name, access in (("reading", os.O_RDONLY), ("writing", os.O_WRONLY), ("both", os.O_RDWR), ("no access", 3)):
    attempt(name, lambda: os.open(scene["file"], access | os.O_TRUNC))
    how = struct.pack("QQQ", access | os.O_TRUNC, 0, 0)
    kernel("openat2", -100, scene["file"].encode(), how, len(how), label=name + " by openat2")
attempt("creat", lambda: libc.creat(scene["file"].encode(), 0o666))
""",
    ),
    Attack(
        name="open_for_nothing",
        family=Family.FILES,
        tries="Open a file with access mode 3, which landlock doesn't see, and change its flags and attributes by that descriptor.",
        guards=(Guard.VIEW, Guard.REFUSED_DESCRIPTOR_TRICKS),
        inspect=_opened,
        unguarded=True,
        source="""
import fcntl, struct
opened = attempt("no access", lambda: os.open(scene["file"], 3))
attempt("attributes", lambda: fcntl.ioctl(opened, 0x40086602, struct.pack("l", 0x40)))
attempt("extended", lambda: os.setxattr(opened, "user.groundrun", b"x"))
attempt("mode", lambda: os.fchmod(opened, 0o600))
attempt("time", lambda: os.utime(opened, (0, 0)))
""",
    ),
    Attack(
        name="change_metadata",
        family=Family.FILES,
        tries="Change mode, owner, times and attributes of a file of the host.",
        guards=(Guard.VIEW, Guard.READ_ONLY_ROOT),
        at_landlock=(Guard.REFUSED_METADATA,),
        unguarded=True,
        source="""
file = scene["file"]
attempt("mode", lambda: os.chmod(file, 0o604))
kernel("fchmodat2", -100, file.encode(), 0o604, 0)
attempt("times", lambda: os.utime(file, (1, 1)))
attempt("owner", lambda: os.chown(file, 65534, 65534))
attempt("attribute", lambda: os.setxattr(file, "user.groundrun", b"x"))
kernel("setxattr", file.encode(), b"user.groundrun", b"x", 1, 0, label="setxattr by number")
place = attempt("path", lambda: os.open(file, os.O_PATH))
attempt("attribute by descriptor", lambda: os.setxattr(f"/proc/self/fd/{place}", "user.groundrun", b"x"))
attempt("mode by descriptor", lambda: os.chmod(f"/proc/self/fd/{place}", 0o604))
""",
    ),
    Attack(
        name="lease",
        family=Family.FILES,
        tries="Put a lease on a file of the host, so that whoever opens it waits for 45 seconds.",
        guards=(Guard.VIEW, Guard.PRIVATE_USER, Guard.REFUSED_DESCRIPTOR_TRICKS),
        watched=True,
        unguarded=True,
        source="""
import fcntl, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
for access in (os.O_RDONLY, 3):
    opened = attempt(f"open {access}", lambda: os.open(scene["file"], access))
    if opened is not None:
        attempt(f"lease {access}", lambda: fcntl.fcntl(opened, 1024, fcntl.F_WRLCK))
time.sleep(0.5)
""",
    ),
    Attack(
        name="stat_outside",
        family=Family.FILES,
        tries="Learn the size of a file of the host.",
        guards=(Guard.VIEW,),
        inspect=_stat,
        soft=("stat",),
        unguarded=True,
        source='attempt("stat", lambda: os.stat(scene["secret"]).st_size)\n',
    ),
    Attack(
        name="inotify_outside",
        family=Family.FILES,
        tries="Be told which files are opened and made in a folder of the host.",
        guards=(Guard.VIEW, Guard.REFUSED_SHARED_COUNTS),
        at_landlock=(Guard.REFUSED_SHARED_COUNTS,),
        inspect=_heard,
        soft=("inotify",),
        watched=True,
        unguarded=True,
        source="""
watch = libc.inotify_init1(os.O_NONBLOCK)
attempt("watch", lambda: libc.inotify_add_watch(watch, scene["folder"].encode(), 0xFFF) >= 0 or os.stat(0 / 0))
time.sleep(0.3)
try:
    say(events=len(os.read(watch, 65536)))
except OSError:
    say(events=0)
""",
    ),
    Attack(
        name="read_answers",
        family=Family.LEAK,
        tries="Read the problems that groundrun itself ships, with their references and tests.",
        guards=(Guard.HIDDEN_PACKAGE,),
        inspect=_answers,
        unguarded=True,
        source="""
places = [scene["package"], "/groundrun", *(f"{place}/groundrun" for place in sys.path)]
found = set()
for place in places:
    for folder, _, names in os.walk(place):
        for name in names:
            if name.endswith(".toml"):
                try:
                    if "expected" in open(os.path.join(folder, name)).read():
                        found.add(os.path.join(folder, name))
                except OSError:
                    pass
for name in ("letter_runs", "ledger"):
    attempt("open " + name, lambda: found.add(open(scene["package"] + f"/starter/problems/{name}.toml").name))
attempt("import", lambda: __import__("groundrun.starter"))
say(answers=len(found))
""",
    ),
    Attack(
        name="plant_for_later",
        family=Family.LEAK,
        tries="Leave files for a later job, in every folder that can be written, and beside the own one.",
        guards=(Guard.SINGLE_USE,),
        at_landlock=(Guard.WIPED_FOLDER,),
        inspect=_found,
        source="""
for place in (".", "..", "../..", "../../..", os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/run", "/var/tmp",
              "/run/slot", os.path.expanduser("~")):
    for name in ("planted-by-attack", "sitecustomize.py", "conftest.py"):
        attempt(f"{place}/{name}", lambda: open(os.path.join(place, name), "x").write("planted = True"))
import builtins
builtins.planted = True
sys.modules["planted"] = builtins
""",
        later="""
import builtins
found = [name for name in ("planted",) if hasattr(builtins, name) or name in sys.modules]
for place in (".", "..", "../..", "../../..", os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/run", "/var/tmp", "/run/slot"):
    for name in ("planted-by-attack", "sitecustomize.py", "conftest.py"):
        path = os.path.join(place, name)
        if os.path.exists(path) and os.stat(path).st_size == len("planted = True"):  # not a file of the host's own of that name
            found.append(path)
say(found=found)
""",
    ),
    Attack(
        name="move_own_folder",
        family=Family.FILES,
        tries="Replace the own folder by a link to one of the host's, so that the host collects from there.",
        guards=(Guard.VIEW, Guard.EARLY_FOLDER),
        collect=("secret.txt",),
        source="""
slot = os.path.dirname(os.getcwd())
attempt("move", lambda: os.rename(slot, slot + "-old"))
attempt("link", lambda: os.symlink(scene["folder"], slot))
attempt("move work", lambda: os.rename(os.getcwd(), os.getcwd() + "-old"))
attempt("link work", lambda: os.symlink(scene["folder"] + "/work", slot + "/work"))
""",
    ),
    Attack(
        name="collect_links",
        family=Family.FILES,
        tries="Have the host collect what symbolic links, hard links and pipes of the program lead to.",
        guards=(Guard.VIEW, Guard.COLLECT_BENEATH),
        collect=("link", "folder/secret.txt", "hard", "pipe", "real"),
        source="""
attempt("link", lambda: os.symlink(scene["secret"], "link"))
attempt("folder", lambda: os.symlink(scene["folder"], "folder"))
attempt("hard", lambda: os.link(scene["secret"], "hard"))
attempt("pipe", lambda: os.mkfifo("pipe"))
attempt("real", lambda: open("real", "w").write("mine"))
""",
        inspect=lambda aftermath: ["an honest file was not collected"] if aftermath.execution.files.get("real") != b"mine" else [],
    ),
    Attack(
        name="devices",
        family=Family.KERNEL,
        tries="Open, make and use devices, and the kernel's own file systems.",
        guards=(Guard.VIEW,),
        inspect=_devices,
        source="""
for path in ("/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/fuse", "/dev/kvm", "/dev/loop-control", "/dev/net/tun", "/dev/tty",
             "/dev/ptmx",
             "/proc/self/mem", "/proc/kcore", "/proc/sysrq-trigger", f"/proc/{scene['pid']}/environ", f"/proc/{scene['pid']}/mem",
             "/proc/1/environ",
             "/proc/self/cmdline", "/sys/kernel/mm", "/sys/fs/cgroup", "/sys/fs/cgroup/cgroup.procs"):
    if os.path.exists(path):
        for access in (os.O_RDONLY, os.O_WRONLY, 3):
            attempt(f"{path} {access}", lambda: os.open(path, access))
import stat
attempt("make", lambda: os.mknod("device", stat.S_IFBLK | 0o666, os.makedev(254, 0)))
attempt("make another", lambda: os.mknod("device2", stat.S_IFCHR | 0o666, os.makedev(1, 1)))
""",
    ),
)
