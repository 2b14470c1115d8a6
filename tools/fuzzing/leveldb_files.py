"""Small LevelDBs, made by the words of their format documents: tables, Snappy, logs, deletions.

For the fuzzer the files of a folder stand in a row, each with its name and length before it.
"""

from __future__ import annotations

import random
import struct

from netc.runtime.data.leveldb import LevelDB
from tools.fuzzing.folders import read_files
from tools.fuzzing.mutations import mutate_bytes

MAGIC = 0xDB4775248B80FB57
PUT, DELETE = 1, 0


def number(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def log(*records: bytes) -> bytes:
    """Records in pieces that end with their block of 32768 bytes. Checksums stay 0: nobody looks."""
    out = b""
    for record in records:
        kind = 1
        while True:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            piece, record = record[: room - 7], record[room - 7 :]
            kind = {(1, False): 1, (1, True): 2, (2, False): 4, (2, True): 3}[kind, bool(record)]
            out += struct.pack("<IHB", 0, len(piece), kind) + piece
            if not record:
                break
            kind = 2
    return out


def batch(sequence: int, *entries: tuple[int, bytes, bytes]) -> bytes:
    rows = [bytes([kind]) + text(key) + (text(value) if kind == PUT else b"") for kind, key, value in entries]
    return struct.pack("<QI", sequence, len(entries)) + b"".join(rows)


def literals(data: bytes) -> bytes:
    """Snappy without a copy, in pieces of at most 300 bytes."""
    pieces = [data[i : i + 300] for i in range(0, len(data), 300)]
    tags = [bytes([len(p) - 1 << 2]) if len(p) < 61 else b"\xf4" + struct.pack("<H", len(p) - 1) for p in pieces]
    return number(len(data)) + b"".join(tag + piece for tag, piece in zip(tags, pieces, strict=True))


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Keys without what they share with the one before, and one restart."""
    out, last = [], b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last)) if a != b), min(len(key), len(last)))
        out.append(number(shared) + number(len(key) - shared) + number(len(value)) + key[shared:] + value)
        last = key
    return b"".join(out) + struct.pack("<II", 0, 1)


def table(entries: list[tuple[bytes, int, int, bytes]], snappy: bool = False, a_block: int = 3) -> bytes:
    """(key, sequence, kind, value), sorted → a table with so many entries a block."""
    out, index = b"", []
    rows = [(key + struct.pack("<Q", sequence << 8 | kind), value) for key, sequence, kind, value in entries]
    for start in range(0, len(rows), a_block):
        part = block(rows[start : start + a_block])
        part = literals(part) if snappy else part
        index.append((rows[start : start + a_block][-1][0], number(len(out)) + number(len(part))))
        out += part + bytes([snappy]) + bytes(4)
    meta, out = len(out), out + block([]) + bytes(5)
    place, listed = len(out), block(index)
    footer = number(meta) + number(8) + number(place) + number(len(listed))
    return out + listed + bytes(5) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def came(level: int, name: int) -> bytes:
    """The edit that a table came."""
    return b"\x07" + number(level) + number(name) + number(99) + text(b"smallest") + text(b"largest")


def folder_of(files: dict[str, bytes], *edits: bytes) -> dict[str, bytes]:
    """These files, with a manifest of the edits and what names it."""
    first = b"\x01" + text(b"leveldb.BytewiseComparator") + b"\x03" + number(500) + b"\x04" + number(900)
    return {"MANIFEST-000004": log(first, *edits), "CURRENT": b"MANIFEST-000004\n", **files}


def leveldb_seeds() -> list[bytes]:
    rows = [(b"%03d" % i, i + 1, PUT, b"value %d" % i * i) for i in range(12)]
    newer = [(b"002", 40, PUT, b"new"), (b"003", 41, DELETE, b""), (b"020", 42, PUT, bytes(5000))]
    writes = log(batch(50, (PUT, b"011", b"x" * 40000), (DELETE, b"004", b"")), batch(52, (PUT, b"005", b"last")))
    tables = {"000005.ldb": table(rows, snappy=True), "000006.sst": table(newer, a_block=1)}
    return [
        packed(folder_of({"000005.ldb": table(rows)}, came(0, 5))),
        packed(folder_of({"000003.log": log(batch(1, (PUT, b"a", b"1"), (PUT, b"b", b"")))})),
        packed(folder_of({**tables, "000009.log": writes}, came(1, 5) + came(0, 6), b"\x02\x09")),
    ]


def packed(files: dict[str, bytes]) -> bytes:
    """A folder as bytes."""
    return b"".join(struct.pack("<HI", len(n), len(c)) + n.encode() + c for n, c in sorted(files.items()))


def unpacked(data: bytes) -> dict[str, bytes]:
    """A folder again; what its bytes do not tell is left out."""
    files: dict[str, bytes] = {}
    at = 0
    while at + 6 <= len(data) and len(files) < 20:
        name, length = struct.unpack_from("<HI", data, at)
        at += 6 + name
        text = data[at - name : at].decode("ascii", "replace")
        files[text] = data[at : at + length]
        at += length
    return files


def mutate_leveldb(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One of the files changed, cut off, lost, or taken from elsewhere."""
    files, lent = unpacked(data), unpacked(other)
    if not files:
        return mutate_bytes(data, other, rng)
    name = rng.choice(sorted(files))
    match rng.randrange(8):
        case 0:
            files[name] = files[name][: rng.randrange(len(files[name]) + 1)]
        case 1:
            del files[name]
        case 2:
            files[name] = rng.choice([*lent.values(), b""])
        case 3:
            start = rng.randrange(len(files[name]) + 1)
            files[name] = files[name][:start] + bytes(len(files[name]) - start)
        case _:
            files[name] = mutate_bytes(files[name], rng.choice([*lent.values(), b""]), rng)
    return packed(files)


def read_leveldb(data: bytes) -> None:
    """All of a LevelDB, by position, forwards and backwards."""
    names = {name: content for name, content in unpacked(data).items() if name.isprintable() and "/" not in name}
    read_files({name: content for name, content in names.items() if name.strip(".")}, LevelDB)
