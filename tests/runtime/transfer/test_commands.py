"""netc features and netc svm, from pictures to figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from netc.cli import _main
from netc.runtime.transfer import files

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc1" type: "InnerProduct" bottom: "conv" top: "fc1"
  inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""
MEAN = (120.0, 121.0, 122.0)
SIZES = [(14, 18), (18, 14), (14, 18), (28, 36), (13, 29), (14, 14)]
CLASSES = ["ash", "beech", "cedar"]
FOLDER = "256_ObjectCategories"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """net.prototxt, weights of two seeds, and a set of pictures in the manner of Caltech-256."""
    home = tmp_path_factory.mktemp("made")
    (home / "net.prototxt").write_text(NET)
    for seed in (1, 2):
        _save(home / f"{seed}.caffemodel", netc.load_net(NET, seed=seed))
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (home / "set" / FOLDER / name).mkdir(parents=True)
        for number, size in enumerate(SIZES):
            color = np.eye(3)[label] * 120 + 60
            pixels = (color + random.integers(0, 56, (*size, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(home / "set" / FOLDER / name / f"{number}.png")
    return home


def _save(path: Path, net) -> None:
    from netc import proto

    made = proto.NetParameter(name="small")
    for name, blobs in net.params.items():
        layer = made.layer.add(name=name, type="Convolution" if blobs[0].ndim == 4 else "InnerProduct")
        for blob in blobs:
            layer.blobs.add(data=blob.detach().numpy().ravel().tolist()).shape.dim.extend(blob.shape)
    path.write_bytes(made.SerializeToString())


def features(home: Path, source: Path, out: Path, *more: str) -> list[str]:
    start = ["features", str(home / "net.prototxt"), str(source), "--weights", str(home / "1.caffemodel")]
    return [*start, "-o", str(out), "--mean", "120,121,122", "--scales", "14", "--json", *more]


def run(capsys, *given: str) -> tuple[int, dict, str]:
    status = _main.run(list(given))
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def paths(home: Path) -> list[Path]:
    return sorted((home / "set").rglob("*.png"))


def by_hand(home: Path, seed: int = 1, **options) -> np.ndarray:
    net = netc.load_net(NET, weights=str(home / f"{seed}.caffemodel"))
    return netc.features(net, paths(home), **({"scales": (14,), "mean": MEAN} | options))


def test_rows_keys_and_facts(made: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "f.npz"
    status, said, _ = run(capsys, *features(made, made / "set" / FOLDER, out))
    assert (status, said["rows"], said["dimensions"]) == (0, 18, 8)
    found = files.read(str(out))
    np.testing.assert_allclose(found.values, by_hand(made), rtol=1e-5, atol=1e-7)
    assert list(found.keys) == [f"{path.parent.name}/{path.name}" for path in paths(made)]
    assert list(found.labels) == [label for label in range(3) for _ in SIZES]
    (net,) = found.facts["nets"]
    assert (net["blob"], found.facts["scales"], found.facts["unreadable"]) == ("fc1", [14], [])
    import hashlib

    assert net["sha256"] == hashlib.sha256((made / "1.caffemodel").read_bytes()).hexdigest()


def test_scales_and_nets_side_by_side(made: Path, tmp_path: Path, capsys) -> None:
    out, fuse = tmp_path / "f.safetensors", f"{made}/net.prototxt:{made}/2.caffemodel"
    more = ("--scales", "14,17", "--combine", "stack", "--fuse", fuse, "--no-flip")
    run(capsys, *features(made, made / "set" / FOLDER, out, *more))
    options = {"scales": (14, 17), "combine": "stack", "flip": False}
    want = np.concatenate([by_hand(made, seed, **options) for seed in (1, 2)], 1)
    np.testing.assert_allclose(files.read(str(out)).values, want, rtol=1e-5, atol=1e-7)


def test_other_sources(made: Path, tmp_path: Path, capsys) -> None:
    root = made / "set" / FOLDER
    (tmp_path / "list.txt").write_text("\n".join(f"{path.relative_to(root)} 0" for path in paths(made)))
    assert _main.run(["convert-imageset", str(root), str(tmp_path / "lmdb"), "--encoded"]) == 0
    capsys.readouterr()
    given = {"list": (tmp_path / "list.txt", "--root", str(root)), "lmdb": (tmp_path / "lmdb",)}
    given |= {"set": (made / "set", "--set", "caltech256"), "flat": (root / "ash",)}
    for name, (source, *more) in given.items():
        status, _, _ = run(capsys, *features(made, source, tmp_path / f"{name}.npy", *more))
        found = files.read(str(tmp_path / f"{name}.npy"))
        assert (status, len(found.keys)) == (0, 6 if name == "flat" else 18)
        order = sorted(range(len(found.keys)), key=lambda row: found.keys[row].split("_")[-1])  # 00000003_ash/0.png
        np.testing.assert_allclose(found.values[order], by_hand(made)[: len(order)], rtol=1e-5, atol=1e-7)


def test_a_run_goes_on(made: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.evaluate.classifier import Classifier

    source, cache = made / "set" / FOLDER, ("--cache", str(tmp_path / "cache"))
    run(capsys, *features(made, source, tmp_path / "a.npy", *cache, "--scales", "14,17"))
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "_look", None)
        run(capsys, *features(made, source, tmp_path / "b.npy", *cache, "--scales", "14,17"))
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
        run(capsys, *features(made, source, tmp_path / "c.npy", *cache, "--scales", "17", "--no-normalise"))
    want = by_hand(made, scales=(17,), normalise=False)
    np.testing.assert_allclose(files.read(str(tmp_path / "c.npy")).values, want, rtol=1e-5)
    for path in (tmp_path / "cache").rglob("*.features"):
        path.write_bytes(path.read_bytes()[:-3])
    _, _, said = run(capsys, *features(made, source, tmp_path / "d.npy", *cache, "--scales", "14,17"))
    assert "is not used, but computed anew" in said
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "d.npy").read_bytes()


@pytest.mark.slow
def test_processes_give_the_same_file(made: Path, tmp_path: Path) -> None:
    many = tmp_path / "set"
    for copy in range(15):  # three blocks
        shutil.copytree(made / "set" / FOLDER / "ash", many / f"{copy}")
        shutil.copytree(made / "set" / FOLDER / "beech", many / f"{copy}b")
    kept = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.npy"
        words = features(made, many, out, "--nproc", str(processes))
        done = subprocess.run([sys.executable, "-m", "netc", *words], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        kept.append((out.read_bytes(), json.loads(done.stdout)["rows"]))
    assert kept[0] == kept[1]
    assert kept[0][1] == 180


def test_nothing_is_replaced_and_nothing_half_written(made: Path, tmp_path: Path, capsys) -> None:
    source = made / "set" / FOLDER
    (tmp_path / "f.npy.json").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"no picture")
    cases = [
        ((source, tmp_path / "f.npy"), "O140"),
        ((source, tmp_path / "f.txt"), "C301"),
        ((source, tmp_path / "g.npz", "--scales", "11"), "R732"),
        ((source, tmp_path / "g.npz", "--blob", "fc9"), "R602"),
        ((tmp_path / "absent", tmp_path / "g.npz"), "F140"),
        ((tmp_path / "empty", tmp_path / "g.npz"), "D541"),
        ((tmp_path / "empty", tmp_path / "g.npz", "--set", "voc2007"), "D590"),
        ((tmp_path / "bad", tmp_path / "g.npz"), "R740"),
    ]
    for given, code in cases:
        _, found, _ = run(capsys, *features(made, *given))
        assert found["errors"][0]["code"] == code
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad", "empty", "f.npy.json"]


# -- netc svm ----------------------------------------------------------------------------------------------------------


def svm(folder: Path, *more: str, name: str = "caltech256") -> list[str]:
    return ["svm", name, str(folder), "--json", *more]


def test_a_broken_picture_is_left_out_once(made: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    shutil.copytree(made / "set", tmp_path / "set")
    (tmp_path / "set" / FOLDER / "ash" / "6.png").write_bytes(b"no picture")
    out = tmp_path / "f.npz"
    status, found, said = run(capsys, *features(made, tmp_path / "set", out, "--set", "caltech256"))
    assert (status, found["rows"], len(found["broken"]), "ash/6.png" in said) == (65, 18, 1, True)
    few = ("--train-per-class", "4", "--splits", "2")
    status, found, said = run(capsys, *svm(tmp_path / "set", "--features", str(out), *few))
    assert (status, found["left_out"]) == (0, ["ash/6.png"])
    assert {one["train"] + one["test"] for one in found["splits"]} == {18}
    assert "left out" in said


def test_figures_of_random_splits(made: Path, tmp_path: Path, capsys) -> None:
    """The colours of the classes differ, so all is recalled; shuffled labels would give a third."""
    pytest.importorskip("sklearn")
    for seed in (1, 2):
        weights = ("--weights", str(made / f"{seed}.caffemodel"))
        run(capsys, *features(made, made / "set" / FOLDER, tmp_path / f"{seed}.npz", *weights, "--force"))
    few = ("--train-per-class", "4", "--test-per-class", "1")
    two = ("--features", str(tmp_path / "1.npz"), str(tmp_path / "2.npz"))
    status, found, _ = run(capsys, *svm(made / "set", *two, *few))
    assert (status, found["measure"], found["dimensions"]) == (0, "mean class recall", 16)
    assert [(one["train"], one["test"]) for one in found["splits"]] == [(12, 3)] * 3
    recall = found["figures"]["recall"]
    values = [np.mean([one["recall"]["splits"][split] for one in found["classes"]]) for split in range(3)]
    assert recall["splits"] == pytest.approx(values)
    assert recall["mean"] == pytest.approx(np.mean(values))
    assert recall["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert recall["mean"] > 0.9
    assert _main.run(["svm", "caltech256", str(made / "set"), *two, *few, "--c", "1"]) == 0
    assert "mean" in capsys.readouterr().out


def test_what_svm_refuses(made: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    out = str(tmp_path / "ash.npz")
    run(capsys, *features(made, made / "set" / FOLDER / "ash", Path(out)))
    few = ("--train-per-class", "4")
    cases = [
        (svm(made / "set", "--features", out, *few), "D593"),
        (svm(made / "set", "--features", out), "D590"),
        (svm(made / "set", "--features", out, "--boxes", *few), "C302"),
        (svm(made / "set", "--features", str(made / "net.prototxt"), *few), "D592"),
        (svm(made / "set", "--features", out, *few, name="voc2007"), "C100"),
        (svm(made / "set", "--features", out, name="voc2007"), "D590"),
        (svm(made / "set", "--features", out, "--test-per-class", "none"), "C100"),
    ]
    for words, code in cases:
        _, found, _ = run(capsys, *words)
        assert found["errors"][0]["code"] == code, words
    _, found, _ = run(capsys, *cases[0][0])
    assert '"ash/0.png" and 17 others' in found["errors"][0]["message"]
    assert "netc features NET --weights W --set caltech256" in found["errors"][0]["hint"]


# -- persons with boxes ------------------------------------------------------------------------------------------------

PERSON = (
    "<object><name>person</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
BOXES = [(3, 2, 20, 15), (1, 1, 9, 12)]


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two persons a picture; the first of each picture reads where it is red."""
    home = tmp_path / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Action"):
        (home / name).mkdir(parents=True)
    random = np.random.default_rng(1)
    lines: dict[str, list[str]] = {f"{name}_{part}": [] for name in ("reading", "running") for part in ("train", "val")}
    for number in range(16):
        part, name, mark = "train" if number < 10 else "val", f"2012_{number:06d}", 1 if number % 2 else -1
        pixels = random.integers(0, 90, (18, 24, 3))
        pixels[..., 0 if mark == 1 else 2] += 120
        Image.fromarray(pixels.astype(np.uint8)).save(home / "JPEGImages" / f"{name}.jpg", quality=95)
        people = "".join(PERSON.format(*box) for box in BOXES)
        (home / "Annotations" / f"{name}.xml").write_text(f"<annotation>{people}</annotation>")
        for person in (1, 2):
            lines[f"reading_{part}"].append(f"{name} {person} {mark}")
            lines[f"running_{part}"].append(f"{name} {person} {-mark}")
    for name, each in lines.items():
        (home / "ImageSets" / "Action" / f"{name}.txt").write_text("\n".join(each))
    return home


