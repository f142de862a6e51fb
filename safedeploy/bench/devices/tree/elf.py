"""What a shared library or program asks for and defines, read from its ELF headers (System V ABI; elf.h)."""

import struct
from dataclasses import dataclass
from pathlib import Path

X86_64, AARCH64 = 62, 183  # e_machine
SHARED = 3  # e_type
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551  # p_type
EXECUTE, WRITE, READ = 1, 2, 4  # p_flags
NEEDED, HASH, STRTAB, SYMTAB, STRSZ, SYMENT = 1, 4, 5, 6, 10, 11  # d_tag
DYNSYM = 11  # sh_type
WEAK = 2  # binding of a symbol


@dataclass(frozen=True)
class Symbols:
    """Names without their versions. `wanted`: undefined here and not weak."""

    wanted: frozenset[str]
    defined: frozenset[str]


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
        return [_text(content, begin + name) for name in names]
    except (struct.error, StopIteration, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is a damaged ELF file: {error}") from None


def symbols(path: Path) -> Symbols:
    """Its dynamic symbols; none where it has no section headers. Raises ValueError where the file is damaged."""
    content = path.read_bytes()
    wanted, defined = set(), set()
    try:
        (offset,) = struct.unpack_from("<Q", content, 40)
        size, count = struct.unpack_from("<HH", content, 58)
        sections = [struct.unpack_from("<IIQQQQI", content, offset + size * index) for index in range(count)]
        for _, kind, _, _, start, length, link in sections:
            if kind != DYNSYM:
                continue
            strings = sections[link][4]
            for name, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", content[start : start + length]):
                if section:
                    defined.add(_text(content, strings + name))
                elif name and info >> 4 != WEAK:
                    wanted.add(_text(content, strings + name))
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is a damaged ELF file: {error}") from None
    return Symbols(frozenset(wanted), frozenset(defined))


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
