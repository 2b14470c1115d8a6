"""A row of localisation: the boxes of one net or several, rated, merged and judged picture by picture.

What was found is kept by blocks of pictures, CACHE/boxes/<key>/<block>.json, so that a killed run goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import NetcError, printable
from netc.files import checked_json
from netc.files.durable import write_error, write_whole
from netc.files.opening import read_bytes
from netc.runtime.data.datum import Picture
from netc.runtime.data.leveldb import is_leveldb
from netc.runtime.data.records import Records
from netc.runtime.evaluate.classifier import VERSION, Classifier
from netc.runtime.evaluate.protocol import ORDERS
from netc.runtime.evaluate.run import Outcome
from netc.runtime.evaluate.statistics import wilson
from netc.runtime.evaluate.sweep import Member
from netc.runtime.localise.judge import ENOUGH, overlap, own_boxes
from netc.runtime.localise.measure import records_of
from netc.runtime.localise.merging import THRESHOLD
from netc.runtime.localise.nets import System
from netc.runtime.localise.predict import Located, localiser, located
from netc.runtime.reproduce.setting import Setting, Value
from netc.solver.tables import Row, Trained

BLOCK = 64
EXAMPLES = 12
_MOST = 1 << 24
_JUDGED = checked_json.Record({"sha256": str, "overlap": float, "right": bool, "box": [float], "truth": [[float]]})
_KEPT = checked_json.Record({"key": str, "rows": [_JUDGED]})


def has_boxes(row: Row, data: str) -> bool:
    """Whether the pictures are a database, which alone can hold boxes, and the first of its records that can be read
    has some."""
    if not (os.path.lexists(os.path.join(data, "data.mdb")) or (os.path.isdir(data) and is_leveldb(data))):
        return False
    with records_of(row.members[0].trained.train_val, data) as records:
        for index in range(len(records)):
            try:
                return records.picture(index).boxes is not None
            except NetcError as error:
                if error.code != "D520":
                    raise
    return False


@dataclass(frozen=True, slots=True)
class _Judge:
    """Everything that decides what a picture gets."""

    systems: Sequence[System]
    dense: bool
    named: Mapping[int, Sequence[int]] | None
    key: str

    def judged(self, picture: Picture, index: int, sha256: str) -> dict[str, Any]:
        truth, label = own_boxes(picture), int(float(picture.label))
        if not len(truth):
            message = f"the record {printable(picture.name)} has no box of its own class"
            raise NetcError("D564", message, None, "netc convert-imageset --boxes stores boxes")
        for system in self.systems:
            system.check_label(label, picture.name)
        found = self._located(picture, label, index)
        own = next((one for one in found if one.label == label), found[0])
        right = any(one.label == label and overlap(one.box, truth) > ENOUGH for one in found)
        box = [float(value) for value in own.box]
        boxes = [[float(value) for value in one] for one in truth]
        return {"sha256": sha256, "overlap": overlap(own.box, truth), "right": right, "box": box, "truth": boxes}

    def _located(self, picture: Picture, label: int, index: int) -> list[Located]:
        """The boxes of the true class, or those of the classes that are named."""
        if not self.dense:
            return [self.systems[0].of_class(picture, label, dense=False)]
        predictions = list(chain.from_iterable(system.predictions(picture) for system in self.systems))
        labels = [label] if self.named is None else self.named[index]
        return [located(predictions, picture, one, THRESHOLD) for one in labels]


def measured(
    row: Row, nets: Mapping[Trained, Classifier], naming: Sequence[Member], named: Outcome | None, setting: Setting
) -> dict[str, Any]:
    """What a row finds: {"images", "measured", "boxes", "mean_iou"}. `named`: the classes that `naming` gives each
    picture; None: the true class is taken. Raises NetcError D564 for a record without a box of its class."""
    systems = [
        System([(localiser(nets[one.trained]), nets[one.rating] if one.rating else None)], one.test_sides, THRESHOLD)
        for one in row.members
    ]
    keys = [(nets[one.trained].key, one.rating and nets[one.rating].key, one.test_sides) for one in row.members]
    said = [keys, row.view, [(one.classifier.key, str(one.protocol), one.protocol.order) for one in naming], VERSION]
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    order = ORDERS.index(setting.order)
    best = None
    if named is not None:
        best = {int(index): named.best[at, order].tolist() for at, index in enumerate(named.indices)}
    judge = _Judge(systems, row.view == "dense", best, key)
    with records_of(row.members[0].trained.train_val, setting.data) as records:
        total = len(records)
        places = list(range(total) if best is None else sorted(best))
        found = _all(judge, records, places, setting)
    wrong = [one["right"] for one in found].count(False)
    measure = "box_error" if best is None else "top5_box_error"
    examples = [
        {"index": at, "box": one["box"], "truth": one["truth"], "right": one["right"], "overlap": one["overlap"]}
        for at, one in list(zip(places, found, strict=True))[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]
    ]
    return {
        "images": len(found),
        "measured": {measure: Value(wrong / len(found), wilson(wrong, len(found)))},
        "wrong": {measure: [at for at, one in zip(places, found, strict=True) if not one["right"]]},
        "left_out": sorted(set(range(total)) - set(places)),
        "mean_iou": float(np.mean([one["overlap"] for one in found])),
        "boxes": examples,
    }


def _all(judge: _Judge, records: Records, places: Sequence[int], setting: Setting) -> list[dict[str, Any]]:
    """What is found at all places, by blocks that the processes share out. Raises the NetcError of the first that has
    one."""
    own: dict[int, list[dict[str, Any]]] = {}
    error = None
    try:
        own.update(_own(judge, records, places, setting))
    except NetcError as failed:
        error = failed
    parts = setting.group.agree(error, own)
    blocks = {number: block for (part,) in parts for number, block in part.items()}
    return [one for number in sorted(blocks) for one in blocks[number]]


def _own(
    judge: _Judge, records: Records, places: Sequence[int], setting: Setting
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The blocks of this process, with their numbers."""
    done, count = setting.counting(len(places)), 0
    folder = Path(setting.cache, "boxes", judge.key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, folder) from None
    with ThreadPoolExecutor(setting.streams, "boxes") as pool:
        for number in range(setting.group.rank, -(-len(places) // BLOCK), setting.group.size):
            block = places[number * BLOCK : (number + 1) * BLOCK]
            pictures = [records.picture(index) for index in block]
            shas = [_sha256(picture) for picture in pictures]
            path = folder / f"{number:06}.json"
            found = _kept(path, judge.key, shas, setting)
            if found is None:
                found = list(pool.map(judge.judged, pictures, block, shas))
                write_whole(path, [json.dumps({"key": judge.key, "rows": found}).encode()])
            count += len(block)
            if done:
                done(count)
            yield number, found


def _sha256(picture: Picture) -> str:
    """Of all of a record that its judgement comes from."""
    sha = hashlib.sha256(repr((picture.size, float(np.asarray(picture.label)))).encode())
    for part in (picture.planes, picture.boxes):
        sha.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()


def _kept(path: Path, key: str, shas: Sequence[str], setting: Setting) -> list[dict[str, Any]] | None:
    """What an earlier run has found for these records; what does not fit is computed anew, which is said."""
    if not path.exists():
        return None
    try:
        content = checked_json.parse(read_bytes(path, _MOST))
        checked_json.check(content, _KEPT)
        if content["key"] != key or [one["sha256"] for one in content["rows"]] != list(shas):
            raise ValueError("it is of other pictures or nets")
        return list(content["rows"])
    except (OSError, ValueError, NetcError) as error:
        reason = error.message if isinstance(error, NetcError) else error
        setting.say(f"{printable(str(path))} is not used, but computed anew: {reason}")
        return None
