"""Files of features: each format, read back by netc and by the libraries that users have; damaged ones."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from netc.errors import NetcError
from netc.runtime.transfer import files
from netc.runtime.transfer.files import Features

ENDS = [".safetensors", ".npz", ".h5", ".npy"]
KEYS = ["a/1.jpg", "a/é 2.jpg", "b/\udcff.jpg"]
MADE = Features(np.arange(12, dtype=np.float32).reshape(3, 4) / 7, KEYS, [0, 0, 1], {"scales": [256], "nets": []})


@pytest.fixture(params=ENDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == ".h5":
        pytest.importorskip("h5py")
    return str(tmp_path / f"f{request.param}")


def test_what_was_written_is_read(path: str) -> None:
    files.write(path, MADE)
    found = files.read(path)
    assert np.array_equal(found.values, MADE.values)
    assert (list(found.keys), list(found.labels), found.facts) == (KEYS, [0, 0, 1], MADE.facts)
    assert {one.name for one in Path(path).parent.iterdir()} == {one.name for one in files.beside(path)}


def test_other_programs_read_them(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    from safetensors import safe_open

    for end in ENDS:
        files.write(str(tmp_path / f"f{end}"), MADE)
    npz = np.load(tmp_path / "f.npz", allow_pickle=False)
    with safe_open(tmp_path / "f.safetensors", "np") as one, h5py.File(tmp_path / "f.h5") as two:
        arrays = [npz["features"], np.load(tmp_path / "f.npy"), one.get_tensor("features"), two["features"][()]]
        texts = [
            npz["about.json"],
            (tmp_path / "f.npy.json").read_bytes(),
            one.metadata()["about"],
            bytes(two["about"]),
        ]
    for array, text in zip(arrays, texts, strict=True):
        assert array.dtype == np.float32
        assert np.array_equal(array, MADE.values)
        assert json.loads(text)["keys"] == KEYS


def test_damaged_files_are_refused_or_read(path: str) -> None:
    """Cut at any place, and with any of many bytes changed: an error of ours, or an answer; never anything else."""
    files.write(path, MADE)
    content = Path(path).read_bytes()
    random = np.random.default_rng(0)
    for end in random.integers(0, len(content), 40):
        _tried(path, content[:end], must=True)
    for at in random.integers(0, len(content), 120):
        _tried(path, content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


def _tried(path: str, content: bytes, must: bool = False) -> None:
    Path(path).write_bytes(content)
    found = None
    with suppress(NetcError):
        found = files.read(path)
    assert found is None or not must or np.array_equal(found.values, MADE.values)  # an HDF5 file may end in nothing


def test_an_array_that_claims_more_than_the_file_has(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 10)})
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("features.npy", head.getvalue())
        archive.writestr("about.json", "{}")
    _refused(tmp_path / "f.npz", "the file has other bytes")


def test_packed_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", b"\0" * 10_000_000)
    _refused(tmp_path / "f.npz", "packed")


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.array([print], object), allow_pickle=True)
    (tmp_path / "g.npz").write_bytes(pickle.dumps({"features": 1}))
    files.write(str(tmp_path / "ok.npy"), MADE)
    (tmp_path / "ok.npy.json").rename(tmp_path / "f.npy.json")
    _refused(tmp_path / "f.npy", "written with another array")
    _refused(tmp_path / "g.npz", "none of the formats")


def _refused(path: Path, said: str) -> None:
    with pytest.raises(NetcError, match=said) as caught:
        files.read(str(path))
    assert caught.value.code == "D592"


def test_missing_files(tmp_path: Path) -> None:
    files.write(str(tmp_path / "f.npy"), MADE)
    (tmp_path / "f.npy.json").unlink()
    for name in ("f.npy", "none.npz"):
        with pytest.raises(NetcError) as caught:
            files.read(str(tmp_path / name))
        assert caught.value.code == "F120"


def test_a_name_that_tells_no_format(tmp_path: Path) -> None:
    with pytest.raises(NetcError) as caught:
        files.write(str(tmp_path / "f.mat"), MADE)
    assert (caught.value.code, list(tmp_path.iterdir())) == ("C301", [])
