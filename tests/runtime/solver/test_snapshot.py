"""Snapshots: what Caffe writes, whole or not there, and every damaged bit noticed."""

from __future__ import annotations

import json
import os
import random
import shutil

import numpy as np
import pytest

import netc
from netc import proto, weights
from netc.errors import NetcError
from netc.runtime.solver import snapshot

ARRAYS = {
    "conv": [np.arange(24, dtype="<f4").reshape(2, 3, 4) / 7, np.float32([0.1, -0.2])],
    "relu": [],
    "fc": [np.linspace(-1, 1, 45, dtype="<f4").reshape(5, 9)],
}
HISTORY = [array * -2 for arrays in ARRAYS.values() for array in arrays]
EXTRAS = {"seed": 7, "losses": [0.1 + 0.2, 1e-300], "plateau": {"best": None}, "note": "Ω\n"}


def net():
    return proto.NetParameter(name="tiny", layer=[{"name": name, "type": "X", "phase": 0} for name in ARRAYS])


def save(prefix, iteration, scale=1.0, **more):
    arrays = {name: [array * np.float32(scale) for array in found] for name, found in ARRAYS.items()}
    return snapshot.save(prefix, iteration, net(), arrays, HISTORY, 3, EXTRAS, **more)


def same(found, expected):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("format", ["BINARYPROTO", "HDF5"])
def test_what_is_saved_comes_back(tmp_path, format):
    if format == "HDF5":
        pytest.importorskip("h5py")
    state = save(tmp_path / "run", 20, format=format)
    end = ".h5" if format == "HDF5" else ""
    names = [f"run_iter_20.{kind}" for kind in (f"caffemodel{end}", "manifest.json", f"solverstate{end}")]
    assert sorted(os.listdir(tmp_path)) == names
    for path in (state, tmp_path / "run_iter_20.manifest.json"):
        found = snapshot.load(path)
        assert (found.iteration, found.current_step, found.extras, found.verified) == (20, 3, EXTRAS, True)
        assert found.learned_net == str(found.weights) == str(tmp_path / names[0])
        assert same(found.history, HISTORY)
        read = weights.read(found.weights)
        assert all(same(read[name], arrays) for name, arrays in ARRAYS.items())


def test_files_are_caffes_byte_for_byte(shared, tmp_path, monkeypatch):
    folder = shared / "goldens/solvers/cli"
    golden = snapshot.load(folder / "bin_iter_20.solverstate")
    arrays = weights.read(folder / "bin_iter_20.caffemodel")
    graph = netc.compile_net(folder / "net.prototxt", phase="TRAIN", probe=lambda *_: [(4, 2, 6, 6), (4,)])
    monkeypatch.chdir(tmp_path)
    snapshot.save("bin", 20, graph.param, arrays, golden.history, golden.current_step)
    for kind in ("caffemodel", "solverstate"):
        assert (tmp_path / f"bin_iter_20.{kind}").read_bytes() == (folder / f"bin_iter_20.{kind}").read_bytes()


