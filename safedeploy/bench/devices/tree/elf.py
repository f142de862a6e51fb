"""What a shared library or program asks for, read from its ELF header (System V ABI; elf.h): machine and libraries."""

import struct
from pathlib import Path

AARCH64 = 183  # e_machine
LOAD, DYNAMIC = 1, 2  # p_type
NEEDED, STRTAB = 1, 5  # d_tag


def is_elf(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"\x7fELF"


def machine(path: Path) -> int:
    """e_machine; 0 where the file is no 64-bit little-endian ELF file."""
    with path.open("rb") as handle:
        head = handle.read(20)
    if len(head) < 20 or head[:6] != b"\x7fELF\x02\x01":
        return 0
    found: int = struct.unpack_from("<H", head, 18)[0]
    return found


def needed(path: Path) -> list[str]:
    """The libraries that a 64-bit little-endian ELF file names (DT_NEEDED). Raises ValueError where it is damaged."""
    content = path.read_bytes()
    try:
        offset, _, _, _, size, count = struct.unpack_from("<QQIHHH", content, 32)
        headers = [struct.unpack_from("<IIQQQQ", content, offset + size * index) for index in range(count)]
        loads = [(start, address, length) for kind, _, start, address, _, length in headers if kind == LOAD]
        tags: list[tuple[int, int]] = []
        for kind, _, start, _, _, length in headers:
            if kind == DYNAMIC:
                tags += [struct.unpack_from("<QQ", content, start + 16 * index) for index in range(length // 16)]
        names = [value for tag, value in tags if tag == NEEDED]
        if not names:
            return []
        table = next(value for tag, value in tags if tag == STRTAB)
        begin = next(start + table - at for start, at, length in loads if at <= table < at + length)
        return [content[begin + name : content.index(b"\0", begin + name)].decode() for name in names]
    except (struct.error, StopIteration, ValueError) as error:
        raise ValueError(f"{path} is a damaged ELF file: {error}") from None
