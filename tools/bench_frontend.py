"""The front end beside protobuf's own text reader: ratio of CPU times on the same files, paired, medians.

    python tools/bench_frontend.py models/vgg_E/train_val.prototxt path/to/other.prototxt --pairs 15

`text_format` is google.protobuf.text_format.Parse into a NetParameter. `read` is parse + bind (the same message, every
value's place kept); `compile` is the whole way to the checked graph, for one phase. Both sides start from the text in
memory; grammar and schema are loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from google.protobuf import text_format

from netc import NetcError, compile_net, proto
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_frontend.py`
from tools.timing import in_turn, medians, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--phase", default="TEST")
    options = parser.parse_args()
    for file in options.files:
        print(json.dumps(_compare(file, options.pairs, options.phase)))


def _compare(file: Path, pairs: int, phase: str) -> dict[str, object]:
    text = file.read_text()

    def theirs() -> None:
        text_format.Parse(text, proto.NetParameter())

    def read() -> None:
        source = Source(text, str(file))
        bind(parse(source), proto.NetParameter, source)

    def whole() -> None:
        compile_net(Source(text, str(file)), phase)

    row: dict[str, object] = {"file": str(file), "fields": text.count(":") + text.count("{")}
    for name, ours in (("read", read), ("compile", whole)):
        try:
            row |= _pairs(name, ours, theirs, pairs)
        except NetcError as error:
            row[name] = f"{error.code}: {error.message}"
    return row


def _pairs(name: str, ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> dict[str, float]:
    ours()
    theirs()
    mine, base, ratio = medians(in_turn(timed(ours, time.process_time), timed(theirs, time.process_time), pairs))
    return {
        f"{name}_ms": round(1e3 * mine, 2),
        "text_format_ms": round(1e3 * base, 2),
        f"{name}_ratio": round(ratio, 3),
    }


if __name__ == "__main__":
    main()
