"""What fuzz.py makes of files: damage and malice, one change at a time, by the format or by the bytes."""

from __future__ import annotations

import ast
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from benchmarks.robustness import fuzz_words as words

_ENTRY = b"PK\x01\x02"  # opens an entry of a zip's index
# Of it: method, flags, CRC, both sizes, lengths of name and extra, place of the member. Offset and bytes of each.
_ENTRY_FIELDS = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))
_MOST_BYTES = 2**26
Change = Callable[[random.Random, bytes], bytes]


def changed(rng: random.Random, name: str, data: bytes) -> bytes:
    """A file's content changed once: mostly by the format that its name's ending says, else, or where it is that format
    no longer, by its bytes."""
    change = FORMATS.get(PurePath(name).suffix, FORMATS[".json"] if data[:1] == b"{" else of_bytes)
    if rng.random() < 0.8:
        with suppress(Exception):  # it is of that format no longer
            return change(rng, data)
    return of_bytes(rng, data)


def of_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bits flipped, runs overwritten, cut, doubled, put in, another number where one may be; or another file."""
    at, n = rng.randrange(len(data) + 1), min(len(data), int(2 ** rng.uniform(0, 14)))
    how = rng.randrange(10)
    if how == 0:
        made = bytearray(data or b"\0")
        for _ in range(rng.randint(1, 8)):
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
        return bytes(made)
    if how == 1:
        return data[:at]
    if how == 2:
        return data[:at] + data[at + n :]
    if how == 3:
        return data[:at] + data[at : at + n] * rng.choice((2, 3, 50)) + data[at + n :]
    if how == 4:
        return data[:at] + rng.choice(words.BYTES) + data[at:]
    if how == 5:
        return data[:at] + rng.choice((b"\0", b"\xff", b" ")) * n + data[at + n :]
    if how == 6:
        return data[:at] + rng.randbytes(n) + data[at + n :]
    if how in (7, 8):
        n_bytes = rng.choice((1, 2, 4, 8))
        number = (rng.choice(words.FIELDS) % 256**n_bytes).to_bytes(n_bytes, rng.choice(("little", "big")))
        return data[:at] + number + data[at + n_bytes :]
    return rng.choice([*words.WHOLES, data.decode("latin-1").encode("utf-16"), b"\xef\xbb\xbf" + data, data + data])


def of_json(rng: random.Random, data: bytes) -> bytes:
    """A value replaced, a key gone, doubled or called otherwise, at a place that is chosen evenly."""
    whole = {"": json.loads(data)}
    places: list[tuple[Any, Any]] = []
    level: list[Any] = [whole]
    while level:
        container = level.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        places += [(container, key) for key in keys]
        level += [container[key] for key in keys if isinstance(container[key], dict | list)]
    container, key = rng.choice(places)
    raw = _change_place(rng, container, key, places)
    text = json.dumps(whole.get(""), ensure_ascii=rng.random() < 0.9)
    if raw is not None:
        text = text.replace('"\\u0001"', raw, 1).replace('"\1"', raw, 1)
    return text.encode("utf-8", "surrogatepass")


def _change_place(rng: random.Random, container: Any, key: Any, places: list[tuple[Any, Any]]) -> str | None:
    """Changes `container[key]`; gives raw text for a place that is marked by the text of a single \\1."""
    how, old = rng.randrange(8), container[key]
    if how == 0:
        del container[key]
    elif how == 1:
        other, place = rng.choice(places)
        container[key] = json.loads(json.dumps(other[place] if place in _keys(other) else None))
    elif how == 2 and isinstance(container, dict) and key != "":
        container[rng.choice([*words.KEYS, key + "s", key.upper()])] = container.pop(key)
    elif how == 3:
        n_same = 3 if isinstance(old, dict | list) else 2000
        wrapped: list[Any] = [[old], {"a": old}, str(old), [old] * n_same, None, not old]
        container[key] = rng.choice(wrapped)
    elif how == 4 and isinstance(old, int | float):
        container[key] = rng.choice([old + 1, old - 1, -old, old * 1000, old * 10**9, old * 0.5, old / 1e9, float(old)])
    elif how == 4 and isinstance(old, str):
        is_document = old.startswith("{")
        within = of_json(rng, old.encode()).decode("utf-8", "replace") if is_document else old + rng.choice("x\n\0")
        container[key] = within
    elif how == 5:
        container[key] = "\1"
        return rng.choice(words.RAW)
    elif how == 6 and isinstance(container, dict) and key != "":
        container[key] = "\1"
        name, again = json.dumps(key), json.dumps(rng.choice(words.NASTY))
        return f"{json.dumps(old)}, {name}: {again}"
    else:
        container[key] = rng.choice(words.NASTY)
    return None


def _keys(container: Any) -> Any:
    return container if isinstance(container, dict) else range(len(container))


def of_json_lines(rng: random.Random, data: bytes) -> bytes:
    """A document on each line, one of them changed."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = of_json(rng, lines[at])
    return b"\n".join(lines)


