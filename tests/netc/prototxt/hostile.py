"""Compiles each hostile text in a process of its own and prints {case: {code, seconds, megabytes, unit}} as JSON.

Run by test_limits.py. `code` is the error's code, "accepted", or how the process died under its resource limits.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import netc
from netc.prototxt import Source
from tests.effort import unit

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }\n'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }\n'
MANY = 1_000_000


def concat(bottoms: str) -> str:
    return DATA + f'layer {{ name: "c" type: "Concat" {bottoms} top: "c" }}'


def slope(value: str) -> str:
    return f"layer {{ relu_param {{ negative_slope: {value} }} }}"


TEXTS: dict[str, Callable[[], str]] = {
    "deep": lambda: "layer {" * 100_000,
    "deep and closed": lambda: "layer {" * 100_000 + "}" * 100_000,
    "deep angles": lambda: "<" * MANY,
    "closing only": lambda: "}" * MANY,
    "a million layers": lambda: DATA + RELU * MANY,
    "empty layers": lambda: DATA + "layer{}" * 60_000,
    "layers in place": lambda: DATA + RELU * 17_000,
    "layers on one blob": lambda: DATA + "".join(RELU.replace('top: "data"', f'top: "{i}"') for i in range(17_000)),
    "a chain from nowhere": lambda: "".join(
        f'layer {{ type: "ReLU" bottom: "{i}" top: "{i + 1}" }}' for i in range(25_000)
    ),
    "one producer again and again": lambda: DATA * 12_000,
    "unknown fields on one line": lambda: "foo: 1 " * 190_000,
    "a million bottoms": lambda: concat('bottom: "data" ' * MANY),
    "unknown bottoms": lambda: concat('bottom: "x" ' * 90_000),
    "distinct tops": lambda: 'layer { type: "Input" ' + "".join(f'top: "{i}" ' for i in range(90_000)) + "}",
    "a million dims": lambda: 'input: "data" input_shape { dim: [' + "1," * MANY + "1] }",
    "many dims": lambda: 'input: "data" input_shape { ' + "dim: 1 " * 190_000 + "}",
    "param blocks": lambda: concat('bottom: "data" ' + "param { lr_mult: 1 } " * 40_000),
    "rules": lambda: (
        DATA + 'layer { type: "ReLU" bottom: "data" top: "data" ' + 'include { stage: "a" } ' * 40_000 + "}"
    ),
    "unclosed strings": lambda: 'name: "a\n' * 120_000,
    "escapes": lambda: 'name: "' + "\\\\" * 2_000_000 + '"',
    "bad escapes": lambda: 'name: "' + "\\q" * 2_000_000 + '"',
    "comments": lambda: "#\n" * 2_000_000,
    "separators": lambda: ";" * 4_000_000,
    "a long name": lambda: "a" * 4_000_000,
    "a long field": lambda: "a" * 2_000_000 + ": " + "b" * 2_000_000,
    "blank lines": lambda: "a: b" + "\n" * 4_000_000,
    "minus signs": lambda: slope("-" * 4_000_000),
    "a long whole number": lambda: "input_dim: " + "1" * 4_000_000,
    "5000 digits": lambda: "input_dim: " + "7" * 5000,
    "5000 zeros": lambda: "input_dim: " + "0" * 5000,
    "a long fraction": lambda: slope("1" * 4_000_000),
    "beyond float": lambda: slope("1e400"),
    "a long exponent": lambda: slope("1e" + "9" * MANY),
    "errors in every block": lambda: "layer { a = 1 }\n" * 8_000,
    "NUL": lambda: 'name: "x\0y"',
    "NULs further down": lambda: 'name: "x" ' + " " * 500 + "\0" * 4_000_000,
    "byte order mark": lambda: '\ufeffname: "x"',
    "carriage returns": lambda: DATA.replace(" ", "\r\n"),
}

FILES: dict[str, Callable[[], bytes]] = {
    "UTF-16": lambda: DATA.encode("utf-16"),
    "not UTF-8": lambda: b'name: "caf\xe9"',
    "bytes that are not text": lambda: bytes(range(256)) * 1000,
    "100 MB": lambda: RELU.encode() * (100_000_000 // len(RELU)),
}


def sparse(path: Path) -> None:
    """A string of a gigabyte that takes no space on the disk."""
    with path.open("wb") as file:
        file.write(b'name: "')
        file.truncate(1 << 30)


def main() -> None:
    compile_quietly(Source(DATA + RELU))  # grammar, schema and layer types are loaded once, before any fork
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        found = {name: run(Source(make())) for name, make in TEXTS.items()}
        for name, contents in FILES.items():
            path.write_bytes(contents())
            found[name] = run(path)
        sparse(path)
        found["a sparse gigabyte"] = run(path)
    speed = unit()  # after the forks: their memory is counted
    json.dump({name: {**result, "unit": speed} for name, result in found.items()}, sys.stdout)


def compile_quietly(source: Source | Path) -> str:
    try:
        netc.compile_net(source)
    except netc.NetcError as error:
        str(error)
        return error.code
    return "accepted"


def run(source: Source | Path) -> dict[str, object]:
    """Compile in a fork with 60 s of CPU and 1 GB, so that a failure is reported and harms nobody."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
        try:
            code = compile_quietly(source)
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"[:200]
        os.write(writing, code.encode())
        os._exit(0)
    os.close(writing)
    _, status, usage = os.wait4(pid, 0)
    with os.fdopen(reading, "rb") as answer:
        code = answer.read().decode() or f"died with status {status}"
    return {"code": code, "seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
