"""Boxes in JSON as COCO's instances_….json has them: x, y, width, height from the left upper corner.

Of that file netc needs three lists of tables, so its own checked reader of JSON does, and pycocotools is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.runtime.imageset.boxes.base import Annotation, Box

_COCO = checked_json.Record(
    {
        "images": [checked_json.Record({"id": int, "file_name": str}, {"width": int, "height": int})],
        "annotations": [checked_json.Record({"image_id": int, "category_id": int, "bbox": [float]}, {"iscrowd": int})],
        "categories": [checked_json.Record({"id": int, "name": str})],
    }
)


def coco(text: str, path: str) -> dict[str, Annotation]:
    """Each image's boxes; a crowd's (iscrowd) is none of an object's. x, y, width, height there."""
    try:
        content = checked_json.parse(text)
        checked_json.check(content, _COCO)
    except ValueError as error:
        hint = "COCO's instances_….json has images, annotations and categories"
        raise NetcError("D565", f"this is not a file of boxes as COCO has them: {error}", Place(path), hint) from None
    classes = {one["id"]: one["name"] for one in content["categories"]}
    images = {one["id"]: one for one in content["images"]}
    boxes: dict[int, list[Box]] = {number: [] for number in images}
    for index, one in enumerate(content["annotations"]):
        if one.get("iscrowd"):
            continue
        boxes[_known(one["image_id"], images, "image_id", index, path)].append(_coco_box(one, index, classes, path))
    return {one["file_name"]: Annotation(boxes[number], _size(one)) for number, one in images.items()}


def _coco_box(one: Any, index: int, classes: dict[int, str], path: str) -> Box:
    if len(one["bbox"]) != 4:
        message = f"annotations[{index}].bbox has {len(one['bbox'])} numbers, and a box has four"
        raise NetcError("D565", message, Place(path))
    x, y, width, height = map(float, one["bbox"])
    name = classes[_known(one["category_id"], classes, "category_id", index, path)]
    return Box(name, (x, y, x + width, y + height), Place(path, part=f"annotations[{index}]"))


def _known(number: int, table: Mapping[int, Any], key: str, index: int, path: str) -> int:
    if number not in table:
        raise NetcError("D565", f"annotations[{index}].{key} is {number}, which the file does not have", Place(path))
    return number


def _size(image: Any) -> tuple[int, int] | None:
    width, height = image.get("width", 0), image.get("height", 0)
    return (width, height) if width > 0 and height > 0 else None
