"""Pictures → databases: what `netc convert-imageset` and `netc image-mean` drive.

listing = from_list(root, list_file)              # or from_folders(root): one folder a class
summary = build(listing, path, Recipe(size=(256, 256)))
"""

from netc.runtime.imageset.boxes.base import Annotations
from netc.runtime.imageset.boxes.read import read_annotations
from netc.runtime.imageset.builder import Skipped, Summary, build, labels_path
from netc.runtime.imageset.ground_truth import from_ground_truth
from netc.runtime.imageset.pictures import Recipe
from netc.runtime.imageset.sources import ListedImage, Listing, from_boxes, from_folders, from_list, read_classes

__all__ = [
    "Annotations",
    "ListedImage",
    "Listing",
    "Recipe",
    "Skipped",
    "Summary",
    "build",
    "from_boxes",
    "from_folders",
    "from_ground_truth",
    "from_list",
    "labels_path",
    "read_annotations",
    "read_classes",
]
