"""Every command of docs/imagenet.md runs, one after the other, on a miniature of ImageNet: three classes in a tar of
tars, a flat validation folder, the devkit, Caffe's list, and Kaggle's files."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import lmdb
from PIL import Image

from netc import proto
from tests.runtime.imageset.devkit import IDS, SYNSETS, write_devkit

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/imagenet.md").read_text()
COLOURS = {"n01440764": (220, 30, 20), "n02100735": (20, 200, 40), "n02119789": (30, 20, 210)}
TRUTH = [3, 1, 2, 2, 1, 3]
"""The devkit's numbers of the validation images."""


def commands() -> list[str]:
    """The page's commands, each with its further lines."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [one.replace("\\\n", " ") for block in blocks for one in block.strip().removeprefix("$ ").split("\n$ ")]


def jpeg(synset: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[synset]).save(file, "JPEG")
    return file.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


def write_miniature(home: Path) -> None:
    """What the page says that the reader has."""
    classes = {
        f"{synset}.tar": packed({f"{synset}_{n}.JPEG": jpeg(synset, (300 + 9 * n, 290)) for n in range(4)})
        for synset in reversed(SYNSETS)
    }
    (home / "ILSVRC2012_img_train.tar").write_bytes(packed(classes))
    images = {f"{val_name(n)}.JPEG": jpeg(IDS[one], (280, 300 + n)) for n, one in enumerate(TRUTH, 1)}
    (home / "ILSVRC2012_img_val.tar").write_bytes(packed(images))
    write_devkit(home / "ILSVRC2012_devkit_t12", TRUTH)
    with tarfile.open(home / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        tar.add(home / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    labels = [SYNSETS.index(IDS[one]) for one in TRUTH]
    (home / "val.txt").write_text("".join(f"{val_name(n)}.JPEG {label}\n" for n, label in enumerate(labels, 1)))
    (home / "LOC_synset_mapping.txt").write_text("".join(f"{synset} a name, and another\n" for synset in SYNSETS))
    rows = [f"{val_name(n)},{IDS[one]} 1 2 30 40 {IDS[one]} 5 6 7 8 \n" for n, one in enumerate(TRUTH, 1)]
    (home / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows))


def write_nets(models: Path) -> None:
    """Nets vgg_A and vgg_E as they come with netc, but small and for two iterations."""
    for letter in "AE":
        (models / f"vgg_{letter}").mkdir(parents=True)
        for file in (ROOT / f"models/mini_vgg_{letter}").iterdir():
            text = re.sub(r"batch_size: \d+", "batch_size: 3", file.read_text().replace("mini_vgg", "vgg"))
            text = re.sub('source: "(train|val)_lmdb"', r'source: "ilsvrc12_\1_lmdb"', text)
            small = re.sub(r"max_iter: \d+", "max_iter: 2", text)
            (models / f"vgg_{letter}" / file.name).write_text(small)


NETC = """#!{python}
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from netc.cli import main
from netc.files import shipped
shipped.FOLDER = Path({models!r})
sys.exit(main())
"""


def colours(database: Path) -> dict[str, int]:
    """Label by synset, which the colour of a stored image tells; the images' shorter side is 256."""
    found = {}
    with lmdb.open(str(database), readonly=True) as env, env.begin() as txn:
        for _, value in txn.cursor():
            datum = proto.Datum.FromString(value)
            image = Image.open(io.BytesIO(datum.data)).convert("RGB")
            assert min(image.size) == 256
            pixel = image.getpixel((100, 100))
            synset = min(COLOURS, key=lambda one: sum(abs(a - b) for a, b in zip(COLOURS[one], pixel)))
            assert found.setdefault(synset, datum.label) == datum.label
    return found


def test_every_command_of_the_page(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_miniature(home)
    write_nets(tmp_path / "models")
    netc = tmp_path / "bin/netc"
    netc.parent.mkdir()
    netc.write_text(NETC.format(python=sys.executable, root=str(ROOT), models=str(tmp_path / "models")))
    netc.chmod(0o755)
    environment = {**os.environ, "PATH": f"{netc.parent}{os.pathsep}{os.environ['PATH']}"}
    labelled = 0
    for command in commands():
        if "ilsvrc12_val_lmdb" in command:  # the page shows three ways to it
            shutil.rmtree(home / "ilsvrc12_val_lmdb", ignore_errors=True)
        done = subprocess.run(["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        for database in ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"):
            if command.startswith("netc convert-imageset") and database in command.split():
                assert colours(home / database) == {synset: label for label, synset in enumerate(SYNSETS)}, command
                labelled += 1
    assert labelled == 4
    assert not list((home / "train").glob("*.tar"))
    assert (home / "vgg_E_iter_2.caffemodel").exists()
