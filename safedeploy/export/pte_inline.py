"""A .pte file with its constants behind XNNPACK's graph, as the format allows, not each in a segment of its own.

ExecuTorch keeps a delegate's constants as named data: a key of 64 characters for each, twice in the file, and an entry
in two tables. The keys look random, so no zip makes them smaller. XNNPACK's format also takes an offset into what
follows its graph (ConstantDataOffset in its schema.fbs), and its runtime reads either.
"""

import struct

from safedeploy.artifacts.pte.flatbuffer import Table, root
from safedeploy.artifacts.pte.xnnpack import BACKEND, HEADER, IDENTIFIERS

CONSTANTS, OFFSET, KEY = 8, 0, 2  # fields: of XNNGraph; of ConstantDataOffset
# in XNNPACK's header: where the graph begins, its size, where the data begin; the data's size
SIZES_AT, DATA_SIZE_AT = 10, 22
ALIGNMENT = 16  # of each constant and of what stands before them: XNNPACK reads vectors


def inlined(content: bytes) -> bytes:
    """The same program with the constants of its XNNPACK delegates in their payloads.

    Returns `content` itself where it holds named data that is not such a constant, and where delegates share so many
    that storing them with each would make the file larger.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    file = deserialize_pte_binary(content)
    if file.named_data is None:
        return content
    named = {key: bytes(file.named_data.buffers[at.buffer_index]) for key, at in file.named_data.pte_data.items()}
    delegates = [delegate for plan in file.program.execution_plan for delegate in plan.delegates]
    ids = {delegate.processed.index for delegate in delegates if delegate.id == BACKEND}
    taken: set[str] = set()
    for number in ids:
        payload = file.program.backend_delegate_data[number]
        payload.data, keys = _with_constants(bytes(payload.data), named)
        taken |= keys
    if taken != set(named):
        return content
    file.named_data = None
    return min(content, bytes(serialize_pte_binary(file, extract_delegate_segments=True)), key=len)


def _with_constants(payload: bytes, named: dict[str, bytes]) -> tuple[bytes, set[str]]:
    """(the payload with the named data that its graph asks for behind the graph, the keys it asked by)."""
    if payload[4:8] != HEADER:
        return payload, set()
    start, size, _ = struct.unpack_from("<III", payload, SIZES_AT)
    graph = bytearray(payload[start : start + size])
    places = root(bytes(graph), IDENTIFIERS, "XNNPACK's graph").tables(CONSTANTS)
    data = bytearray()
    offsets: dict[str, int] = {}
    layouts: dict[tuple[int, ...], int] = {}
    for place in places:
        key = place.text(KEY)
        if not key:
            continue
        if key not in offsets:
            offsets[key] = len(data)
            data += named[key]
            _pad(data)
        _point(graph, place, offsets[key], layouts)
    _pad(graph)
    header = bytearray(payload[:start])
    struct.pack_into("<III", header, SIZES_AT, start, len(graph), start + len(graph))
    struct.pack_into("<Q", header, DATA_SIZE_AT, len(data))
    return bytes(header + graph + data), set(offsets)


def _point(graph: bytearray, place: Table, offset: int, layouts: dict[tuple[int, ...], int]) -> None:
    """Give the table at `place` this offset, and a layout (FlatBuffers' vtable) in which it has no key.

    A FlatBuffer's tables may share a layout, so a new one is put at the end. The key's characters become zeros.
    """
    old = place.at - struct.unpack_from("<i", graph, place.at)[0]
    _, table_size, *fields = struct.unpack_from("<5H", graph, old)
    struct.pack_into("<Q", graph, place.at + fields[OFFSET], offset)
    text = place.at + fields[KEY]
    text += struct.unpack_from("<I", graph, text)[0]
    length = struct.unpack_from("<I", graph, text)[0]
    graph[text : text + 4 + length] = bytes(4 + length)
    struct.pack_into("<I", graph, place.at + fields[KEY], 0)
    layout = (4 + 2 * KEY, table_size, *fields[:KEY])
    if layout not in layouts:
        _pad(graph)
        layouts[layout] = len(graph)
        graph += struct.pack(f"<{len(layout)}H", *layout)
    struct.pack_into("<i", graph, place.at, place.at - layouts[layout])


def _pad(content: bytearray) -> None:
    content += bytes(-len(content) % ALIGNMENT)
