"""Boxes from XML, COCO's JSON and tables, and what becomes of them in a database."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from netc import NetcError
from netc.cli import main
from netc.runtime.imageset.boxes.read import read_annotations

VOC = """<annotation><folder>VOC2007</folder><source><database>{database}</database></source>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>
{objects}
</annotation>"""
OBJECT = """<object><name>{}</name><difficult>1</difficult><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def xml(*objects, database="The VOC2007 Database", width=50, height=40):
    inner = "\n".join(OBJECT.format(*one) for one in objects)
    return VOC.format(database=database, width=width, height=height, objects=inner)


def noise(path, width=50, height=40, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((width, height), 60).convert("RGB").save(path, **options)


@pytest.fixture
def flat(tmp_path, monkeypatch):
    """photos/{a,b,c}.jpg in one folder, and VOC's XML of them in boxes/."""
    for name in "abc":
        noise(tmp_path / f"photos/{name}.jpg")
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes/a.xml").write_text(xml(("dog", 1, 1, 50, 40)))
    (tmp_path / "boxes/b.xml").write_text(xml(("dog", 3, 3, 4, 4), ("cat", 11, 6, 30, 25)))
    (tmp_path / "boxes/c.xml").write_text(xml(("cat", 5, 5, 45, 45)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def boxes_of(datum):
    return np.array(datum.float_data).reshape(-1, 5).tolist()


# -- the sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "database, edges",
    [
        ("The VOC2007 Database", (11, 6, 30, 25)),
        ("Unknown", (11, 6, 30, 25)),
        ("ImageNet database", (12, 7, 31, 26)),
        ("ILSVRC_2012", (12, 7, 31, 26)),
    ],
)
def test_xml(tmp_path, database, edges):
    """VOC counts pixels from 1, ImageNet from 0, both with the last one included."""
    (tmp_path / "n01/a.xml").parent.mkdir()
    (tmp_path / "n01/a.xml").write_text(xml(("cat", 12, 7, 30, 25), ("dog", "4.5", 1, 9, 9), database=database))
    found = read_annotations(tmp_path).of("n01/a.jpg")
    assert [box.name for box in found.boxes] == ["cat", "dog"]
    assert found.boxes[0].edges == edges
    assert (found.size, found.boxes[1].place.line) == ((50, 40), 6)
    assert read_annotations(tmp_path / "n01").of("anything/a.png").boxes[0].edges == edges
    assert read_annotations(tmp_path).of("n01/b.jpg") is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("<annotation><object>", "not XML"),
        ("", "not XML"),
        ("<svg/>", "outermost element is svg"),
        (xml(("cat", "", 1, 2, 2)), "bndbox/xmin: it is missing"),
        (xml(("cat", 1, "left", 2, 2)), 'bndbox/ymin: "left" is not a number'),
        (xml(("cat", 1, "nan", 2, 2)), '"nan" is not a number'),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "entity"),
        ("<annotation>" + "<a>" * 40 + "</a>" * 40 + "</annotation>", "deep"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "not XML"),
    ],
)
def test_xml_that_is_none(tmp_path, text, said):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(NetcError, match=said) as caught:
        read_annotations(tmp_path).of("a.jpg")
    assert (caught.value.code, caught.value.path) == ("D565", str(tmp_path / "a.xml"))


def coco(**changes):
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 9, "file_name": "x/a.jpg", "width": 50, "height": 40},
            {"id": 4, "file_name": "b.jpg", "width": 50, "height": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 18, "bbox": [1.5, 2, 10, 20.25], "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 50, 40], "iscrowd": 1, "segmentation": {}},
            {"id": 3, "image_id": 9, "category_id": 1, "bbox": [3, 4, 5, 6]},
        ],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 1, "name": "person"}],
        **changes,
    }


def test_coco(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps(coco()))
    found = read_annotations(tmp_path / "all.json")
    a = found.of("x/a.jpg")
    assert [(box.name, box.edges) for box in a.boxes] == [("dog", (1.5, 2, 11.5, 22.25)), ("person", (3, 4, 8, 10))]
    assert (a.size, found.of("a.jpg"), list(found.of("b.jpg").boxes), found.of("c.jpg")) == ((50, 40), a, [], None)


