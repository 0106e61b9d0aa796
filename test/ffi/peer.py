"""pyzmq sockets over udp://, through ctypes.

peer.py alone             both ends in this process, and what goes wrong
peer.py server            bind, print the endpoint, answer until told to end
peer.py client ENDPOINT   ask a server that may be written in another language
"""

import ctypes
import errno
import json
import os
import sys
import time

import zmq

PTR, TEXT, INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
libvtx = ctypes.CDLL(os.environ["VTX_LIB"], use_errno=True)
libc = ctypes.CDLL(None)
for function, result, arguments in [
    (libvtx.vtx_new_raw, PTR, [PTR]),
    (libvtx.vtx_destroy, None, [ctypes.POINTER(PTR)]),
    (libvtx.vtx_bind, INT, [PTR, PTR, TEXT]),
    (libvtx.vtx_connect, INT, [PTR, PTR, TEXT]),
    (libvtx.vtx_setopt, INT, [PTR, PTR, TEXT, TEXT]),
    (libvtx.vtx_getmeta, PTR, [PTR, PTR, TEXT]),        # PTR, as the string is ours to free
    (libvtx.vtx_error, TEXT, []),
    (libvtx.vtx_version, None, [ctypes.POINTER(INT)] * 3),
    (libc.free, None, [PTR]),
]:
    function.restype, function.argtypes = result, arguments

ROUNDS = 100
END = b"end"


def check(condition, what):
    if not condition:
        sys.exit(f"peer.py: {what}; vtx_error: {libvtx.vtx_error().decode()!r}")


class End:
    """A context of its own, a vtx for it and one socket."""

    def __init__(self, kind):
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.set(zmq.LINGER, 2000)
        self.socket.set(zmq.RCVTIMEO, 10000)
        self.vtx = PTR(libvtx.vtx_new_raw(self.context.underlying))
        check(self.vtx, "vtx_new_raw failed")

    def bind(self, endpoint):
        return libvtx.vtx_bind(self.vtx, self.socket.underlying, endpoint.encode())

    def connect(self, endpoint):
        return libvtx.vtx_connect(self.vtx, self.socket.underlying, endpoint.encode())

    def meta(self, name):
        pointer = libvtx.vtx_getmeta(self.vtx, self.socket.underlying, name.encode())
        if not pointer:
            return None
        text = ctypes.string_at(pointer).decode()
        libc.free(pointer)
        return text

    def close(self):
        libvtx.vtx_destroy(ctypes.byref(self.vtx))
        check(not self.vtx, "vtx_destroy left the pointer")
        self.socket.close()
        self.context.term()


def body(n):
    return bytes([n]) * n           # with NULs in it, and once empty


def refused(result, number, text):
    """Check that the last call failed with this errno and a sentence with this text."""
    got = ctypes.get_errno()
    check(result == -1 or result is None, f"{text}: accepted")
    check(got == number, f"{text}: errno {errno.errorcode.get(got, got)}, not {errno.errorcode[number]}")
    check(text in libvtx.vtx_error().decode(), f"{text}: not in the sentence")


def alone():
    version = INT(), INT(), INT()
    libvtx.vtx_version(*map(ctypes.byref, version))
    check(version[0].value == 1, "vtx_version")

    server, client = End(zmq.REP), End(zmq.REQ)
    for endpoint, number in [
        ("udp:/127.0.0.1:5000", errno.EINVAL),
        ("udp://127.0.0.1:99999", errno.EINVAL),
        ("nosuch://127.0.0.1:5000", errno.ENOPROTOOPT),
    ]:
        refused(server.bind(endpoint), number, endpoint)
        refused(client.connect(endpoint), number, endpoint)
    refused(libvtx.vtx_bind(server.vtx, None, b"udp://127.0.0.1:*"), errno.ENOTSOCK, "socket")
    refused(libvtx.vtx_setopt(server.vtx, None, b"udp.nosuch", b"1"), errno.EINVAL, "udp.nosuch")
    refused(server.meta("nosuch"), errno.EINVAL, "nosuch")

    check(server.bind("udp://127.0.0.1:*") == 0, "vtx_bind failed")
    endpoint = server.meta("endpoint")
    check(endpoint and endpoint.startswith("udp://127.0.0.1:"), f"endpoint is {endpoint}")
    third = End(zmq.REP)
    refused(third.bind(endpoint), errno.EADDRINUSE, endpoint)
    third.close()

    check(client.connect(endpoint) == 0, "vtx_connect failed")
    for n in range(ROUNDS):
        client.socket.send(body(n))
        check(server.socket.recv() == body(n), f"request {n}")
        server.socket.send(b"re:" + body(n))
        check(client.socket.recv() == b"re:" + body(n), f"reply {n}")

    # The counters follow the messages by a moment
    for end in client, server:
        for _ in range(500):
            stats = json.loads(end.meta("stats"))
            if stats["messages_in"] == stats["messages_out"] == ROUNDS:
                break
            time.sleep(0.01)
        check(stats["messages_in"] == stats["messages_out"] == ROUNDS, f"stats are {stats}")
        check(stats["peerings"] == 1 and stats["drops"] == {}, f"stats are {stats}")
    client.close()
    server.close()


def server():
    end = End(zmq.REP)
    check(end.bind("udp://127.0.0.1:*") == 0, "vtx_bind failed")
    print(end.meta("endpoint"), flush=True)
    request = None
    while request != END:
        request = end.socket.recv()
        end.socket.send(b"re:" + request)
    end.close()


def client(endpoint):
    end = End(zmq.REQ)
    check(end.connect(endpoint) == 0, "vtx_connect failed")
    for request in [body(n) for n in range(ROUNDS)] + [END]:
        end.socket.send(request)
        check(end.socket.recv() == b"re:" + request, f"the reply to {request}")
    end.close()


{"alone": alone, "server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