def of_lines(rng: random.Random, data: bytes) -> bytes:
    """Lines of `key = value`, as in TOML, or `key: value`: one changed, gone, doubled, moved, or a new one."""
    lines = data.decode().split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    key, sign, _ = re.fullmatch(r"([^=:]*)([=:]?)(.*)", lines[at], re.DOTALL).groups()  # type: ignore[union-attr]
    how = rng.randrange(10)
    if how in (0, 1, 2, 3):
        lines[at] = f"{key}{sign or '='} {rng.choice(words.LINES)}"
    elif how == 4:
        lines[at] = f"{rng.choice(words.KEYS)} {lines[at].removeprefix(key)}"
    elif how == 5:
        del lines[at]
    elif how == 6:
        lines.insert(other, lines[at])
    elif how == 7:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 8:
        lines.insert(at, rng.choice(words.HEADS))
    else:
        lines.insert(at, f"{rng.choice(words.KEYS)} = {rng.choice(words.LINES)}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def of_zip(rng: random.Random, data: bytes) -> bytes:
    """A member changed, gone, doubled, called otherwise, inflating to gigabytes; or what the index says of one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise ValueError("flooded before")
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    at, how = rng.randrange(len(members)), rng.randrange(8)
    name, content = members[at]
    if how in (0, 1, 2):
        small = [i for i, (own, _) in enumerate(members) if own.endswith((".json", ".npy"))]
        at = rng.choice(small or [at]) if rng.random() < 0.7 else at
        members[at] = (members[at][0], changed(rng, *members[at]))
    elif how == 3:
        del members[at]
    elif how == 4:
        members.append((name, rng.choice((content, b"", rng.choice(members)[1]))))
    elif how == 5:
        members[at] = (rng.choice(words.MEMBERS).format(name), content)
    elif how == 6:
        return _with_flood(rng, members, at)
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", rng.choice((0, 0, 8))) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for own_name, own_content in members:
            archive.writestr(zipfile.ZipInfo(own_name), own_content, archive.compression)
    return _with_lies(rng, made.getvalue()) if how == 7 else made.getvalue()


def _with_lies(rng: random.Random, data: bytes) -> bytes:
    """Another method, flag, size or place in the index of a zip."""
    starts = [found.start() for found in re.finditer(re.escape(_ENTRY), data)]
    start, (offset, n) = rng.choice(starts), rng.choice(_ENTRY_FIELDS)
    lie = (rng.choice(words.FIELDS) % 256**n).to_bytes(n, "little")
    return data[: start + offset] + lie + data[start + offset + n :]


def _with_flood(rng: random.Random, members: list[tuple[str, bytes]], at: int) -> bytes:
    """A zip of which one member inflates to three GiB of zeros; its index says so, or keeps silent."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = maker.compress(bytes(2**20)) + maker.flush(zlib.Z_FULL_FLUSH)
    flood = block * 3072 + maker.flush()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for i, (name, content) in enumerate(members):
            archive.writestr(zipfile.ZipInfo(name), flood if i == at else content)
        entry = archive.infolist()[at]
    data, told = bytearray(made.getvalue()), rng.choice((3 * 2**30, len(members[at][1]), 100))
    starts = [found.start() for found in re.finditer(re.escape(_ENTRY), bytes(data))]
    index = next(start for start in starts if struct.unpack_from("<I", data, start + 42) == (entry.header_offset,))
    for start, offset in ((entry.header_offset, 0), (index, 2)):
        struct.pack_into("<H", data, start + 8 + offset, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", data, start + 22 + offset, told)
    return bytes(data)


def of_npy(rng: random.Random, data: bytes) -> bytes:
    """Another shape, kind of number or header."""
    n_header = struct.unpack_from("<H", data, 8)[0]
    header = data[10 : 10 + n_header].decode("latin-1")
    how = rng.randrange(4)
    if how == 0:
        header = rng.choice(words.NPY_HEADERS)
    else:
        fields = {repr(key): repr(value) for key, value in ast.literal_eval(header).items()}
        key, value = rng.choice(words.NPY_FIELDS)
        fields[key] = value
        header = "{" + ", ".join(f"{name}: {text}" for name, text in fields.items()) + "}\n"
    body = words.PICKLE if how == 1 else data[10 + n_header :]
    return data[:8] + struct.pack("<H", min(len(header), 65535)) + header.encode("latin-1") + body


def of_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Another header, or another length of it."""
    n_header = struct.unpack_from("<Q", data)[0]
    header, body = data[8 : 8 + n_header], data[8 + n_header :]
    if rng.random() < 0.1:
        return struct.pack("<Q", rng.choice((0, 1, n_header - 1, n_header + 9, *words.FIELDS))) + header + body
    told = json.loads(header)
    if "__metadata__" in told and rng.random() < 0.5:
        about = of_json(rng, json.dumps(told.pop("__metadata__")).encode())
        header = b'{"__metadata__": ' + about + b", " + json.dumps(told).encode()[1:]
    else:
        header = of_json(rng, header)
    return struct.pack("<Q", len(header)) + header + body[: rng.choice((None, None, 1000))]


def _column(rng: random.Random, n: int) -> pa.Array:
    """Something else in each of n rows."""
    odd = pa.array([1] * n, pa.timestamp("ns")), pa.array(["a"] * n).dictionary_encode(), pa.array(map(str, range(n)))
    return rng.choice([*odd, *(pa.array([value] * n) for value in words.COLUMNS)])


def of_parquet(rng: random.Random, data: bytes) -> bytes:
    """A column gone, doubled, called otherwise or of another kind; rows gone or doubled; other notes of pandas."""
    table = parquet.read_table(pa.BufferReader(data))
    at, how = rng.randrange(table.num_columns), rng.randrange(10)
    name = table.column_names[at]
    if how == 0:
        table = table.remove_column(at)
    elif how == 1:
        other = rng.choice([*words.KEYS, "key"])
        table = table.rename_columns([other if own == name else own for own in table.column_names])
    elif how == 2:
        table = table.append_column(name, table.column(at))
    elif how == 3:
        table = rng.choice((table.slice(0, 0), table.slice(0, 1), pa.concat_tables([table, table])))
    elif how == 4 and pa.types.is_string(table.column(at).type):
        texts = [of_json(rng, text.encode()) if text else None for text in table.column(at).to_pylist()]
        table = table.set_column(at, name, pa.array(texts, pa.binary()).cast(pa.string()))
    elif how == 5 and table.schema.metadata:
        notes = {key: of_json(rng, value) for key, value in table.schema.metadata.items()}
        table = table.replace_schema_metadata(rng.choice((None, notes)))
    elif how == 6:
        table = table.append_column(rng.choice(words.KEYS), _column(rng, table.num_rows))
    else:
        table = table.set_column(at, name, _column(rng, table.num_rows))
    made = io.BytesIO()
    parquet.write_table(table, made)
    return made.getvalue()


FORMATS: dict[str, Change] = {
    ".json": of_json,
    ".toml": of_lines,
    ".mplstyle": of_lines,
    ".txt": of_lines,
    ".trials": of_json_lines,
    ".zip": of_zip,
    ".npz": of_zip,
    ".pt": of_zip,
    ".npy": of_npy,
    ".safetensors": of_safetensors,
    ".parquet": of_parquet,
}