def test_coco_as_pycocotools_reads_it(tmp_path):
    tool = pytest.importorskip("pycocotools.coco")
    (tmp_path / "all.json").write_text(json.dumps(coco()))
    there = tool.COCO(str(tmp_path / "all.json"))
    ours = read_annotations(tmp_path / "all.json")
    for image in there.loadImgs(there.getImgIds()):
        wanted = there.loadAnns(there.getAnnIds(imgIds=[image["id"]], iscrowd=False))
        wanted += [one for one in there.loadAnns(there.getAnnIds(imgIds=[image["id"]])) if "iscrowd" not in one]
        boxes = ours.of(image["file_name"]).boxes
        assert [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in (box.edges for box in boxes)] == [
            one["bbox"] for one in wanted
        ]
        assert [box.name for box in boxes] == [there.loadCats(one["category_id"])[0]["name"] for one in wanted]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"annotations": [{"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, "image_id is 5"),
        ({"annotations": [{"image_id": 9, "category_id": 5, "bbox": [1, 2, 3, 4]}]}, "category_id is 5"),
        ({"annotations": [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3]}]}, "has 3 numbers"),
        ({"annotations": [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, "4"]}]}, r"bbox\[3\] is not a number"),
        ({"images": {}}, "images is not a list"),
    ],
)
def test_json_that_is_not_cocos(tmp_path, changes, said):
    (tmp_path / "all.json").write_text(json.dumps(coco(**changes)))
    with pytest.raises(NetcError, match=said) as caught:
        read_annotations(tmp_path / "all.json")
    assert caught.value.code == "D565"


@pytest.mark.parametrize(
    "text",
    [
        "my cats/a.jpg cat 1 2 30 40.5\nb.jpg dog 0 0 5 5\n",
        '"my cats/a.jpg"\tcat\t1\t2\t30\t40.5\nb.jpg\tdog\t0\t0\t5\t5',
        "my cats/a.jpg, cat, 1, 2, 30, 40.5\r\n\r\nb.jpg,dog,0,0,5,5\r\n",
        "class;xmax;xmin;ymin;ymax;filename;pose\ncat;30;1;2;40.5;my cats/a.jpg;left\ndog;5;0;0;5;b.jpg;\n",
    ],
)
def test_tables(tmp_path, text):
    (tmp_path / "boxes.txt").write_text(text)
    found = read_annotations(tmp_path / "boxes.txt")
    assert [(box.name, box.edges) for box in found.of("my cats/a.jpg").boxes] == [("cat", (1, 2, 30, 40.5))]
    assert found.names() == ["my cats/a.jpg", "b.jpg"]


def test_tables_without_classes_or_with_sizes(tmp_path):
    (tmp_path / "boxes.txt").write_text("a.jpg 1 2 3 4\na.jpg 2 3 4 5\n")
    boxes = read_annotations(tmp_path / "boxes.txt").of("a.jpg").boxes
    assert [(box.name, box.edges, box.place.line) for box in boxes] == [("", (1, 2, 3, 4), 1), ("", (2, 3, 4, 5), 2)]
    (tmp_path / "boxes.csv").write_text(
        "filename,width,height,class,xmin,ymin,xmax,ymax\nraccoon-1.jpg,650,417,raccoon,81,88,522,408\n"
    )
    one = read_annotations(tmp_path / "boxes.csv").of("raccoon-1.jpg")
    assert (one.size, one.boxes[0].name, one.boxes[0].edges) == ((650, 417), "raccoon", (81, 88, 522, 408))


@pytest.mark.parametrize(
    "text, lines, said",
    [
        ("a.jpg cat 1 2 3\nb.jpg 1 2 3 x\n", [1, 2], 'x1 is "cat"'),
        ("a.jpg cat 1 2 3 4 5\n", [1], "7 words"),
        ("a.jpg,1,2,3,4\nb.jpg,1,2,3\nc.jpg,1,2,nan,4\n", [2, 3], "4 words"),
        ("\n", [0], "no box"),
    ],
)
def test_lines_that_are_no_boxes(tmp_path, text, lines, said):
    (tmp_path / "boxes.txt").write_text(text)
    with pytest.raises(NetcError, match=said) as caught:
        read_annotations(tmp_path / "boxes.txt")
    assert [error.line for error in caught.value.errors] == lines
    assert {error.code for error in caught.value.errors} == {"D565"}


# -- databases ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_and_one_of_xml(flat, records, capsys):
    """The class is that of the largest box; a box beyond its picture is cut; sizes of the record, not of the file."""
    assert main(["convert-imageset", "photos", "db", "--boxes", "boxes", "--no-shuffle", "--short-side=20"]) == 0
    found = [*records(flat / "db").values()]
    assert (flat / "db.labels.txt").read_text() == "cat\ndog\n"
    assert [datum.label for datum in found] == [1, 0, 0]
    assert boxes_of(found[0]) == [[1, 0, 0, 25, 20]]
    assert boxes_of(found[1]) == [[1, 1, 1, 2, 2], [0, 5, 2.5, 15, 12.5]]
    assert boxes_of(found[2]) == [[0, 2, 2, 22.5, 20]]
    captured = capsys.readouterr()
    assert "boxes                4, 1 of them cut at the picture's edge" in captured.out
    assert 'boxes cut at the edge of their pictures: 1 ("cat" boxes/c.xml:3:1)' in captured.err


