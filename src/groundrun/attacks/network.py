"""Attacks on the network. Every one aims at a canary of the scene, on 127.0.0.1 or on a unix socket; nothing leaves the machine."""

from __future__ import annotations

from groundrun.attacks.attack import Aftermath, Attack, Family
from groundrun.attacks.guards import Guard


def _reached(aftermath: Aftermath) -> list[str]:
    return [f"the kernel made sockets of {len(reached)} exotic kinds: {reached}"] if (reached := aftermath.said["reached"]) else []


def _peer(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through("signal", "take a descriptor", "join", "reap", "files")


ATTACKS = (
    Attack(
        name="tcp",
        family=Family.NETWORK,
        tries="Connect to a server on 127.0.0.1, also by TCP fast open.",
        guards=(Guard.NET_NAMESPACE,),
        unguarded=True,
        source="""
import socket
address = ("127.0.0.1", scene["tcp"])
attempt("connect", lambda: socket.create_connection(address, timeout=1).send(b"x"))
attempt("fast open", lambda: socket.socket().sendto(b"x", 0x20000000, address))
attempt("six", lambda: socket.create_connection(("::ffff:127.0.0.1", scene["tcp"]), timeout=1))
""",
    ),
    Attack(
        name="udp",
        family=Family.NETWORK,
        tries="Send a datagram to 127.0.0.1.",
        guards=(Guard.NET_NAMESPACE,),
        at_landlock=(Guard.REFUSED_SOCKETS,),
        unguarded=True,
        source="""
import socket
attempt("send", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", scene["udp"])))
""",
    ),
    Attack(
        name="unix_path",
        family=Family.NETWORK,
        tries="Reach a server through a unix socket in the file system.",
        guards=(Guard.VIEW, Guard.REFUSED_SOCKETS),
        at_landlock=(Guard.REFUSED_SOCKETS,),
        unguarded=True,
        source="""
import socket
attempt("stream", lambda: socket.socket(socket.AF_UNIX).connect(scene["stream"]))
attempt("datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", scene["datagram"]))
""",
    ),
    Attack(
        name="unix_abstract",
        family=Family.NETWORK,
        tries="Reach a server through an abstract unix socket.",
        guards=(Guard.NET_NAMESPACE, Guard.REFUSED_SOCKETS, Guard.LANDLOCK_SCOPES),
        unguarded=True,
        source="""
import socket
attempt("stream", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + scene["abstract"]))
attempt("datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", ("\\0" + scene["abstract"])[:-1] + "d"))
""",
    ),
    Attack(
        name="socketpair_turned",
        family=Family.NETWORK,
        tries="Turn one end of an allowed socket pair towards a server outside: a datagram end may send anywhere.",
        guards=(Guard.VIEW,),
        unguarded=True,
        source="""
import socket
abstract = ("\\0" + scene["abstract"])[:-1] + "d"
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
    pair = attempt(f"pair {int(kind)}", lambda: socket.socketpair(socket.AF_UNIX, kind))
    if pair is None:
        continue
    for address in (scene["datagram"], abstract, scene["stream"]):
        attempt(f"send {int(kind)} {address[-3:]}", lambda: pair[0].sendto(b"x", address))
        attempt(f"turn {int(kind)} {address[-3:]}", lambda: (pair[1].connect(address), pair[1].send(b"x")))
    attempt(f"listen {int(kind)}", lambda: pair[0].listen())
""",
    ),
    Attack(
        name="listen",
        family=Family.NETWORK,
        tries="Serve on a port that others on the machine can reach.",
        guards=(Guard.NET_NAMESPACE,),
        watched=True,
        unguarded=True,
        source="""
import socket
def serve():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("0.0.0.0", scene["port"]))
    server.listen()
    return server
server = attempt("serve", serve)
time.sleep(0.4)
""",
    ),
    Attack(
        name="exotic_sockets",
        family=Family.NETWORK,
        tries="Make sockets and socket pairs of every family, which reaches (and loads) seldom used parts of the kernel.",
        guards=(Guard.REFUSED_SOCKETS,),
        inspect=_reached,
        source="""
reached, plain = [], (1, 2, 10)
pair = (ctypes.c_int * 2)()
for family in range(1, 47):
    if family in plain:
        continue
    for kind in (1, 2, 3, 5):
        for name, make in (("socket", lambda: libc.socket(family, kind, 0)), ("pair", lambda: libc.socketpair(family, kind, 0, pair))):
            ctypes.set_errno(0)
            if make() >= 0 or ctypes.get_errno() not in (errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES):
                reached.append(f"{name} {family}/{kind}")
say(reached=reached)
""",
    ),
    Attack(
        name="channel_peer",
        family=Family.NETWORK,
        tries="Ask the channel to the grader who made it, and act on that process: signal it, take its descriptors, join its namespaces.",
        guards=(Guard.PID_NAMESPACE, Guard.PRIVATE_USER, Guard.LANDLOCK_SCOPES),
        inspect=_peer,
        paired=True,
        as_caller=True,
        source="""
import fcntl, signal, struct, socket
channel = socket.socket(fileno=3)
attempt("credentials", lambda: struct.unpack("iii", channel.getsockopt(socket.SOL_SOCKET, 17, 12))[0])
peer = attempt("pidfd", lambda: struct.unpack("i", channel.getsockopt(socket.SOL_SOCKET, 77, 4))[0])
handle = 99 if peer is None else peer
kernel("pidfd_send_signal", handle, int(signal.SIGURG), 0, 0, label="signal")
kernel("pidfd_getfd", handle, 1, 0, label="take a descriptor")
kernel("setns", handle, 0x40000000, label="join")
kernel("process_mrelease", handle, 0, label="reap")
for code in range(0xFF01, 0xFF0B):
    attempt(f"namespace {code}", lambda: fcntl.ioctl(handle, code))
sent = socket.socketpair()
attempt("send descriptors", lambda: socket.send_fds(channel, [b"\\0"], [sent[0].fileno()] * 100))
attempt("files", lambda: len(socket.recv_fds(channel, 1, 10, socket.MSG_DONTWAIT)[1]) or 1 // 0)
attempt("out of band", lambda: channel.send(b"x", socket.MSG_OOB))
""",
    ),
)
