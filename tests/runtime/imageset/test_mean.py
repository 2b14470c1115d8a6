"""Means and principal colours: Caffe's compute_image_mean (goldens/data), and numpy's covariance of all pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import netc
from netc import proto
from netc.cli import main
from netc.errors import NetcError
from netc.runtime.imageset import Recipe, build, from_list
from netc.runtime.imageset.mean import as_binaryproto, statistics
from netc.runtime.imageset.writer import Database


@pytest.mark.parametrize(
    "name, mean", [("db_resized", "mean"), ("db_encode_png", "mean_encoded"), ("db_leveldb", "mean_leveldb")]
)
def test_mean_image_is_caffes_to_the_byte(shared, name, mean):
    data = shared / "goldens" / "data"
    found = statistics(data / name, workers=2)
    assert as_binaryproto(found.mean) == (data / f"{mean}.binaryproto").read_bytes()
    assert [f"{value:.6g}" for value in found.channel_mean] == ["128.961", "129.996", "123.776"]  # Caffe's log


def test_command_reads_either_backend(shared, tmp_path, capsys):
    data = shared / "goldens" / "data"
    assert main(["image-mean", "--backend=leveldb", str(data / "db_leveldb"), str(tmp_path / "mean.binaryproto")]) == 0
    assert (tmp_path / "mean.binaryproto").read_bytes() == (data / "mean_leveldb.binaryproto").read_bytes()
    assert main(["image-mean", "--backend=sql", str(data / "db_leveldb")]) == 2
    assert "error[C140]" in capsys.readouterr().err


@pytest.fixture
def pictures(tmp_path):
    """Three colour pictures of different sizes and a gray one, and their list; PNG, so that pixels are known."""
    rng = np.random.default_rng(3)
    mix = np.array([[90, 10, 5], [60, 40, -20], [50, 35, 30]])
    for index, size in enumerate([(9, 14), (11, 8), (9, 14)]):
        array = (128 + rng.standard_normal((*size, 3)) @ mix.T * 0.5).clip(0, 255).astype(np.uint8)
        Image.fromarray(array).save(tmp_path / f"{index}.png")
    Image.fromarray(rng.integers(0, 255, (7, 6), np.uint8)).save(tmp_path / "3.png")
    (tmp_path / "list").write_text("".join(f"{index}.png 0\n" for index in range(4)))
    return tmp_path


def test_components_are_those_of_all_pixels(pictures):
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(encoded=True))
    images = [np.asarray(Image.open(pictures / f"{i}.png").convert("RGB"))[..., ::-1] for i in range(4)]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(float)
    found = statistics(pictures / "db", workers=3)
    assert found.mean is None
    assert found.images == 4
    np.testing.assert_allclose(found.channel_mean, pixels.mean(axis=0), rtol=1e-12)
    vectors, values = found.eigenvector, found.eigenvalue
    np.testing.assert_allclose(vectors.T @ np.diag(values) @ vectors, np.cov(pixels.T, bias=True), rtol=1e-9)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-12)
    assert values[0] > values[1] > values[2] > 0
    assert all(vector[np.abs(vector).argmax()] > 0 for vector in vectors)


def test_the_number_of_threads_does_not_show(pictures):
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(size=(5, 6)))
    one, four = (statistics(pictures / "db", workers=count) for count in (1, 4))
    assert as_binaryproto(one.mean) == as_binaryproto(four.mean)
    assert (one.eigenvector == four.eigenvector).all()


def test_float_records(tmp_path):
    values = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype(np.float32)
    with Database(tmp_path / "db") as database:
        for index, value in enumerate(values):
            datum = proto.Datum(channels=5, height=3, width=4, float_data=value.ravel())
            database.put(b"%010d" % index, datum.SerializeToString())
        database.publish()
    found = statistics(tmp_path / "db")
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-6)
    assert found.eigenvalue is None


@pytest.mark.parametrize(
    "datums, code",
    [
        ([], "D512"),
        ([b"\xff\xff"], "D546"),
        ([proto.Datum(data=b"no picture", encoded=True).SerializeToString()], "D546"),
        ([proto.Datum(channels=c, height=1, width=1, data=bytes(c)).SerializeToString() for c in (2, 3)], "D547"),
    ],
)
def test_what_cannot_be_averaged(tmp_path, datums, code):
    with Database(tmp_path / "db") as database:
        for index, datum in enumerate(datums):
            database.put(b"key%d" % index, datum)
        database.publish()
    with pytest.raises(NetcError) as caught:
        statistics(tmp_path / "db")
    assert caught.value.code == code
    assert code != "D546" or '"key0"' in caught.value.message


def test_command(pictures, capsys, monkeypatch):
    monkeypatch.chdir(pictures)
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(encoded=True))
    assert main(["image-mean", "db", "colors.json"]) == 0
    printed = capsys.readouterr().out
    written = json.loads((pictures / "colors.json").read_text())
    assert list(written) == ["channel_mean", "eigenvalue", "eigenvector", "order", "images"]
    assert (written["order"], written["images"], len(written["eigenvector"])) == ("BGR", 4, 9)
    assert printed.count("mean_value: ") == 3
    assert f"mean_value: {written['channel_mean'][0]:.3f}" in printed


def test_all_printed_lines_can_be_pasted_into_a_transform_param(pictures, capsys, monkeypatch):
    monkeypatch.chdir(pictures)
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(encoded=True))
    assert main(["image-mean", "db"]) == 0
    layer = f'layer {{ name: "d" type: "Data" top: "x" transform_param {{\n{capsys.readouterr().out}}} }}'
    pasted = netc.read_net(layer).layer[0].transform_param
    shift = pasted.color_shift_param
    assert (len(pasted.mean_value), len(shift.eigenvalue), len(shift.eigenvector)) == (3, 3, 9)


def test_no_mean_image_of_different_sizes_and_no_file_either(pictures, capsys, monkeypatch):
    monkeypatch.chdir(pictures)
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(encoded=True))
    assert main(["image_mean", "db", "colors.json", "mean.binaryproto"]) == 65
    assert "3×9×14, 3×11×8" in capsys.readouterr().err
    assert not (pictures / "colors.json").exists()


def test_missing_database(tmp_path, capsys):
    (tmp_path / "train_lmdb").mkdir()
    assert main(["image-mean", str(tmp_path / "trian_lmdb")]) == 66
    assert "train_lmdb" in capsys.readouterr().err


def test_what_is_there_is_replaced_only_with_force(pictures, monkeypatch, capsys):
    """Also a link, which is not followed then."""
    build(from_list(pictures, pictures / "list"), pictures / "db", Recipe(encoded=True))
    monkeypatch.chdir(pictures)
    (pictures / "notes").write_text("mine")
    (pictures / "link.json").symlink_to("notes")
    for name in ("notes", "link.json", "db"):
        assert main(["image-mean", "db", "new.json", name]) == 73
        assert "error[O140]" in capsys.readouterr().err
    assert not (pictures / "new.json").exists()
    assert main(["image-mean", "--force", "db", "link.json"]) == 0
    assert not (pictures / "link.json").is_symlink()
    assert (pictures / "notes").read_text() == "mine"
    assert main(["image-mean", "--force", "db", "db"]) == 73
