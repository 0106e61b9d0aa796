"""A child of the interoperability tests: sockets of pyzmq. The requests are in child_test.go."""

import struct
import sys
import time

import zmq
from zmq.auth.thread import ThreadAuthenticator

context = zmq.Context()
sockets = []
authenticator = None


def read_exactly(n):
    data = sys.stdin.buffer.read(n)
    if len(data) < n:
        sys.exit(0)
    return data


def read_number():
    return struct.unpack(">I", read_exactly(4))[0]


def answer(*fields):
    out = [struct.pack(">I", len(fields))]
    for f in fields:
        out += [struct.pack(">I", len(f)), f]
    sys.stdout.buffer.write(b"".join(out))
    sys.stdout.buffer.flush()


def open_socket(kind, *pairs):
    s = context.socket(getattr(zmq, kind.decode()))
    s.setsockopt(zmq.LINGER, 0)
    for name, value in zip(pairs[::2], pairs[1::2]):
        option = getattr(zmq, name.decode().upper())
        try:
            s.setsockopt(option, value)         # it knows whether the option is text
        except TypeError:
            s.setsockopt(option, int(value))
    sockets.append(s)
    return (b"%d" % (len(sockets) - 1),)


def await_free(endpoint):
    """libzmq gives a closed socket's endpoint back a moment later, and the next handler is to find it free."""
    with context.socket(zmq.REP) as s:
        while True:
            try:
                s.bind(endpoint)
                break
            except zmq.ZMQError as e:
                if e.errno != zmq.EADDRINUSE:
                    raise
                time.sleep(0.001)
        s.unbind(endpoint)


def carry_out(name, *arguments):
    global authenticator
    if name == b"open":
        return open_socket(*arguments)
    if name == b"allow":
        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        users = [u.decode() for u in arguments[1:]]
        authenticator.configure_plain("interop", dict(zip(users[::2], users[1::2])))
        authenticator.configure_curve("interop", arguments[0].decode())
        return ()
    if name == b"deny":
        authenticator.stop()
        await_free("inproc://zeromq.zap.01")
        return ()
    s, arguments = sockets[int(arguments[0])], arguments[1:]
    if name == b"bind":
        s.bind(arguments[0].decode())
    elif name == b"connect":
        s.connect(arguments[0].decode())
    elif name == b"subscribe" and s.type == zmq.XSUB:
        s.send(b"\x01" + arguments[0])
    elif name == b"subscribe":
        s.subscribe(arguments[0])
    elif name == b"unsubscribe" and s.type == zmq.XSUB:
        s.send(b"\x00" + arguments[0])
    elif name == b"unsubscribe":
        s.unsubscribe(arguments[0])
    elif name == b"send":
        s.send_multipart(arguments)
    elif name == b"recv":
        if not s.poll(int(arguments[0])):
            return None
        return s.recv_multipart()
    elif name == b"close":
        s.close()
    return ()


while True:
    request = [read_exactly(read_number()) for _ in range(read_number())]
    try:
        result = carry_out(*request)
    except Exception as e:
        answer(b"error", repr(e).encode())
    else:
        if result is None:
            answer(b"nothing")
        else:
            answer(b"ok", *result)