def test_hdf5_files_hold_what_caffes_hold(shared, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    folder = shared / "goldens/solvers/cli"
    golden = snapshot.load(folder / "h5_iter_20.solverstate.h5")
    graph = netc.compile_net(folder / "net.prototxt", phase="TRAIN", probe=lambda *_: [(4, 2, 6, 6), (4,)])
    monkeypatch.chdir(tmp_path)
    snapshot.save(
        "h5", 20, graph.param, weights.read(golden.weights), golden.history, golden.current_step, None, "HDF5"
    )
    for name in ("h5_iter_20.caffemodel.h5", "h5_iter_20.solverstate.h5"):
        assert contents(h5py, tmp_path / name) == contents(h5py, folder / name)


def contents(h5py, path):
    found = {}

    def visit(name, item):
        data = isinstance(item, h5py.Dataset)
        found[name] = (str(item.dtype), item.shape, np.asarray(item[()]).tobytes()) if data else None

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_caffes_own_snapshots_are_taken_unverified(shared, tmp_path, monkeypatch):
    folder = shared / "goldens/solvers/cli"
    for name in ("adam_iter_20.solverstate", "adam_iter_20.caffemodel"):
        shutil.copyfile(folder / name, tmp_path / name)
    found = snapshot.load(tmp_path / "adam_iter_20.solverstate")
    assert (found.iteration, found.current_step, found.verified, found.extras) == (20, 3, False, {})
    assert len(found.history) == 8
    assert found.weights == tmp_path / "adam_iter_20.caffemodel"
    assert snapshot.latest(tmp_path / "adam") is None
    os.remove(found.weights)
    with pytest.raises(NetcError) as caught:
        snapshot.load(tmp_path / "adam_iter_20.solverstate")
    assert (caught.value.code, caught.value.exit_status) == ("F111", 66)
    monkeypatch.chdir(folder)  # Caffe's rule: relative to the working directory
    assert str(snapshot.load(tmp_path / "adam_iter_20.solverstate").weights) == "adam_iter_20.caffemodel"


def test_the_newest_whole_one_is_found(tmp_path):
    for iteration in (5, 10, 100):
        save(tmp_path / "run", iteration, scale=iteration)
    save(tmp_path / "run2", 300)
    save(tmp_path / "run", 200)
    (tmp_path / "run_iter_200.caffemodel").unlink()
    path = tmp_path / "run_iter_100.solverstate"
    path.write_bytes(path.read_bytes()[:-1])
    told = []
    found = snapshot.latest(tmp_path / "run", told.append)
    assert found.iteration == 10
    assert [error.code for error in told] == ["W731", "W732"]
    assert same(weights.read(found.weights)["fc"], [ARRAYS["fc"][0] * np.float32(10)])
    assert snapshot.latest(tmp_path / "other") is None
    assert snapshot.latest(tmp_path / "no/such/folder") is None


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flips(tmp_path, choose):
    """How many single-bit changes are noticed, of how many."""
    state = save(tmp_path / "run", 20)
    noticed = tried = 0
    for path in sorted(tmp_path.iterdir()):
        for bit in choose(path.stat().st_size * 8):
            flip(path, bit)
            tried += 1
            try:
                snapshot.load(state)
            except NetcError as error:
                noticed += error.code.startswith("W73")
            flip(path, bit)
    assert snapshot.load(state).verified
    return noticed, tried


def test_changed_bits_are_noticed(tmp_path):
    rng = random.Random(1)
    noticed, tried = flips(tmp_path, lambda bits: (8 * byte + rng.randrange(8) for byte in range(0, bits // 8, 3)))
    assert noticed == tried > 400


@pytest.mark.slow
def test_every_changed_bit_is_noticed(tmp_path):
    noticed, tried = flips(tmp_path, range)
    assert noticed == tried > 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"sha256": 1}',
        "[" * 100_000,
        '{"netc_snapshot": 1}',
        "\x00",
        '{"sha256": "a", "b": NaN}',
    ],
)
def test_strange_manifests(tmp_path, text):
    state = save(tmp_path / "run", 20)
    (tmp_path / "run_iter_20.manifest.json").write_text(text)
    with pytest.raises(NetcError) as caught:
        snapshot.load(state)
    assert caught.value.code == "W730"


def test_a_manifest_cannot_lead_elsewhere(tmp_path):
    """Even one with a right checksum of its own."""
    from netc.runtime.solver.manifest import _render

    state = save(tmp_path / "run", 20)
    path = tmp_path / "run_iter_20.manifest.json"
    body = json.loads(path.read_text())
    del body["sha256"]
    body["weights"] = "../../etc/passwd"
    path.write_text(_render(body))
    with pytest.raises(NetcError) as caught:
        snapshot.load(state)
    assert caught.value.code == "W730"


def signed(tmp_path, change):
    """A snapshot whose manifest was changed by somebody who knows how to sign it."""
    from netc.runtime.solver.manifest import _render

    state = save(tmp_path / "run", 20)
    path = tmp_path / "run_iter_20.manifest.json"
    body = json.loads(path.read_text())
    del body["sha256"]
    path.write_text(_render(body | change))
    return state


NESTED = json.loads("[" * 200 + "]" * 200)


@pytest.mark.parametrize(
    "change",
    [
        {"iteration": "20"},
        {"iteration": None},
        {"iteration": 10**400},
        {"weights": 3},
        {"weights": "a\0b"},
        {"weights": "\ud800"},
        {"files": []},
        {"files": {"run_iter_20.caffemodel": {"size": "1", "sha256": "0"}}},
        {"files": {}},
        {"extras": [1]},
        {"extras": {"losses": NESTED}},
        {"extras": {"losses": [10**400]}},
    ],
    ids=lambda change: str(change)[:30],
)
def test_signed_manifests_of_odd_types(tmp_path, change):
    state = signed(tmp_path, change)
    with pytest.raises(NetcError) as caught:
        snapshot.load(state)
    assert caught.value.code == "W730"


@pytest.mark.parametrize("learned_net", ["/", ".", "", "..", "a/..", "a\0b", "//", "x" * 5000])
def test_a_state_that_names_no_file(tmp_path, learned_net):
    path = tmp_path / "x.solverstate"
    weights.write_solverstate(path, weights.SolverState(20, learned_net, []))
    with pytest.raises(NetcError) as caught:
        snapshot.load(path)
    assert caught.value.code == "F111"


@pytest.mark.parametrize("iteration, step", [(-1, 0), (5, -3)])
def test_a_state_of_no_iteration(tmp_path, iteration, step):
    weights.write_solverstate(tmp_path / "x.solverstate", weights.SolverState(iteration, "x", [], step))
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(NetcError) as caught:
        snapshot.load(tmp_path / "x.solverstate")
    assert caught.value.code == "W702"


def test_no_place_to_write(tmp_path):
    with pytest.raises(NetcError) as caught:
        save(tmp_path / "gone/run", 5)
    assert (caught.value.code, caught.value.exit_status) == ("O701", 73)
    (tmp_path / "file").write_text("")
    with pytest.raises(NetcError) as caught:
        save(tmp_path / "file/run", 5)
    assert caught.value.code == "O701"


def test_too_little_room_is_found_out_before_writing(tmp_path, monkeypatch):
    save(tmp_path / "run", 5)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(snapshot, "free_bytes", lambda folder: 100)
    with pytest.raises(NetcError) as caught:
        save(tmp_path / "run", 10)
    assert (caught.value.code, caught.value.exit_status) == ("X701", 74)
    assert "100 are free" in caught.value.message
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_dead_process_left_is_removed(tmp_path):
    from netc.files.durable import host

    gone = f".run_iter_7.manifest.json.tmp-{host()}-99999999"
    kept = [
        f".run_iter_7.manifest.json.tmp-{host()}-{os.getppid()}",
        ".run_iter_7.manifest.json.tmp-elsewhere-99999999",
        f".run2_iter_7.manifest.json.tmp-{host()}-99999999",
    ]
    for name in (gone, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run_iter_7.caffemodel").write_text("half")
    save(tmp_path / "run", 8)
    assert not (tmp_path / gone).exists()
    assert all((tmp_path / name).exists() for name in kept)
    assert snapshot.load(tmp_path / "run_iter_8.solverstate").verified


def test_saving_again_over_the_same_iteration(tmp_path):
    save(tmp_path / "run", 5, scale=1)
    state = save(tmp_path / "run", 5, scale=2)
    assert same(weights.read(snapshot.load(state).weights)["fc"], [ARRAYS["fc"][0] * np.float32(2)])


def test_a_caffemodel_is_no_snapshot(tmp_path):
    save(tmp_path / "run", 5)
    with pytest.raises(NetcError) as caught:
        snapshot.load(tmp_path / "run_iter_5.caffemodel")
    assert caught.value.code == "W705"
