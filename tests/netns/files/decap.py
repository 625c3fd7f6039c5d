"""Loads an XDP program that takes IPIP, GRE and GUE (port 6080) headers off, and pins it at argv[1].

What a real server's tunnel devices do, for kernels without them. Looks at no checksum; expects outer headers without
options.
"""
import ctypes
import os
import struct
import sys

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}[os.uname().machine]
BPF_PROG_LOAD = 5
BPF_OBJ_PIN = 6
BPF_PROG_TYPE_XDP = 6
XDP_DROP = 1
XDP_PASS = 2
ADJUST_HEAD = 44
# EtherTypes and GUE's port as they lie, read by a little-endian CPU.
IPV4 = 0x0008
IPV6 = 0xDD86
GUE_PORT = 0xC017
libc = ctypes.CDLL(None, use_errno=True)

BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
code, labels, jumps = [], {}, []


def put(op, to=0, of=0, offset=0, number=0):
    code.append([op, to | of << 4, offset, number])


def load(size, to, of, offset):
    put(0x61 | size, to, of, offset)


def store(size, to, offset, of):
    put(0x63 | size, to, of, offset)


def copy(to, of):
    put(0xBF, to, of)


def move(to, number):
    put(0xB7, to, number=number)


def add(to, number):
    put(0x07, to, number=number)


def jump(op, label, to=0, of=0, number=0):
    jumps.append((len(code), label))
    put(op, to, of, 0, number)


def equal(register, number, label):
    jump(0x15, label, register, number=number)


def differs(register, number, label):
    jump(0x55, label, register, number=number)


def needs(length, label):
    """Jumps where the frame (r2, its end r3) is shorter."""
    copy(4, 2)
    add(4, length)
    jump(0x2D, label, 4, 3)


def label(name):
    labels[name] = len(code)


def assemble():
    copy(6, 1)
    load(WORD, 2, 1, 0)
    load(WORD, 3, 1, 4)
    needs(62, "pass")
    load(HALF, 5, 2, 12)
    equal(5, IPV4, "outer4")
    differs(5, IPV6, "pass")
    needs(82, "pass")
    # r5: protocol, r9: bytes to take off, r4: what follows the outer header.
    load(BYTE, 5, 2, 20)
    move(9, 40)
    copy(4, 2)
    add(4, 54)
    jump(0x05, "tunnel")
    label("outer4")
    load(BYTE, 5, 2, 23)
    move(9, 20)
    copy(4, 2)
    add(4, 34)
    label("tunnel")
    equal(5, 4, "inner4")
    equal(5, 41, "inner6")
    equal(5, 47, "gre")
    differs(5, 17, "pass")
    load(HALF, 5, 4, 2)
    differs(5, GUE_PORT, "pass")
    add(9, 12)
    load(BYTE, 5, 4, 9)
    equal(5, 4, "inner4")
    equal(5, 41, "inner6")
    jump(0x05, "pass")
    label("gre")
    add(9, 4)
    load(BYTE, 5, 4, 0)
    equal(5, 0, "plain")
    add(9, 4)
    label("plain")
    load(HALF, 5, 4, 2)
    jump(0x05, "strip")
    label("inner4")
    move(5, IPV4)
    jump(0x05, "strip")
    label("inner6")
    move(5, IPV6)
    label("strip")
    load(DOUBLE, 7, 2, 0)
    load(WORD, 8, 2, 8)
    store(DOUBLE, 10, -8, 5)
    copy(1, 6)
    copy(2, 9)
    put(0x85, number=ADJUST_HEAD)
    differs(0, 0, "drop")
    load(WORD, 2, 6, 0)
    load(WORD, 3, 6, 4)
    needs(14, "drop")
    store(DOUBLE, 2, 0, 7)
    store(WORD, 2, 8, 8)
    load(DOUBLE, 5, 10, -8)
    store(HALF, 2, 12, 5)
    label("pass")
    move(0, XDP_PASS)
    put(0x95)
    label("drop")
    move(0, XDP_DROP)
    put(0x95)
    for at, name in jumps:
        code[at][2] = labels[name] - at - 1
    return b"".join(struct.pack("<BBhi", *instruction) for instruction in code)


def bpf(command, attributes):
    attributes += bytes(144 - len(attributes))
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(BPF_SYSCALL, command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main():
    text = assemble()
    program = ctypes.create_string_buffer(text, len(text))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(1 << 16)
    attributes = struct.pack(
        "=IIQQIIQ",
        BPF_PROG_TYPE_XDP,
        len(code),
        ctypes.addressof(program),
        ctypes.addressof(licence),
        1,
        len(log),
        ctypes.addressof(log),
    )
    try:
        fd = bpf(BPF_PROG_LOAD, attributes)
    except OSError:
        sys.stderr.write(log.value.decode())
        raise
    path = ctypes.create_string_buffer(sys.argv[1].encode())
    bpf(BPF_OBJ_PIN, struct.pack("=QI", ctypes.addressof(path), fd))


main()