def test_boxes_that_cannot_be_stored(flat, capsys):
    (flat / "boxes/a.xml").write_text(xml(("dog", 3, 3, 2, 9), ("dog", 60, 1, 70, 9), ("dog", 1, 1, 9, 9)))
    (flat / "boxes/b.xml").write_text(xml(("dog", 3, 3, 2, 9)))
    (flat / "boxes/c.xml").write_text("<annotation>")
    noise(flat / "photos/d.jpg")
    noise(flat / "photos/e.jpg", 40, 50)
    (flat / "boxes/e.xml").write_text(xml(("dog", 1, 1, 9, 9)))
    (flat / "boxes/f.xml").write_text(xml(("dog", 1, 1, 9, 9)))
    assert main(["convert-imageset", "photos", "db", "--boxes", "boxes", "--json"]) == 65
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["boxes"]) == (1, 1)
    reasons = {skip["name"]: skip["reason"] for skip in found["skipped"]}
    assert reasons["b.jpg"] == "no box of its own class that can be used (without area)"
    assert reasons["d.jpg"] == "no boxes"
    assert "boxes/c.xml:1:1: this is not XML" in reasons["c.jpg"]
    assert "another size (50×40, and it is 40×50)" in reasons["e.jpg"]
    left = [(box["reason"], box["edges"], box["place"]) for box in found["boxes_left_out"]]
    assert left == [
        ("without area", [2, 2, 2, 9], "boxes/a.xml:3:1"),
        ("outside its picture", [59, 0, 70, 9], "boxes/a.xml:6:1"),
    ]
    assert found["warnings"] == ["boxes has boxes of 1 picture that are not listed: f.xml"]
    assert main(["convert-imageset", "photos", "db2", "--boxes", "boxes", "--allow-missing"]) == 0


def test_the_folder_form_with_coco(tmp_path, monkeypatch, records):
    """A box of a class that is no folder is left out; one of another folder's class keeps its number."""
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "set/dog/a.jpg")
    noise(tmp_path / "set/person/b.jpg")
    images = [{"id": k, "file_name": name} for k, name in enumerate(("dog/a.jpg", "person/b.jpg"))]
    boxes = [(0, 18, [1, 2, 10, 20]), (0, 1, [3, 4, 5, 6]), (0, 2, [0, 0, 9, 9]), (1, 1, [0, 0, 50, 40])]
    content = coco(
        images=images,
        annotations=[{"image_id": i, "category_id": c, "bbox": b} for i, c, b in boxes],
        categories=[{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
    )
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    assert main(["convert-imageset", "set", "db", "--boxes", "boxes.json", "--no-shuffle"]) == 65
    a, b = records(tmp_path / "db").values()
    assert (boxes_of(a), boxes_of(b)) == ([[0, 1, 2, 11, 22], [1, 3, 4, 8, 10]], [[1, 0, 0, 50, 40]])


def test_the_form_with_a_list(flat, records, capsys):
    (flat / "list.txt").write_text("a.jpg 5\nb.jpg 6\nc.jpg 6\n")
    (flat / "names.txt").write_text("\n".join(["v", "w", "x", "y", "z", "dog", "cat"]))
    words = ["convert-imageset", "photos", "list.txt", "db", "--boxes", "boxes"]
    assert main(words) == 65
    assert "D566" in capsys.readouterr().err
    assert main([*words, "--labels", "names.txt"]) == 0
    assert [boxes_of(datum)[0][0] for datum in records(flat / "db").values()] == [5, 5, 6]
    (flat / "table.txt").write_text("a.jpg 1 2 3 4\nb.jpg 6 1 2 3 4\nc.jpg 1 2 3 4\n")
    assert main([*words[:3], "db2", "--boxes", "table.txt"]) == 0
    assert [boxes_of(datum) for datum in records(flat / "db2").values()] == [[[n, 1, 2, 3, 4]] for n in (5, 6, 6)]


def test_turned_pictures(tmp_path, records, capsys):
    """Boxes are those of the picture as it is to be seen: one that lies on its side is 40×50 then."""
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(tmp_path / "photos/a.jpg", exif=exif)
    (tmp_path / "table.csv").write_text("file,width,height,class,x1,y1,x2,y2\na.jpg,40,50,cat,0,30,40,50\n")
    words = ["convert-imageset", str(tmp_path / "photos"), str(tmp_path / "db"), "--boxes", str(tmp_path / "table.csv")]
    assert main([*words, "--ignore-orientation"]) == 2
    assert main(words) == 0
    assert [boxes_of(datum) for datum in records(tmp_path / "db").values()] == [[[0, 0, 30, 40, 50]]]


def test_where_there_are_no_boxes(flat, capsys):
    for name, status in (("photos", 65), ("nothing", 66), ("photos/a.jpg", 65)):
        assert main(["convert-imageset", "photos", "db", "--boxes", name]) == status
    assert not (flat / "db").exists()
