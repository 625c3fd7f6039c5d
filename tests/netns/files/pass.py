"""Loads an XDP program that passes everything and pins it at argv[1]."""
import ctypes
import os
import struct
import sys

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}[os.uname().machine]
BPF_PROG_LOAD = 5
BPF_OBJ_PIN = 6
BPF_PROG_TYPE_XDP = 6
XDP_PASS = 2
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    attributes += bytes(144 - len(attributes))
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(BPF_SYSCALL, command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main():
    # r0 = XDP_PASS; exit
    code = struct.pack("<BBhiBBhi", 0xB7, 0, 0, XDP_PASS, 0x95, 0, 0, 0)
    program = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    fd = bpf(
        BPF_PROG_LOAD,
        struct.pack("=IIQQ", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(program), ctypes.addressof(licence)),
    )
    path = ctypes.create_string_buffer(sys.argv[1].encode())
    bpf(BPF_OBJ_PIN, struct.pack("=QI", ctypes.addressof(path), fd))


main()