def test_persons_and_their_boxes(made: Path, voc: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "f.npz"
    status, found, _ = run(capsys, *features(made, voc, out, "--set", "voc-action"))
    assert (status, found["rows"]) == (0, 16 + 32)
    rows = dict(zip(files.read(str(out)).keys, files.read(str(out)).values, strict=True))
    net = netc.load_net(NET, weights=str(made / "1.caffemodel"))
    whole = np.asarray(Image.open(voc / "JPEGImages" / "2012_000003.jpg"))
    person = whole[1:15, 2:20]  # counted from 1, both ends included
    for key, pixels in (("", whole), (" 1", person)):
        want = netc.features(net, pixels, scales=14, mean=MEAN)[0]
        np.testing.assert_allclose(rows[f"JPEGImages/2012_000003.jpg{key}"], want, rtol=1e-4, atol=1e-6)
    for more, dimensions in ((), 8), (("--boxes",), 16):
        status, found, _ = run(capsys, *svm(voc, "--features", str(out), *more, name="voc-action"))
        assert (status, found["dimensions"], found["splits"][0]["train"]) == (0, dimensions, 20)
        figures = found["figures"]
        assert list(figures) == ["average precision (area)", "average precision (11-point)"]
        assert figures["average precision (area)"]["mean"] > 0.9
        assert figures["average precision (area)"]["deviation"] is None


def test_the_commands_know_every_set() -> None:
    from netc.cli.features import SETS
    from netc.runtime.transfer.sets import SETS as KNOWN

    assert tuple(KNOWN) == SETS
