"""What `netc pack` saves and costs: bytes of the records, and images/s of the TRAIN transform before and after.

    python tools/bench_pack.py ../shared/zoo/images/imagenet_samples --short-side 512 --pairs 5

Builds a temporary LMDB of the folder's JPEGs as they are, packs it, and runs the feed of tools/bench_data.py on both in
turn, one thread each, by processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch

from netc.runtime.imageset.pack import pack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_pack.py`
from tools.bench_data import _build, _feed
from tools.timing import in_turn, medians, timed

BATCHES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder of JPEGs")
    parser.add_argument("--short-side", type=int, default=512)
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        large.mkdir()
        photos, start = _build(Path(options.photos), str(large)), time.process_time()
        made = pack(large, small, options.short_side, options.quality, workers=1)
        cost = time.process_time() - start
        before, after = (timed(_batches(str(db), options.batch), time.process_time) for db in (large, small))
        pairs = in_turn(before, after, options.pairs)
    before_s, after_s, _ = medians(pairs)
    images = BATCHES * options.batch
    report = made.as_dict() | {
        "photos": photos,
        "packing, ms of one core an image": round(1000 * cost / photos, 1),
        "feed before, images/s of one core": round(images / before_s),
        "feed after, images/s of one core": round(images / after_s),
        "after / before": round(statistics.median(a / b for a, b in pairs), 2),
    }
    print(json.dumps(report, indent=1))


def _batches(folder: str, size: int) -> Callable[[], None]:
    feed, starts = _feed(folder, size, 1), count(0, BATCHES)

    def run() -> None:
        start = next(starts)
        for k in range(start, start + BATCHES):
            feed.batch(k, stop=(start + BATCHES) * size)

    run()
    return run


if __name__ == "__main__":
    main()
