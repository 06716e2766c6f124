"""content.py - bytes that can be made again from a seed, no two blocks alike."""
import hashlib


def body(size, seed=1):
    unit = hashlib.shake_128(b"body %d" % seed).digest(min(size + 1, (1 << 20) + 4093))
    return (unit * (size // len(unit) + 1))[:size]
