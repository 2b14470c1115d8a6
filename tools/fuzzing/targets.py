"""What is fuzzed: each target gives bytes to a reader, says what came of it and knows how to change its files."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from netc import NetcError, proto, weights
from netc.check.explanations import titles
from netc.files.wire import Wire
from netc.graph.compile import compile_draft
from netc.graph.filter import state_of
from netc.graph.read import BinaryFile, TextFile, open_file
from netc.prototxt import Source, parse
from netc.prototxt.binary import Binary, kind_of
from netc.prototxt.bind import bind
from netc.prototxt.format import canonical
from netc.prototxt.rewrite import formatted
from netc.runtime.data.datum import from_datum
from netc.runtime.data.decoding import Undecodable
from netc.solver.settings import check
from netc.upgrade.text import upgraded_net, upgraded_solver
from tools.fuzzing import named_files
from tools.fuzzing.leveldb_files import leveldb_seeds, mutate_leveldb, read_leveldb
from tools.fuzzing.lmdb_files import lmdb_seeds, mutate_lmdb, read_lmdb
from tools.fuzzing.mutations import (
    mutate_bytes,
    mutate_json,
    mutate_json_lines,
    mutate_message,
    mutate_safetensors,
    mutate_text,
    mutate_words,
)

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Target:
    """`run` returns the outcome ("ok", the errors' codes) and raises what should never be raised. `mutate` changes a
    file at random, with parts lent by another one. `corpus`: the folder of files to start from; `beside`: further ones
    of this repository."""

    run: Callable[[bytes], str]
    mutate: Callable[[bytes, bytes, random.Random], bytes]
    corpus: str
    beside: tuple[str, ...] = ()
    make: Callable[[], list[bytes]] = list
    """Makes further ones."""

    @cached_property
    def seeds(self) -> list[bytes]:
        patterns = [f"tests/fuzz/corpus/{self.corpus}/*", *self.beside]
        found = [path.read_bytes() for each in patterns for path in sorted(ROOT.glob(each))]
        return list(dict.fromkeys([*found, *self.make()]))


# -- running -----------------------------------------------------------------------------------------------------------


def _outcomes(steps: Iterable[Callable[[], Any]]) -> str:
    """What came of each step: "ok" or the codes of its errors, each of which must be well-formed."""
    return " ".join(_outcome(step) for step in steps)


def _outcome(step: Callable[[], Any]) -> str:
    try:
        step()
    except NetcError as error:
        return _codes(error)
    return "ok"


def _codes(error: NetcError) -> str:
    return "+".join(sorted({_checked(one) for one in error.errors}))


def _checked(error: NetcError) -> str:
    """The error's code and kind; a finding where it is not well-formed."""
    if not (str(error) and error.message and error.place and error.code in titles()):
        raise ValueError(f"an error without message, place or known code: {error!r}")
    return f"{error.code}:{_shape(error.message)}"


def _shape(message: str) -> str:
    """A message without what it says of this very file."""
    return " ".join(re.sub(r'(?s)".*"|\(.*\)|[^a-zA-Z ]', "", message).split()[:6])


def run_text(data: bytes) -> str:
    """The front end: a net for both phases, without probing its data; or a solver and its settings."""
    source = Source(data.decode("utf-8", "surrogateescape"))
    return _all_of(lambda: _stages(open_file(source)))


def _all_of(read: Callable[[], list[Callable[[], Any]]]) -> str:
    """What came of reading a file, and of the steps that it then allows."""
    steps: list[Callable[[], Any]] = []
    return _outcomes([lambda: steps.extend(read())]) + _outcomes(steps)


def _stages(file: TextFile | BinaryFile) -> list[Callable[[], Any]]:
    if file.kind == "solver":
        return [partial(check, *file.solver())]
    draft = file.draft()
    return [partial(compile_draft, draft, state_of(draft, phase)) for phase in (0, 1)]


READERS = (
    *(weights.read, weights.read, weights.read, weights.read),
    *(weights.read_layers, weights.read_net, weights.read_solverstate, weights.read_blob),
)


def run_binary(data: bytes) -> str:
    """A reader of weight files; which one, a sum over the bytes decides."""
    reader = READERS[zlib.adler32(data) % len(READERS)]
    return f"{reader.__name__} {_outcome(partial(_read, reader, data))}"


def _read(reader: Callable[[bytes], Any], data: bytes) -> None:
    found = reader(data)
    if isinstance(found, weights.Weights):  # no array is larger than what the file has for it, if it is packed well
        largest = max((array.nbytes for arrays in found.values() for array in arrays), default=0)
        assert largest <= 1100 * len(data), f"an array of {largest:,} bytes"


def run_message(data: bytes) -> str:
    """Binary nets and solvers."""
    fields = Wire(data)
    kind = kind_of(fields)
    if kind is None:
        return "neither"
    return _all_of(lambda: _stages(BinaryFile(Binary("<bytes>", kind, fields))))


def run_format(data: bytes) -> str:
    """`netc fmt` and `netc upgrade`: what they write is read as the same, and formatting it again changes nothing."""
    source = Source(data.decode("utf-8", "surrogateescape"))
    found = _outcomes([partial(_format, source), partial(_upgrade, source), partial(_print, source)])
    if "O150" in found:  # their own check that nothing has changed
        raise ValueError(found)
    return found


def _format(source: Source) -> None:
    once = formatted(source)
    if formatted(Source(once)) != once:
        raise ValueError(f"formatting again changes {once!r}")


def _upgrade(source: Source) -> None:
    file = TextFile(source, parse(source))
    text = (upgraded_solver(source, file.tree) if file.kind == "solver" else upgraded_net(file.draft())).text
    if text is not None:
        parse(Source(text))


def _print(source: Source) -> None:
    """The canonical print of a message is read as the same message."""
    tree = parse(source)
    kind = proto.SolverParameter if TextFile(source, tree).kind == "solver" else proto.NetParameter
    message = bind(tree, kind, source)
    again = Source(canonical(message))
    if bind(parse(again), kind, again).SerializeToString() != message.SerializeToString():
        raise ValueError(f"read otherwise: {again.text!r}")


def run_datum(data: bytes) -> str:
    """A record of an LMDB."""
    try:
        picture = from_datum(b"key", data, (None, True, False)[len(data) % 3])
    except Undecodable as error:
        return _shape(str(error))
    assert min(picture.size) > 0
    return "ok"


def _file(steps: Callable[[bytes], named_files.Steps]) -> Callable[[bytes], str]:
    return lambda data: " ".join(map(_read_file, steps(data)))


def _read_file(step: Callable[[], Any]) -> str:
    """The end of these readers' messages tells more than the beginning."""
    try:
        found = step()
    except NetcError as error:
        return f"{_codes(error)} {_shape(error.message.rpartition(':')[2])}"
    return f"ok {found}" if isinstance(found, str) else "ok"


def _reading(read: Callable[[bytes], None]) -> Callable[[bytes], str]:
    """What came of a reader that answers nothing."""
    return _file(lambda data: [partial(read, data)])


# -- the table ---------------------------------------------------------------------------------------------------------

_TEXTS = (
    *(f"tests/goldens/{folder}/*.prototxt" for folder in ("layers", "errors", "textformat", "nets")),
    *("tests/broken/*/*.prototxt", "models/mini_vgg_A/*.prototxt"),
)

TARGETS = {
    "text": Target(run_text, mutate_text, "text", _TEXTS),
    "fmt": Target(run_format, mutate_text, "text", _TEXTS),
    "binary": Target(run_binary, mutate_message, "binary"),
    "message": Target(run_message, mutate_message, "message"),
    "safetensors": Target(run_binary, mutate_safetensors, "safetensors"),
    "npz": Target(run_binary, mutate_bytes, "npz"),
    "hdf5": Target(run_binary, mutate_bytes, "hdf5"),
    "datum": Target(run_datum, mutate_message, "datum"),
    "lmdb": Target(_reading(read_lmdb), mutate_lmdb, "lmdb", make=lmdb_seeds),
    "leveldb": Target(_reading(read_leveldb), mutate_leveldb, "leveldb", make=leveldb_seeds),
    "lists": Target(_file(named_files.lists), mutate_words, "lists"),
    "windows": Target(_file(named_files.windows), mutate_words, "windows"),
    "hdf5data": Target(_file(named_files.hdf5_data), mutate_bytes, "hdf5data"),
    "metrics": Target(_file(named_files.records), mutate_json_lines, "metrics"),
    "manifests": Target(_file(named_files.manifests), mutate_json, "manifests"),
    "cards": Target(_file(named_files.cards), mutate_json, "cards"),
}
