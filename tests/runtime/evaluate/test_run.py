"""netc test by protocols: sources, what is kept on disk, processes, fusion, paired tests, and bad pictures."""

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
from netc.errors import NetcError
from netc.runtime.evaluate.protocol import Look
from netc.runtime.evaluate.store import Store

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.003 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
CLASSES = ["ash", "beech", "cedar", "dogwood"]
MEAN = (120.0, 121.0, 122.0)
SIZES = [(14, 18), (18, 14), (14, 18), (28, 36), (13, 29)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """net.prototxt, two weight files, and photos/<class>/<n>.png: 5 of each class, none of dogwood."""
    home = tmp_path_factory.mktemp("made")
    (home / "net.prototxt").write_text(NET)
    for seed in (1, 2):
        net = netc.load_net(NET, seed=seed)
        arrays = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in net.params.items()}
        save(home / f"{seed}.caffemodel", arrays)
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for number, size in enumerate(SIZES if label < 3 else []):
            pixels = (rng.integers(0, 200, 3) + rng.integers(0, 56, (*size, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return home


def save(path: Path, arrays: dict[str, list[np.ndarray]]) -> None:
    from netc import proto

    net = proto.NetParameter(name="small")
    for name, blobs in arrays.items():
        layer = net.layer.add(name=name, type="Convolution" if blobs[0].ndim == 4 else "InnerProduct")
        for blob in blobs:
            made = layer.blobs.add(data=blob.ravel().tolist())
            made.shape.dim.extend(blob.shape)
    path.write_bytes(net.SerializeToString())


def words(home: Path, *more: str, seed: int = 1, data: str = "photos") -> list[str]:
    start = ["test", str(home / "net.prototxt"), "--weights", str(home / f"{seed}.caffemodel")]
    return [*start, "--data", str(home / data), "--mean", "120,121,122", "--scales", "14", "--json", *more]


def run(capsys, *given: str) -> tuple[int, dict, str]:
    status = _main.run(list(given))
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def by_hand(home: Path, seed: int = 1, **options) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and netc.posteriors (which has tests of its own) of every photo, in order."""
    net = netc.load_net(NET, weights=str(home / f"{seed}.caffemodel"))
    paths = sorted((home / "photos").rglob("*.png"))
    labels = np.array([CLASSES.index(path.parent.name) for path in paths])
    return labels, netc.posteriors(net, paths, **({"scales": (14,), "flip": False, "mean": MEAN} | options))


def error_of(labels: np.ndarray, posteriors: np.ndarray) -> float:
    return float((posteriors.argmax(1) != labels).mean())


def test_errors_and_their_intervals(made: Path, capsys) -> None:
    status, found, said = run(capsys, *words(made, "--scales", "14,17", "--view", "both", "--flip"))
    labels, posteriors = by_hand(made, scales=(14, 17), view="both", flip=True)
    assert (status, found["images"], found["top1_error"]) == (0, 15, error_of(labels, posteriors))
    assert found["top5_error"] == 0  # of four classes
    low, high = found["interval"]
    assert low < found["top1_error"] < high
    assert {one["class"]: one["images"] for one in found["classes"]} == {0: 5, 1: 5, 2: 5}
    wrong = sum(pair["images"] for pair in found["confusions"])
    assert wrong == round(found["top1_error"] * 15)
    assert found["orders"].keys() == {"scores", "posteriors"}
    assert "classes without a picture: dogwood" in said


def test_fusion_averages_posteriors(made: Path, capsys) -> None:
    fuse = f"{made}/net.prototxt:{made}/2.caffemodel"
    _, found, _ = run(capsys, *words(made, "--fuse", fuse))
    labels, one = by_hand(made)
    _, two = by_hand(made, seed=2)
    assert found["top1_error"] == error_of(labels, (one + two) / 2)
    assert len(found["nets"]) == 2


def sources(home: Path, tmp_path: Path) -> dict[str, list[str]]:
    paths = sorted((home / "photos").rglob("*.png"))
    lines = [f"{path.relative_to(home)} {CLASSES.index(path.parent.name)}" for path in paths]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert _main.run(["convert-imageset", str(home / "photos"), str(tmp_path / "lmdb"), "--encoded"]) == 0
    assert _main.run(["convert-imageset", str(home / "photos"), str(tmp_path / "raw")]) == 0
    return {
        "list": ["--data", str(tmp_path / "list.txt"), "--root", str(home)],
        "encoded LMDB": ["--data", str(tmp_path / "lmdb")],
        "raw LMDB": ["--data", str(tmp_path / "raw")],
    }


def test_sources_of_the_same_pictures_give_the_same(made: Path, tmp_path: Path, capsys) -> None:
    given = sources(made, tmp_path)
    capsys.readouterr()
    _, want, _ = run(capsys, *words(made))
    for name, source in given.items():
        _, found, _ = run(capsys, *words(made, *source))
        assert {key: found[key] for key in ("images", "top1_error", "orders")} == {
            key: want[key] for key in ("images", "top1_error", "orders")
        }, name


def test_a_second_pass_computes_nothing(made: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.evaluate.classifier import Classifier

    cache = ("--cache", str(tmp_path / "cache"))
    first = run(capsys, *words(made, *cache, "--view", "both", "--scales", "14,17", "--flip"))
    labels, posteriors = by_hand(made, view="crops", scales=(17,))
    monkeypatch.setattr(Classifier, "_look", None)
    assert run(capsys, *words(made, *cache, "--view", "both", "--scales", "14,17", "--flip")) == first
    _, part, _ = run(capsys, *words(made, *cache, "--view", "crops", "--scales", "17"))  # another protocol of its looks
    assert part["top1_error"] == error_of(labels, posteriors)


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    head, body = content.split(b"\n", 1)
    if how == "cut off":
        path.write_bytes(content[:-9])
    elif how == "a bit":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif how == "of another version":
        path.write_bytes(head.replace(b'"version": 2', b'"version": 1') + b"\n" + body)
    elif how == "of other weights":
        told = json.loads(head)
        path.write_bytes(head.replace(told["net"].encode(), b"0" * 64) + b"\n" + body)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["cut off", "a bit", "of another version", "of other weights", "empty"])
def test_what_is_damaged_or_of_others_is_computed_anew(made: Path, tmp_path: Path, capsys, how: str) -> None:
    cache = ("--cache", str(tmp_path / "cache"))
    _, want, _ = run(capsys, *words(made, *cache))
    files = sorted((tmp_path / "cache").rglob("*.posteriors"))
    spoil(files[0], how)
    _, found, said = run(capsys, *words(made, *cache))
    assert found == want
    assert said.count("is not used, but computed anew") == 1
    assert files[0].name in said
    assert "is not used" not in run(capsys, *words(made, *cache))[2]


def test_a_cache_of_other_weights_is_told(made: Path, tmp_path: Path, capsys) -> None:
    cache = ("--cache", str(tmp_path / "cache"))
    run(capsys, *words(made, *cache))
    _, found, said = run(capsys, *words(made, *cache, seed=2))
    assert "holds results of 1 other nets or weights, which are not used" in said
    labels, posteriors = by_hand(made, seed=2)
    assert found["top1_error"] == error_of(labels, posteriors)


def test_files_of_another_folder_do_not_count(tmp_path: Path) -> None:
    """As where somebody renames the folders of a cache."""
    said: list[str] = []
    look, other = Look("dense", 14, False), Look("dense", 17, False)
    store = Store(tmp_path, "a" * 64, said.append)
    store.put(look, [b"r" * 32], np.full((2, 1, 4), 0.25))
    again = Store(tmp_path, "a" * 64, said.append)
    again.look_up([look, other])
    assert again.get(look, b"r" * 32).tolist() == [[0.25] * 4] * 2
    assert again.get(other, b"r" * 32) is None
    shutil.copytree(tmp_path / ("a" * 64) / str(look), tmp_path / ("a" * 64) / str(other))
    renamed = Store(tmp_path, "a" * 64, said.append)
    renamed.look_up([other])
    assert (renamed.get(other, b"r" * 32), len(said)) == (None, 1)


@pytest.mark.slow
def test_any_number_of_processes_finds_the_same(made: Path, tmp_path: Path) -> None:
    """To the last bit: what each keeps on disk is the same file."""
    many = tmp_path / "photos"
    for copy in range(20):  # two blocks and a bit
        shutil.copytree(made / "photos", many, dirs_exist_ok=True, copy_function=_renamed(f"{copy}_"))
    kept = {}
    for processes in (1, 2, 3):
        cache = tmp_path / f"cache{processes}"
        given = words(made, "--cache", str(cache), "--flip", "--data", str(many), "--nproc", str(processes))
        done = subprocess.run([sys.executable, "-m", "netc", *given], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        files = {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*.posteriors")}
        kept[processes] = (json.loads(done.stdout), files)
    assert kept[1] == kept[2] == kept[3]
    assert kept[1][0]["images"] == 300


def _renamed(prefix: str):
    def copy(source: str, target: str) -> None:
        place = Path(target)
        shutil.copy(source, place.with_name(prefix + place.name))

    return copy


def test_paired_predictions(made: Path, tmp_path: Path, capsys) -> None:
    file = str(tmp_path / "one.json")
    run(capsys, *words(made, "--predictions", file))
    _, found, _ = run(capsys, *words(made, "--against", file, seed=2))
    labels, one = by_hand(made)
    _, two = by_hand(made, seed=2)
    wrong, other = two.argmax(1) != labels, one.argmax(1) != labels
    test = found["mcnemar"]["tests"]["top-1"]
    assert (test["only_first"], test["only_second"]) == ((wrong & ~other).sum(), (other & ~wrong).sum())
    (made / "photos" / "ash" / "9.png").write_bytes((made / "photos" / "ash" / "0.png").read_bytes())
    try:
        status, found, _ = run(capsys, *words(made, "--against", file))
    finally:
        (made / "photos" / "ash" / "9.png").unlink()
    assert (status, found["errors"][0]["code"]) == (65, "R739")


def test_unreadable_pictures_are_named_and_count_nowhere(made: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(made / "photos", tmp_path / "photos")
    good = (tmp_path / "photos" / "ash" / "0.png").read_bytes()
    (tmp_path / "photos" / "ash" / "8.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "ash" / "9.png").write_bytes(good[: len(good) // 2])  # a header that is whole
    status, found, said = run(capsys, *words(made, "--data", str(tmp_path / "photos")))
    assert (status, found["images"], len(found["broken"])) == (65, 15, 2)
    assert said.count("cannot be used") == 2
    assert "ash/8.png" in said
    assert "ash/9.png" in said
    labels, posteriors = by_hand(made)
    assert found["top1_error"] == error_of(labels, posteriors)


def test_labels_say_which_folder_is_which(made: Path, tmp_path: Path, capsys) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dogwood tree, flowering\ncedar tree\nbeech tree\nash tree\n")
    _, found, _ = run(capsys, *words(made, "--labels", str(names)))
    labels, posteriors = by_hand(made)
    assert found["top1_error"] == error_of(3 - labels, posteriors)
    assert {one["name"] for one in found["classes"]} == {"cedar tree", "beech tree", "ash tree"}


def wrong_cases(home: Path, tmp_path: Path) -> list[tuple[list[str], int, str, str]]:
    (tmp_path / "three.txt").write_text("ash\nbeech\ncedar\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "ash").mkdir()
    shutil.copy(home / "photos/ash/0.png", tmp_path / "one/ash")
    (tmp_path / "big.txt").write_text(f"{home}/photos/ash/0.png 4\n")
    return [
        (["--labels", str(tmp_path / "three.txt")], 65, "R738", "names 3 classes, and the net has 4"),
        (["--data", str(tmp_path / "one")], 65, "R738", "has 1 sub-folders, and the net 4 classes"),
        (["--data", str(tmp_path / "big.txt")], 65, "R737", "has the label 4, and the net 4 classes"),
        (["--data", str(tmp_path / "absent")], 66, "F140", "to take pictures from"),
        (["--scales", "11"], 65, "R732", "smaller than the classifier's input"),
        (["--scales", "big"], 65, "R732", "--scales"),
        (["--against", str(tmp_path / "three.txt")], 65, "R739", "not a file of predictions"),
    ]


def test_wrong_calls(made: Path, tmp_path: Path, capsys) -> None:
    for more, wanted, code, said in wrong_cases(made, tmp_path):
        status, found, _ = run(capsys, *words(made, *more))
        assert (found["errors"][0]["code"], said in found["errors"][0]["message"]) == (code, True), more
        assert status == netc.NetcError(code, "").exit_status, (status, wanted)


def test_options_that_exclude_one_another(made: Path, capsys) -> None:
    for words_ in (["--iterations", "3"], []):
        given = ["test", str(made / "net.prototxt"), "--weights", "w", *words_, "--view", "dense", "--json"]
        status, found, _ = run(capsys, *given)
        assert (status, found["errors"][0]["code"]) == (2, "C100")


# -- netc classify -----------------------------------------------------------------------------------------------------


def classify(home: Path, *more: str) -> list[str]:
    start = ["classify", "--weights", str(home / "1.caffemodel"), "--net", str(home / "net.prototxt")]
    return [*start, "--mean", "120,121,122", "--json", *more]


def test_classify(made: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    paths = sorted(map(str, (made / "photos" / "ash").iterdir()))
    given = [str(made / "photos/ash"), "-", "--labels", str(tmp_path / "names.txt"), "--top", "2", "--scales", "14"]
    listed = io.TextIOWrapper(io.BytesIO(f"{paths[0]}\n\nnowhere.png\n".encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    status, found, said = run(capsys, *classify(made, *given, "--protocol", "dense"))
    assert (status, [one["path"] for one in found["images"]]) == (65, [*paths, paths[0]])
    assert "nowhere.png" in said
    _, posteriors = by_hand(made)
    for one, row in zip(found["images"], [*posteriors[:5], posteriors[0]], strict=True):
        best = row.argsort()[::-1][:2]
        assert [each["label"] for each in one["predictions"]] == best.tolist()
        assert [each["name"] for each in one["predictions"]] == [CLASSES[label] for label in best]
        assert [each["probability"] for each in one["predictions"]] == pytest.approx(row[best].tolist(), rel=1e-6)


def test_classify_takes_what_the_card_says(made: Path, tmp_path: Path, capsys) -> None:
    """A converted file brings net, mean and names."""
    target, picture = str(tmp_path / "net.safetensors"), str(made / "photos/ash/0.png")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    convert = ["convert-caffemodel", str(made / "1.caffemodel"), "-o", target, "--net", str(made / "net.prototxt")]
    assert _main.run([*convert, "--mean", "120,121,122", "--classes", str(tmp_path / "names.txt")]) == 0
    capsys.readouterr()
    _, found, _ = run(capsys, "classify", picture, "--weights", target, "--json")
    _, want, _ = run(capsys, *classify(made, picture, "--labels", str(tmp_path / "names.txt")))
    assert found == want
    net = netc.load_net(NET, weights=target)
    told = netc.posteriors(net, picture, 14)
    assert (told == netc.posteriors(net, picture, 14, mean=MEAN)).all()


def test_classify_asks_for_what_nobody_says(made: Path, capsys) -> None:
    given = [word for word in classify(made, str(made / "photos/ash/0.png")) if word not in ("--mean", "120,121,122")]
    status, found, _ = run(capsys, *given)
    assert found["errors"][0]["code"] == "R731"
    assert "--mean" in found["errors"][0]["hint"]
    assert status == NetcError("R731", "").exit_status
