"""A real server.  Job as JSON in argv[1]: {"name", "certificate", "tcp": [ports], "udp": [ports], "http": [ports], "https": [ports]}.

tcp: says its name and a line end at once, and again for everything it is sent, until the other side closes.
udp: answers each datagram with its name and a line end, from the address the datagram was sent to.
http and https (key and certificate in the file `certificate`): GET / answers the name, GET /blob/N answers N bytes made by blob.py.
"""
import http.server
import json
import selectors
import socket
import ssl
import struct
import sys
import threading

JOB = json.loads(sys.argv[1])
GREETING = (JOB["name"] + "\n").encode()
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50


def tcp(port, selector):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    listener.setblocking(False)

    def accept():
        try:
            conn, _ = listener.accept()
        except OSError:
            return
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setblocking(False)
        selector.register(conn, selectors.EVENT_READ, lambda: talk(conn))
        say(conn)

    def say(conn):
        try:
            conn.send(GREETING)
        except OSError:
            end(conn)

    def end(conn):
        try:
            selector.unregister(conn)
        except (KeyError, ValueError):
            pass
        conn.close()

    def talk(conn):
        try:
            data = conn.recv(65536)
        except OSError:
            data = b""
        if data:
            say(conn)
        else:
            end(conn)

    selector.register(listener, selectors.EVENT_READ, accept)


def udp(port, selector):
    v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v4.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    v4.bind(("0.0.0.0", port))
    v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    v6.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    v6.bind(("::", port))

    def answer(sock, level, kind):
        data, ancillary, _, sender = sock.recvmsg(65536, 256)
        control = []
        for a_level, a_kind, value in ancillary:
            if (a_level, a_kind) == (level, kind):
                # Out of the address it came to, by whatever interface the routes say.
                if level == socket.IPPROTO_IP:
                    value = struct.pack("=I", 0) + value[8:12] + bytes(4)
                else:
                    value = value[:16] + struct.pack("=I", 0)
                control.append((level, kind, value))
        try:
            sock.sendmsg([GREETING], control, 0, sender)
        except OSError:
            pass

    selector.register(v4, selectors.EVENT_READ, lambda: answer(v4, socket.IPPROTO_IP, IP_PKTINFO))
    selector.register(v6, selectors.EVENT_READ, lambda: answer(v6, socket.IPPROTO_IPV6, IPV6_PKTINFO))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/blob/"):
            size = int(self.path.split("/")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for block in blocks(size):
                self.wfile.write(block)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING)

    def log_message(self, *args):
        pass


class Http(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def https(port):
    server = Http(("::", port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(JOB["certificate"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def main():
    selector = selectors.DefaultSelector()
    for port in JOB["tcp"]:
        tcp(port, selector)
    for port in JOB["udp"]:
        udp(port, selector)
    for port in JOB["http"]:
        threading.Thread(target=Http(("::", port), Handler).serve_forever, daemon=True).start()
    for port in JOB["https"]:
        threading.Thread(target=https(port).serve_forever, daemon=True).start()
    print("ready", flush=True)
    if not (JOB["tcp"] or JOB["udp"]):
        threading.Event().wait()
    while True:
        for key, _ in selector.select():
            key.data()


main()
