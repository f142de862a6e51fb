"""NVIDIA's libraries, absent: torch's aarch64 wheel links to 2.4 GB of them, which nothing on a phone ever calls.

In their place stand libraries made here (System V ABI, elf.h; ELF for the Arm 64-bit architecture), in which every
function answers 100, CUDA's cudaErrorNoDevice. torch then starts, and finds no GPU.
"""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from safedeploy.bench.devices.tree import elf

CUDA = ("blas", "da.", "dart", "dnn", "fft", "file", "pti", "rand", "solver", "sparse")
PREFIXES = (*(f"libcu{part}" for part in CUDA), "libnccl", "libnvJitLink", "libnvToolsExt", "libnvrtc", "libnvshmem")
# glibc lets a library define symbols only with the versions that others ask of it by its name; of this, none is asked
HOLDER = "libnccl.so.2"
NO_DEVICE = struct.pack("<II", 0x52800C80, 0xD65F03C0)  # mov w0, #100; ret
PAGE = 0x10000  # the largest of aarch64 kernels
HEADERS = 64 + 4 * 56


def is_absent(name: str) -> bool:
    """Whether `name` is one of NVIDIA's libraries, which a tree goes without."""
    return name.startswith(PREFIXES)


def stand_in(askers: Sequence[Path], others: Iterable[Path], folder: Path) -> None:
    """Write into `folder` what stands for the absent libraries that `askers` need.

    `others`: the libraries, and the program, that define what else the askers ask for.
    """
    wanted: set[str] = set()
    for path in askers:
        wanted |= elf.symbols(path).wanted
    for path in others:
        wanted -= elf.symbols(path).defined
    for name in {name for path in askers for name in elf.needed(path) if is_absent(name)}:
        (folder / name).write_bytes(library(sorted(wanted) if name == HOLDER else []))


def library(functions: Sequence[str]) -> bytes:
    """An aarch64 shared library that defines `functions`, all of them NO_DEVICE."""
    strings, offsets = b"\0", []
    for name in functions:
        offsets.append(len(strings))
        strings += name.encode() + b"\0"
    count, buckets = len(functions) + 1, len(functions) // 2 + 1
    symbols_at = HEADERS
    hash_at = symbols_at + 24 * count
    code_at = _aligned(hash_at + 4 * (2 + buckets + count), 8)
    strings_at = code_at + len(NO_DEVICE)
    dynamic_at = _aligned(strings_at + len(strings), PAGE)
    entry = struct.Struct("<IBBHQQ")  # name, GLOBAL FUNC, visibility, a section, value, size
    symbols = bytes(24) + b"".join(entry.pack(offset, 0x12, 0, 1, code_at, len(NO_DEVICE)) for offset in offsets)
    tags = {elf.HASH: hash_at, elf.STRTAB: strings_at, elf.SYMTAB: symbols_at, elf.STRSZ: len(strings), elf.SYMENT: 24}
    dynamic = b"".join(struct.pack("<QQ", *pair) for pair in (*tags.items(), (0, 0)))
    headers = [  # type, flags, offset, address, address, sizes in the file and in memory, alignment
        (elf.LOAD, elf.READ | elf.EXECUTE, 0, 0, 0, strings_at + len(strings), strings_at + len(strings), PAGE),
        (elf.LOAD, elf.READ | elf.WRITE, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), PAGE),
        (elf.DYNAMIC, elf.READ | elf.WRITE, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8),
        (elf.STACK, elf.READ | elf.WRITE, 0, 0, 0, 0, 0, 16),
    ]
    start = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    start += struct.pack("<HHIQQQIHHHHHH", elf.SHARED, elf.AARCH64, 1, 0, 64, 0, 0, 64, 56, len(headers), 0, 0, 0)
    start += b"".join(struct.pack("<IIQQQQQQ", *header) for header in headers)
    parts = {
        0: start,
        symbols_at: symbols,
        hash_at: _hash_table(functions, buckets),
        code_at: NO_DEVICE,
        strings_at: strings,
        dynamic_at: dynamic,
    }
    made = bytearray(dynamic_at + len(dynamic))
    for at, part in parts.items():
        made[at : at + len(part)] = part
    return bytes(made)


def _hash_table(names: Sequence[str], buckets: int) -> bytes:
    first, after = [0] * buckets, [0] * (len(names) + 1)
    for index, name in enumerate(names, 1):
        bucket = _hash(name.encode()) % buckets
        first[bucket], after[index] = index, first[bucket]
    table = [buckets, len(after), *first, *after]
    return struct.pack(f"<{len(table)}I", *table)


def _hash(name: bytes) -> int:
    """The System V ABI's."""
    found = 0
    for byte in name:
        found = (found << 4) + byte
        high = found & 0xF0000000
        found = (found ^ (high >> 24)) & ~high
    return found


def _aligned(value: int, to: int) -> int:
    return -(-value // to) * to
