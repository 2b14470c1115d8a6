"""The files that the nets in runs/ and weights/ name: small databases, a mean, weights; most of them broken."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

import netc
from netc import proto

LENET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc" inner_product_param { num_output: 10 } }
"""


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos_lmdb: four raw images of 3×8×8, labels 0, 3, 6 and 9. The rest is named after its fault."""
    folder = tmp_path_factory.mktemp("broken")
    photos = [proto.Datum(channels=3, height=8, width=8, data=bytes(192), label=label) for label in (0, 3, 6, 9)]
    write(folder / "photos_lmdb", photos)
    half = proto.Datum(channels=3, height=8, width=8, data=bytes(100), label=3)
    write(folder / "short_record_lmdb", [photos[0], half])
    write(folder / "no_jpeg_lmdb", [proto.Datum(encoded=True, data=b"\xff\xd8\xff\xe0 and no more", label=0)])
    write(folder / "empty_lmdb", [])
    write(folder / "truncated_lmdb", photos * 100)
    with (folder / "truncated_lmdb/data.mdb").open("r+b") as file:
        file.truncate(9000)
    (folder / "leveldb").mkdir()
    (folder / "leveldb/CURRENT").write_text("MANIFEST-000001\n")
    mean = proto.BlobProto(num=1, channels=3, height=10, width=10, data=[100.0] * 300)
    (folder / "mean_10x10.binaryproto").write_bytes(mean.SerializeToString())
    weights(folder)
    return folder


def write(path: Path, records: list[object]) -> None:
    with lmdb.open(str(path), map_size=1 << 22) as env, env.begin(write=True) as transaction:
        for index, record in enumerate(records):
            transaction.put(b"%08d_%d.jpg" % (index, index), record.SerializeToString())
    (path / "lock.mdb").unlink()


def weights(folder: Path) -> None:
    """lenet.caffemodel; the same cut short; a web page of that name."""
    net = netc.load_net(LENET)
    message = proto.NetParameter(name="lenet")
    for name, blobs in net.params.items():
        layer = message.layer.add(name=name)
        for blob in blobs:
            values = np.asarray(blob.detach())
            layer.blobs.add(data=values.ravel().tolist()).shape.dim.extend(values.shape)
    data = message.SerializeToString()
    (folder / "lenet.caffemodel").write_bytes(data)
    (folder / "cut_short.caffemodel").write_bytes(data[: len(data) // 2])
    (folder / "web_page.caffemodel").write_text("<!DOCTYPE html>\n<html><body>404</body></html>\n")
