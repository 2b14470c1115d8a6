"""Boxes in XML, a file a picture: PASCAL VOC's, ImageNet's, and those of the tools that write them alike.

    annotation / size / width, height
    annotation / object / name
    annotation / object / bndbox / xmin, ymin, xmax, ymax

The numbers are those of pixels, both ends included. VOC counts them from 1, ImageNet from 0: which of the two it is
shows in annotation / source / database, where ImageNet's files name it; all others are taken to count from 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.parsers import expat

from netc.errors import NetcError, Place
from netc.files.opening import is_there, read_bytes
from netc.runtime.data.image_list import is_number
from netc.runtime.imageset.boxes.base import Annotation, Annotations, Box

MOST_BYTES = 16 << 20
MOST_DEPTH = 32
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_FROM_ZERO = ("imagenet", "ilsvrc")


class XmlFiles(Annotations):
    """The XML files below a folder, read when asked for: a/b.jpg has its boxes in a/b.xml, or else in b.xml."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), {})
        if not any(name.lower().endswith(".xml") for _, _, names in os.walk(folder) for name in names):
            message = "no XML file lies in this folder"
            raise NetcError("D565", message, Place(str(folder)), "boxes are a folder of XML files, a .json or a table")

    def of(self, name: str) -> Annotation | None:
        path = self._file(name)
        return None if path is None else read_xml(path)

    def _file(self, name: str) -> str | None:
        stem = os.path.splitext(name.lstrip("/"))[0] + ".xml"
        paths = [os.path.join(self.path, file) for file in (stem, os.path.basename(stem))]
        return next((path for path in paths if is_there(path)), None)

    def names(self) -> Sequence[str] | None:
        return None

    def unused(self, names: Iterable[str]) -> list[str]:
        used = {self._file(name) for name in names}
        files = [os.path.join(folder, file) for folder, _, files in os.walk(self.path) for file in sorted(files)]
        return [os.path.relpath(file, self.path) for file in files if file.endswith(".xml") and file not in used]


def read_xml(path: str) -> Annotation:
    """Raises NetcError D565 for a file that is no such annotation, X120 for one that cannot be read."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise NetcError("X120", f"the boxes {path} cannot be read: {error.strerror}", Place(path)) from None
    reader = _Reader(path)
    reader.read(content)
    return reader.annotation()


class _Reader:
    """What is looked at while the file is parsed: the elements that are open, and the text of the innermost."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.open: list[str] = []
        self.text = ""
        self.found: dict[str, str] = {}
        """Element below the root, "size/width", → its first text."""
        self.objects: list[tuple[dict[str, str], int]] = []
        """Element below an object, "bndbox/xmin", → its text; the line that the object begins on."""

    def read(self, content: bytes) -> None:
        parser = self.parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.EntityDeclHandler = self._characters, self._entity
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise self.fail(f"this is not XML: {expat.errors.messages[error.code]}", error.lineno) from None
        except (LookupError, ValueError) as error:  # an encoding that Python does not know
            raise self.fail(f"this is not XML: {error}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.open and name != "annotation":
            raise self.fail(f"the outermost element is {name[:40]}, and annotation is expected")
        if len(self.open) >= MOST_DEPTH:
            raise self.fail(f"elements stand more than {MOST_DEPTH} deep in each other")
        self.open.append(name)
        self.text = ""
        if self.open[1:] == ["object"]:
            self.objects.append(({}, self.parser.CurrentLineNumber))

    def _characters(self, text: str) -> None:
        self.text += text

    def _end(self, name: str) -> None:
        where, text = self.open[1:], self.text.strip()
        into = self.objects[-1][0] if where[:1] == ["object"] else self.found
        into.setdefault("/".join(where[1:] if into is not self.found else where), text)
        self.open.pop()
        self.text = ""

    def _entity(self, *_: object) -> None:
        raise self.fail("it declares an entity, which no annotation needs")

    def annotation(self) -> Annotation:
        database = self.found.get("source/database", "").lower()
        start = 0 if database.startswith(_FROM_ZERO) else 1
        return Annotation([self._box(*one, start) for one in self.objects], self._size())

    def _size(self) -> tuple[int, int] | None:
        width, height = (self.found.get(f"size/{side}", "") for side in ("width", "height"))
        sizes = [int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0 for text in (width, height)]
        return (sizes[0], sizes[1]) if all(sizes) else None

    def _box(self, one: dict[str, str], line: int, start: int) -> Box:
        texts = [one.get(f"bndbox/{edge}", "") for edge in _EDGES]
        for edge, text in zip(_EDGES, texts):
            if not is_number(text):
                said = f'"{text[:40]}" is not a number' if text else "it is missing"
                raise self.fail(f"an object's bndbox/{edge}: {said}", line)
        x1, y1, x2, y2 = map(float, texts)
        edges = (x1 - start, y1 - start, x2 - start + 1, y2 - start + 1)
        return Box(one.get("name", ""), edges, Place(self.path, line, 1))

    def fail(self, message: str, line: int = 0) -> NetcError:
        hint = "as PASCAL VOC has them: annotation, with an object and its bndbox for each box"
        return NetcError("D565", message, Place(self.path, line or self.parser.CurrentLineNumber, 1), hint)
