"""What SSD and YOLO find: tables of boxes, thinned out, and which of them are right. Nothing here has a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from netc.layers.functions.boxes import decoded_boxes, overlaps, survivors


@torch.no_grad()
def detected_boxes(
    offsets: Tensor,
    scores: Tensor,
    priors: Tensor,
    *,
    classes: int,
    nms_threshold: float,
    eta: float = 1.0,
    most_before: int | None = None,
    most: int = -1,
    least_score: float | None = None,
    background: int = 0,
    code: str = "corner",
    shared: bool = True,
    plain: bool = False,
) -> Tensor:
    """SSD's boxes (1, 1, K, 7) as rows (image, class, score, box), by image, then class, then falling score.

    Of each class but the background the `most_before` best above least_score, thinned out; then of each image the
    `most` best. `shared`: all classes have the same offsets. `plain`: these are not multiplied by the variances.
    """
    boxes, variances = priors.reshape(2, -1, 4)[:, :, None]
    found = []
    for n in range(len(offsets)):
        moves, chances = offsets[n].reshape(len(boxes), -1, 4), scores[n].reshape(-1, classes)
        moved = decoded_boxes(boxes, None if plain else variances, moves, code)
        tables = [moved.new_zeros(0, 7)]
        for label in (label for label in range(classes) if label != background):
            own, score = moved[:, 0 if shared else label], chances[:, label]
            order = score.argsort(descending=True, stable=True)
            if least_score is not None:
                order = order[score[order] > least_score]
            order = order[:most_before]
            kept = order[torch.tensor(survivors(own[order], nms_threshold, eta), dtype=torch.long, device=order.device)]
            tables.append(detection_rows(n, label, score[kept], own[kept]))
        found.append(best_rows(torch.cat(tables), most))
    rows = torch.cat(found)
    return rows[None, None] if len(rows) else nothing_found(len(offsets), offsets)


def detection_rows(image: int, label: int, scores: Tensor, boxes: Tensor) -> Tensor:
    """(image, class, score, box) for boxes of one class in one image."""
    heads = torch.tensor([image, label], dtype=scores.dtype, device=scores.device)
    return torch.cat([heads.expand(len(scores), 2), scores[:, None], boxes], 1)


def best_rows(rows: Tensor, most: int) -> Tensor:
    """The rows of the `most` highest scores (-1: all); their order stays."""
    if not 0 <= most < len(rows):
        return rows
    return rows[rows[:, 2].argsort(descending=True, stable=True)[:most].sort().values]


def nothing_found(images: int, like: Tensor) -> Tensor:
    """What a layer gives where it finds nothing at all: a row for each image, its number and six times -1."""
    rows = like.new_full((images, 7), -1)
    rows[:, 0] = torch.arange(images)
    return rows[None, None]


@torch.no_grad()
def yolo_detections(
    maps: list[Tensor], *, anchors: list[tuple[float, float]], least_score: float, nms_threshold: float
) -> Tensor:
    """YOLO v2's boxes (1, 1, K, 7) as rows (image, class + 1, score, box) from maps (N, anchors · (5 + classes), S, S).
    `anchors`: width and height in positions. A box needs a score of `least_score` or more."""
    rows = []
    for x in maps:
        boxes, thing, classes = yolo_boxes(x, [(width / x.shape[3], height / x.shape[3]) for width, height in anchors])
        best, label = classes.softmax(-1).max(-1)
        score = thing * best
        rows.append(yolo_rows(boxes, score, label, score >= least_score))
    return yolo_kept(rows, nms_threshold, maps[0])


@torch.no_grad()
def yolo3_detections(
    maps: list[Tensor],
    *,
    anchors: list[list[tuple[float, float]]],
    strides: list[int],
    least_score: float,
    nms_threshold: float,
) -> Tensor:
    """YOLO v3's: each map has its own anchors, in pixels, and so many pixels a position; a box has a row for each class
    whose score is above `least_score`."""
    rows = []
    for x, own, stride in zip(maps, anchors, strides, strict=True):
        pixels = x.shape[3] * stride
        boxes, thing, classes = yolo_boxes(x, [(width / pixels, height / pixels) for width, height in own])
        score = thing[..., None] * classes.sigmoid()
        label = score.new_ones(score.shape).long().cumsum(-1) - 1
        rows.append(yolo_rows(boxes[..., None, :].expand(*score.shape, 4), score, label, score > least_score))
    return yolo_kept(rows, nms_threshold, maps[0])


def yolo_boxes(x: Tensor, anchors: list[tuple[float, float]]) -> tuple[Tensor, Tensor, Tensor]:
    """(N, C, S, S) → boxes (N, S, S, anchors, 4) as centre and size in shares of the image, objects, classes.

    `anchors`: width and height in shares of the image. Channels: (x, y, w, h, object, classes …) for each anchor.
    """
    n, _, side, _ = x.shape
    maps = x.reshape(n, len(anchors), -1, side, side).permute(0, 3, 4, 1, 2)
    place = torch.arange(side, dtype=x.dtype, device=x.device)
    cx = (maps[..., 0].sigmoid() + place[None, None, :, None]) / side
    cy = (maps[..., 1].sigmoid() + place[None, :, None, None]) / side
    size = maps[..., 2:4].exp() * torch.tensor(anchors, dtype=x.dtype, device=x.device)
    return torch.cat([cx[..., None], cy[..., None], size], -1), maps[..., 4].sigmoid(), maps[..., 5:]


def yolo_rows(boxes: Tensor, score: Tensor, label: Tensor, chosen: Tensor) -> Tensor:
    """(image, class + 1, score, centre, size) of the boxes that are chosen."""
    image = chosen.nonzero()[:, 0].to(score.dtype)
    return torch.cat([torch.stack([image, label[chosen].to(score.dtype) + 1, score[chosen]], 1), boxes[chosen]], 1)


def yolo_kept(rows: list[Tensor], nms_threshold: float, like: Tensor) -> Tensor:
    """Rows (image, class, score, centre, size) thinned out image by image, all classes together, as corners."""
    # a box goes at an overlap of just the threshold, too: hence the next smaller number
    below = float(torch.nextafter(torch.tensor(nms_threshold), torch.tensor(0.0)))
    found = []
    for n in range(len(like)):
        table = torch.cat([row[row[:, 0] == n] for row in rows])
        table = table[table[:, 2].argsort(descending=True, stable=True)]
        corners = torch.cat([table[:, 3:5] - table[:, 5:] / 2, table[:, 3:5] + table[:, 5:] / 2], 1)
        found.append(torch.cat([table[:, :3], corners], 1)[survivors(corners, below)])
    top = torch.cat(found)
    return top[None, None] if len(top) else nothing_found(len(like), like)


@torch.no_grad()
def judged_detections(
    found: Tensor,
    objects: Tensor,
    *,
    classes: int,
    background: int = 0,
    least_overlap: float = 0.5,
    difficult: bool = True,
) -> Tensor:
    """Rows (-1, class, number of objects, -1, -1) for each class but the background, then (image, class, score, right,
    wrong) for each detection: what average precision is computed from. `difficult`: such objects count too."""
    boxes = [row for row in found.reshape(-1, 7).tolist() if row[1] != -1]
    things = [row for row in objects.reshape(-1, 8).tolist() if row[0] != -1]
    rows: list[list[float]] = []
    for label in (label for label in range(classes) if label != background):
        rows.append([-1, label, sum(row[1] == label and (difficult or not row[7]) for row in things), -1, -1])
    for key in sorted({(row[0], row[1]) for row in boxes}):
        own = sorted((row for row in boxes if (row[0], row[1]) == key), key=lambda row: -row[2])
        rows += judged(own, [row for row in things if (row[0], row[1]) == key], least_overlap, difficult)
    return torch.tensor(rows, dtype=found.dtype, device=found.device)[None, None]


def judged(
    found: list[list[float]], objects: list[list[float]], least_overlap: float, difficult: bool
) -> list[list[float]]:
    """Rows (image, class, score, right, wrong) for the detections of one class in one image, best first: right is the
    first that overlaps an object enough; one that hits a difficult object counts neither way."""
    if not objects:
        return [[*row[:3], 0, 1] for row in found]
    boxes = torch.tensor([row[3:7] for row in found], dtype=torch.float64)
    values, places = overlaps(boxes, torch.tensor([row[3:7] for row in objects], dtype=torch.float64)).max(1)
    seen: set[int] = set()
    rows = []
    for row, overlap, place in zip(found, values.tolist(), places.tolist(), strict=True):
        if overlap >= least_overlap and not difficult and objects[place][7]:
            rows.append([*row[:3], 0, 0])
            continue
        right = overlap >= least_overlap and place not in seen
        seen |= {place} if right else set()
        rows.append([*row[:3], int(right), int(not right)])
    return rows
