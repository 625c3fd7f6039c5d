"""Does what it is told inside a namespace: a JSON order a line on stdin, a JSON answer a line on stdout.

Orders that make traffic answer {"got": what a user of the service would see}: the server's name, the errno's name,
or "timeout".
"""
import errno
import json
import select
import selectors
import socket
import sys
import threading
import time

HELD = {}
CAPTURES = {}
SO_NO_CHECK = 11


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def outcome(error):
    if isinstance(error, TimeoutError):
        return "timeout"
    if error.errno:
        return errno.errorcode.get(error.errno, str(error.errno))
    return str(error)


def line(sock):
    text = b""
    while not text.endswith(b"\n"):
        part = sock.recv(1)
        if not part:
            return text.decode(errors="replace") + "EOF"
        text += part
    return text.decode(errors="replace").strip()


def finish(sock):
    """Closes from our side and waits for the other side's FIN, so that the director has seen all of it."""
    try:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    except OSError:
        pass
    sock.close()


def connect(order):
    src, sport, dst, dport = order["connect"]
    sock = socket.socket(family(dst), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(order.get("timeout", 4))
        sock.bind((src, sport))
        sock.connect((dst, dport))
        got = line(sock)
        if order.get("talk"):
            sock.send(b"x")
            got = line(sock)
    except OSError as error:
        sock.close()
        return {"got": outcome(error)}
    local = sock.getsockname()[1]
    if order.get("hold") is not None:
        HELD[order["hold"]] = sock
    else:
        finish(sock)
    return {"got": got, "port": local}


def echo(order):
    sock = HELD[order["echo"]]
    try:
        sock.setblocking(False)
        try:
            while sock.recv(65536):
                pass
        except BlockingIOError:
            pass
        sock.settimeout(order.get("timeout", 2))
        sock.send(b"x")
        return {"got": line(sock)}
    except OSError as error:
        return {"got": outcome(error)}


def close(order):
    sock = HELD.pop(order["close"])
    sock.settimeout(order.get("timeout", 2))
    finish(sock)
    return {}


def close_all(order):
    # With a linger of 0 a RST goes out: nothing is left in any table of the kernel.
    for sock in HELD.values():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    HELD.clear()
    for sock in CAPTURES.values():
        sock.close()
    CAPTURES.clear()
    return {}


def udp(order):
    src, sport, dst, dport = order["udp"]
    sock = socket.socket(family(dst), socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if order.get("no_checksum"):
            sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        sock.settimeout(order.get("timeout", 2))
        sock.bind((src, sport))
        sock.connect((dst, dport))
        sock.send(order.get("payload", "x").encode())
        return {"got": sock.recv(65536).decode(errors="replace").strip()}
    except OSError as error:
        return {"got": outcome(error)}
    finally:
        sock.close()


def many(order):
    """Connections one after another, each closed; and how many seconds each took with its closing."""
    got, took = [], []
    for one in order["many"]:
        begun = time.monotonic()
        got.append(connect(one)["got"])
        took.append(time.monotonic() - begun)
    return {"got": got, "took": took}


def send_frame(order):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((order["interface"], 0))
    frame = bytes.fromhex(order["send_frame"])
    for _ in range(order.get("times", 1)):
        sock.send(frame)
    sock.close()
    return {}


def capture(order):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((order["interface"], 3))
    CAPTURES[order["capture"]] = sock
    return {}


def frames(order):
    """The frames captured, until `enough` of them contain `containing` (hex) or the time is over."""
    sock = CAPTURES.pop(order["frames"])
    wanted = bytes.fromhex(order.get("containing", ""))
    end = time.monotonic() + order.get("timeout", 1)
    found = []
    while len(found) < order.get("enough", 1 << 30):
        left = end - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            break
        data, address = sock.recvfrom(65536)
        if address[2] == socket.PACKET_OUTGOING and not order.get("outgoing"):
            continue
        if wanted in data:
            found.append(data.hex())
    sock.close()
    return {"frames": found}


def sha256(order):
    return {"sha256": sha256_of_blob(order["blob_sha256"])}


class Crowd:
    """Many connections, each of which says something once a second and is answered."""

    def __init__(self, order):
        self.broken = []
        self.socks = {}
        self.answers = 0
        self.stop = False
        for src, sport, dst, dport in order["crowd"]:
            got = connect({"connect": [src, sport, dst, dport], "hold": ("crowd", src, sport, dst)})
            sock = HELD.pop(("crowd", src, sport, dst), None)
            if sock is None:
                self.broken.append("%s:%d to %s: %s" % (src, sport, dst, got["got"]))
                continue
            sock.setblocking(False)
            self.socks[sock] = "%s:%d to %s" % (src, sport, dst)
        self.thread = threading.Thread(target=self.talk, daemon=True)
        self.thread.start()

    def lose(self, poll, sock, why):
        self.broken.append("%s: %s" % (self.socks.pop(sock), why))
        poll.unregister(sock)
        sock.close()

    def talk(self):
        poll = selectors.DefaultSelector()
        for sock in self.socks:
            poll.register(sock, selectors.EVENT_READ)
        while not self.stop:
            end = time.monotonic() + 1
            for sock in list(self.socks):
                try:
                    sock.send(b"x")
                except OSError as error:
                    self.lose(poll, sock, outcome(error))
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    break
                for key, _ in poll.select(left):
                    try:
                        data = key.fileobj.recv(65536)
                    except OSError as error:
                        self.lose(poll, key.fileobj, outcome(error))
                        continue
                    if data:
                        self.answers += data.count(b"\n")
                    else:
                        self.lose(poll, key.fileobj, "EOF")

    def quiet(self):
        """Stops talking, then says something on each connection in turn and waits for the answer."""
        self.stop = True
        self.thread.join()
        for sock, name in self.socks.items():
            sock.settimeout(5)
            try:
                sock.setblocking(False)
                try:
                    while sock.recv(65536):
                        pass
                except BlockingIOError:
                    pass
                sock.settimeout(5)
                sock.send(b"x")
                line(sock)
            except OSError as error:
                self.broken.append("%s at last: %s" % (name, outcome(error)))


CROWD = []


def crowd(order):
    CROWD.append(Crowd(order))
    return crowd_state(order)


def crowd_state(order):
    crowd = CROWD[0]
    if order.get("quiet"):
        crowd.quiet()
    return {"open": len(crowd.socks), "broken": crowd.broken, "answers": crowd.answers}


ORDERS = {
    "connect": connect,
    "echo": echo,
    "close": close,
    "close_all": close_all,
    "udp": udp,
    "many": many,
    "send_frame": send_frame,
    "capture": capture,
    "frames": frames,
    "blob_sha256": sha256,
    "crowd": crowd,
    "crowd_state": crowd_state,
}


def main():
    for text in sys.stdin:
        order = json.loads(text)
        for name, act in ORDERS.items():
            if name in order:
                try:
                    answer = act(order)
                except Exception as error:
                    answer = {"error": "%s: %s" % (type(error).__name__, error)}
                break
        else:
            answer = {"error": "unknown order"}
        print(json.dumps(answer), flush=True)


main()
