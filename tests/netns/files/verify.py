"""Do frames reach the director with whole checksums?  Reads a JSON job on stdin, prints one line for each sender
that sends a partial one.  A partial checksum is one that the sender's kernel left to a NIC to finish."""
import ctypes
import json
import os
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    fd = os.open(path, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + path)
    os.close(fd)


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def main():
    job = json.load(sys.stdin)
    for sender in job:
        enter(sender["director"])
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        sniffer.bind((sender["interface"], 0x0800))
        sniffer.settimeout(0.1)
        enter(sender["path"])
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        payload = os.urandom(16)
        end = time.monotonic() + 3
        seen = None
        while seen is None and time.monotonic() < end:
            udp.sendto(payload, (sender["target"], 9))
            try:
                while True:
                    frame = sniffer.recv(2048)
                    if frame.endswith(payload):
                        seen = frame
                        break
            except TimeoutError:
                pass
        if seen is None:
            print("nothing from %s reaches %s" % (sender["name"], sender["target"]))
            continue
        ip = seen[14:]
        header = (ip[0] & 15) * 4
        length = struct.unpack("!H", ip[2:4])[0]
        datagram = ip[header:length]
        pseudo = ip[12:20] + struct.pack("!BBH", 0, ip[9], len(datagram))
        if ones_sum(pseudo + datagram) != 0xFFFF:
            print("%s sends partial checksums: on it, run `ethtool -K %s tx off`" % (sender["name"], sender["nic"]))


main()
