"""Any source of boxes, by what it is."""

from __future__ import annotations

from pathlib import Path

from netc.errors import NetcError, Place
from netc.files.lines import read_text
from netc.files.opening import is_there
from netc.runtime.imageset.boxes.base import Annotations
from netc.runtime.imageset.boxes.coco import coco
from netc.runtime.imageset.boxes.table import table
from netc.runtime.imageset.boxes.xml import XmlFiles


def read_annotations(path: Path) -> Annotations:
    """Raises NetcError F140 where there is nothing of that name, D565 where it is not what it should be, and what
    reading a text raises (netc.files.lines)."""
    if path.is_dir():
        return XmlFiles(path)
    if not path.is_file() and not is_there(path):
        raise NetcError("F140", "there is nothing of that name to read boxes from", Place(str(path)))
    text = read_text(str(path), "file of boxes")
    if path.suffix.lower() == ".json":
        return Annotations(str(path), coco(text, str(path)))
    return Annotations(str(path), table(text, str(path)))
