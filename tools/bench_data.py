"""Images/s of the data layer against a bare loop of the same decoder and resize, and what training waits for it.

    python tools/bench_data.py ../shared/zoo/images/imagenet_samples --pairs 7
    python tools/bench_data.py photos/ --decoder pillow --step-ms 400

Builds a temporary LMDB of the folder's JPEGs (as they are, walked recursively), then measures four things:

* one core: the feed with one thread against the loop a person would write for the same recipe (decode, shorter side
  drawn from [256;512], resize of the crop's region, crop of 224, flip, colour shift, mean, float32, NCHW batch).
  Processor time, as both sides' work is the same and the machine may be shared; the order within a pair alternates.
* reader: the same feed against itself with LMDB's own reader in the place of netc's, processor time; and what one
  record costs each of them.
* all cores: the feed with a thread a core against one thread, by the clock.
* waiting: a step of fixed length that keeps one core busy without Python's lock, as a training step does, after each
  batch; the share of the run that the step waited for its batch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import netc
from netc import proto
from netc.runtime.data import decoding, open_feed, probe

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_data.py`
from tools.timing import in_turn, medians, timed

CROP, LOW, HIGH = 224, 256, 512
BATCHES = 4
MEAN = (103.939, 116.779, 123.68)
VALUES = (14143.0, 1222.0, 293.0)
VECTORS = np.array([[0.5836, 0.5808, 0.5675], [-0.6948, -0.0045, 0.7192], [-0.4203, 0.8140, -0.4009]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder of JPEGs")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--decoder", choices=["best", "pillow"], default="best")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="threads of the feed")
    parser.add_argument("--step-ms", type=float, default=200.0, help="length of the simulated training step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.decoder == "pillow":
        vars(decoding)["simplejpeg"] = None
    with tempfile.TemporaryDirectory() as folder:
        records = _build(Path(options.photos), folder)
        report = {"decoder": "simplejpeg" if _fast() else "Pillow", "photos": records}
        report |= _one_core(folder, options)
        report |= _reader(folder, options)
        report |= _all_cores(folder, options)
        report |= _waiting(folder, options)
    print(json.dumps(report, indent=1))


def _build(photos: Path, folder: str) -> int:
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    with lmdb.open(folder, map_size=1 << 34) as env, env.begin(write=True) as transaction:
        for number, path in enumerate(files):
            record = proto.Datum(encoded=True, label=number, data=path.read_bytes())
            transaction.put(b"%08d" % number, record.SerializeToString())
    return len(files)


def _feed(folder: str, batch: int, workers: int) -> Any:
    shift = "".join(f"eigenvalue: {v} " for v in VALUES) + "".join(f"eigenvector: {v} " for v in VECTORS.ravel())
    mean = " ".join(f"mean_value: {value}" for value in MEAN)
    text = f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
        data_param {{ source: "{folder}" backend: LMDB batch_size: {batch} }}
        transform_param {{ crop_size: {CROP} mirror: true {mean} color_shift_param {{ {shift} }}
            rescale_param {{ min_short_side: {LOW} max_short_side: {HIGH} }} }} }}"""
    return open_feed(netc.compile_net(text, "TRAIN", probe=probe).nodes[0].layer, 0, seed=1, workers=workers)


# -- the loop a person would write -------------------------------------------------------------------------------------


def _bare_batch(contents: list[bytes], draw: np.random.Generator) -> torch.Tensor:
    decode = _with_simplejpeg if _fast() else _with_pillow
    batch = np.empty((len(contents), 3, CROP, CROP), np.float32)
    deviations = 0.1 * np.sqrt(VALUES)
    for place, content in zip(batch, contents, strict=True):
        region = _bare_crop(decode(content), draw)
        if draw.random() < 0.5:
            region = region[:, ::-1]
        place[...] = region.transpose(2, 0, 1)[::-1]
        place -= (np.array(MEAN) - (deviations * draw.standard_normal(3)) @ VECTORS).astype(np.float32).reshape(3, 1, 1)
    return torch.from_numpy(batch)


def _fast() -> Any:
    """The module simplejpeg if the feed uses it, else None."""
    return vars(decoding)["simplejpeg"]


