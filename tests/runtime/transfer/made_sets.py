"""Small data sets in the folders and files of their authors: VOC 2007 and 2012, Caltech-101 and 256.

Classes differ in colour, so that any net tells them apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("aeroplane", "bicycle", "bird")
ACTIONS = ("jumping", "reading")
SIZES = ((70, 84), (84, 70), (70, 84), (77, 77))

_OBJECT = """  <object>
    <name>{name}</name><pose>Left</pose><truncated>1</truncated><difficult>{difficult}</difficult>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
  </object>
"""


def picture(path: Path, label: int, number: int, box: tuple[int, int, int, int] | None = None) -> None:
    """Of the colour of its class; with a box in it alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng((label, number)).integers(60, 110, (*SIZES[number % 4], 3))
    x1, y1, x2, y2 = box or (1, 1, pixels.shape[1], pixels.shape[0])
    pixels[y1 - 1 : y2, x1 - 1 : x2, label % 3] += 110
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)


def _annotation(home: Path, name: str, objects: str) -> None:
    folder = home / "Annotations"
    folder.mkdir(parents=True, exist_ok=True)
    head = f"<annotation>\n  <folder>{home.name}</folder>\n  <filename>{name}.jpg</filename>\n"
    head += "  <size><width>84</width><height>84</height><depth>3</depth></size>\n"
    (folder / f"{name}.xml").write_text(f"{head}{objects}</annotation>\n")


def _lists(home: Path, kind: str, lists: dict[str, list[str]]) -> None:
    folder = home / "ImageSets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def voc(home: Path, parts: dict[str, int], year: str = "") -> Path:
    """VOCdevkit/VOC2007 or VOC2012 with so many pictures a part ("train", "val", "test"); the first of each part has
    nothing but a difficult object of the last class."""
    names: dict[str, list[str]] = {part: [] for part in parts}
    marks: dict[str, dict[str, list[str]]] = {part: {one: [] for one in CLASSES} for part in parts}
    number = 0
    for part, count in parts.items():
        for at in range(count):
            name, label = f"{year}{number:06d}", number % len(CLASSES)
            difficult = at == 0
            label = len(CLASSES) - 1 if difficult else label
            picture(home / "JPEGImages" / f"{name}.jpg", label, number)
            _annotation(home, name, _OBJECT.format(1, 1, 60, 60, name=CLASSES[label], difficult=int(difficult)))
            names[part].append(name)
            for index, one in enumerate(CLASSES):
                mark = (0 if difficult else 1) if index == label else -1
                marks[part][one].append(f"{name} {mark:2d}")
            number += 1
    both = [("trainval", ("train", "val")), *((part, (part,)) for part in parts)]
    _lists(home, "Main", {whole: [name for part in each for name in names[part]] for whole, each in both})
    for whole, each in both:
        _lists(
            home, "Main", {f"{one}_{whole}": [line for part in each for line in marks[part][one]] for one in CLASSES}
        )
    return home


def actions(home: Path, parts: dict[str, int]) -> Path:
    """ImageSets/Action of VOC2012: two persons a picture, the first of whom is coloured by what the person does. The
    person that the lists call 2 comes after an object that is nobody."""
    lists: dict[str, list[str]] = {f"{one}_{part}": [] for one in (*ACTIONS, "other") for part in parts}
    number = 0
    for part, count in parts.items():
        for _ in range(count):
            name, label = f"2010_{number:06d}", number % len(ACTIONS)
            picture(home / "JPEGImages" / f"{name}.jpg", label, number, (8, 8, 40, 60))
            objects = "".join(
                _OBJECT.format(*box, name="person", difficult=0) for box in ((8, 8, 40, 60), (45, 10, 66, 60))
            )
            _annotation(home, name, objects)
            for index, one in enumerate(ACTIONS):
                lists[f"{one}_{part}"] += [f"{name} 1 {1 if index == label else -1:2d}", f"{name} 2 -1"]
            lists[f"other_{part}"] += [f"{name} 1 -1", f"{name} 2  1"]
            number += 1
    _lists(home, "Action", lists)
    return home


def caltech(home: Path, inside: str, classes: dict[str, int], name: str) -> Path:
    """`classes`: folder → pictures in it; name: of each, of the class's number and the picture's."""
    for label, (one, count) in enumerate(classes.items()):
        for number in range(count):
            picture(home / inside / one / name.format(label + 1, number + 1), label, number)
    return home


def caltech101(home: Path) -> Path:
    """With the stray file that the archive has."""
    caltech(home, "101_ObjectCategories", {"BACKGROUND_Google": 33, "Faces": 32, "anchor": 31}, "image_{1:04d}.jpg")
    (home / "101_ObjectCategories" / "BACKGROUND_Google" / "tmp").write_bytes(b"?")
    return home


def caltech256(home: Path) -> Path:
    """With the folder within a folder and the stray file that the archive has."""
    classes = {"001.ak47": 62, "056.dog": 61, "257.clutter": 63}
    caltech(home, "256_ObjectCategories", classes, "{:03d}_{:04d}.jpg")
    inside = home / "256_ObjectCategories"
    picture(inside / "056.dog" / "greg" / "vision309" / "0001.jpg", 1, 99)
    (inside / "257.clutter" / "RENAME2").write_bytes(b"?")
    return home
