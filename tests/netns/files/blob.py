"""Bytes that anybody can make again: block i of a mebibyte is i in eight bytes and then always the same noise."""
import hashlib
import random
import struct

BLOCK = 1 << 20
NOISE = random.Random(42).randbytes(BLOCK)


def blocks(size):
    for number in range((size + BLOCK - 1) // BLOCK):
        block = struct.pack("!Q", number) + NOISE[8:]
        yield block[: min(BLOCK, size - number * BLOCK)]


def sha256(size):
    digest = hashlib.sha256()
    for block in blocks(size):
        digest.update(block)
    return digest.hexdigest()