def _with_pillow(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    return image if image.mode == "RGB" else image.convert("RGB")


def _with_simplejpeg(content: bytes) -> Image.Image:
    return Image.fromarray(_fast().decode_jpeg(content, "RGB"))


def _bare_crop(image: Image.Image, draw: np.random.Generator) -> NDArray[np.uint8]:
    scale = draw.integers(LOW, HIGH + 1) / min(image.size)
    x, y = (draw.integers(0, round(side * scale) - CROP + 1) / scale for side in image.size)
    box = (x, y, min(x + CROP / scale, image.width), min(y + CROP / scale, image.height))
    return np.asarray(image.resize((CROP, CROP), Image.Resampling.BILINEAR, box=box))


# -- measuring ---------------------------------------------------------------------------------------------------------


def _one_core(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Processor time of BATCHES batches each; the same photographs on both sides."""
    contents, draw = _contents(folder), np.random.default_rng(0)
    feed, size = _feed(folder, options.batch, 1), options.batch
    our_starts, their_starts = count(0, BATCHES), count(BATCHES, BATCHES)

    def ours() -> None:
        start = next(our_starts)
        for k in range(start, start + BATCHES):  # nothing is decoded ahead past `stop`, into the other side's time
            feed.batch(k, stop=(start + BATCHES) * size)

    def bare() -> None:
        start = next(their_starts)
        for k in range(start, start + BATCHES):
            _bare_batch([contents[i % len(contents)] for i in range(k * size, (k + 1) * size)], draw)

    ours()
    pairs = in_turn(timed(ours, time.process_time), timed(bare, time.process_time), options.pairs)
    feed.close()
    our_s, bare_s, _ = medians(pairs)
    return {
        "one core: feed, images/s": round(BATCHES * size / our_s),
        "one core: bare loop, images/s": round(BATCHES * size / bare_s),
        "one core: feed / bare": round(statistics.median(bare / ours for ours, bare in pairs), 3),
    }


def _reader(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """netc's reader of LMDBs against LMDB's own: in the feed, and by itself."""
    ours, theirs = _feed(folder, options.batch, 1), _feed(folder, options.batch, 1)
    own = theirs.records.database
    theirs.records.database = mapped = _Mapped(folder)

    def batches(feed: Any) -> Callable[[], None]:
        starts, size = count(0, BATCHES), options.batch

        def run() -> None:
            start = next(starts)
            for k in range(start, start + BATCHES):
                feed.batch(k, stop=(start + BATCHES) * size)

        return run

    def records(database: Any) -> Callable[[], None]:
        return lambda: [database.record(index) for index in range(len(database))].clear()

    clock = time.process_time
    feeds = in_turn(timed(batches(ours), clock), timed(batches(theirs), clock), options.pairs)
    alone = in_turn(timed(records(own), clock), timed(records(mapped), clock), 10 * options.pairs)
    our_s, their_s, _ = medians(alone)
    ours.close()
    theirs.close()
    own.close()
    return {
        "reader: feed / feed with LMDB's own": round(statistics.median(theirs / ours for ours, theirs in feeds), 3),
        "reader: netc's, µs a record": round(our_s / len(own) * 1e6, 1),
        "reader: LMDB's, µs a record": round(their_s / len(own) * 1e6, 1),
    }


class _Mapped:
    """The records of an LMDB by their position, read by LMDB itself, which maps the file."""

    def __init__(self, folder: str) -> None:
        self.path = folder
        self._env = lmdb.open(folder, readonly=True, lock=False)
        with self._env.begin() as transaction:
            self._keys = list(transaction.cursor().iternext(values=False))

    def __len__(self) -> int:
        return len(self._keys)

    def record(self, index: int) -> tuple[bytes, Any]:
        with self._env.begin() as transaction:
            return self._keys[index], transaction.get(self._keys[index])

    def first(self) -> tuple[bytes, Any]:
        return self.record(0)

    def close(self) -> None:
        self._env.close()


def _contents(folder: str) -> list[bytes]:
    with lmdb.open(folder, readonly=True, lock=False) as env, env.begin() as transaction:
        return [proto.Datum.FromString(value).data for _, value in transaction.cursor()]


def _all_cores(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """By the clock, as threads overlap."""
    rates: dict[int, list[float]] = {1: [], options.workers: []}
    for _ in range(max(3, options.pairs // 2)):
        for workers in rates:
            feed = _feed(folder, options.batch, workers)
            feed.batch(0)
            begin = time.perf_counter()
            for k in range(1, 7):
                feed.batch(k)
            rates[workers].append(6 * options.batch / (time.perf_counter() - begin))
            feed.close()
    return {f"{workers} thread(s): images/s": round(statistics.median(found)) for workers, found in rates.items()}


def _waiting(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    feed = _feed(folder, options.batch, options.workers)
    feed.batch(0)
    before, begin = feed.waited, time.perf_counter()
    steps = 12
    for k in range(1, steps + 1):
        feed.batch(k)
        _work(options.step_ms / 1000)
    total = time.perf_counter() - begin
    waited = feed.waited - before
    feed.close()
    return {
        "step, ms": options.step_ms,
        "images/s asked for": round(options.batch / options.step_ms * 1000),
        "share of time waited": round(waited / total, 4),
    }


def _work(seconds: float) -> None:
    """Keep a core busy with matrix products, which run without Python's lock."""
    matrix = torch.ones(384, 384)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        torch.mm(matrix, matrix)


if __name__ == "__main__":
    main()
