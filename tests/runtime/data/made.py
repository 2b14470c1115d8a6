"""Makes small databases and layers for the tests of the data layers."""

from __future__ import annotations

import io
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

import netc
from netc import proto
from netc.runtime.data import probe

GOLDENS = Path(__file__).resolve().parents[2] / "goldens/data"


def write_lmdb(path, records, **options):
    """`records`: {key: Datum or bytes}. No lock file is left beside it."""
    with lmdb.open(str(path), map_size=1 << 26, **options) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value if isinstance(value, bytes) else value.SerializeToString())
    Path(path, "lock.mdb").unlink(missing_ok=True)
    return str(path)


def raw(planes, label=0):
    c, h, w = planes.shape
    return proto.Datum(channels=c, height=h, width=w, data=planes.astype(np.uint8).tobytes(), label=label)


def encoded(picture, label=0, form="JPEG", **options):
    return proto.Datum(encoded=True, data=compressed(picture, form, **options), label=label)


def compressed(picture, form="JPEG", **options):
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, form, **options)
    return file.getvalue()


def photo(height, width, seed=0):
    """Something smooth with edges and noise, (H, W, 3) uint8."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 20.0
    waves = [np.sin(x * a + y * b + c) for a, b, c in generator.uniform(0.3, 3, (3, 3))]
    noisy = 128 + 90 * np.stack(waves, axis=2) + generator.normal(0, 8, (height, width, 3))
    noisy[height // 3 : height // 2, width // 4 : width // 2] = generator.integers(0, 256, 3)
    return noisy.clip(0, 255).astype(np.uint8)


def data_layer(source, transform="", options="batch_size: 4", phase="TRAIN", name="data"):
    text = f"""layer {{ name: "{name}" type: "Data" top: "data" top: "label"
        data_param {{ source: "{source}" backend: LMDB {options} }} transform_param {{ {transform} }} }}"""
    return netc.compile_net(text, phase, probe=probe).nodes[0].layer
