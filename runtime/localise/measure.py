"""A localisation on all records of a net's test data (appendix A.1, "Testing")."""

from __future__ import annotations

from collections.abc import Callable

from netc.errors import NetcError
from netc.graph.compile import compile_net
from netc.layers.sources import IMAGES
from netc.runtime.data.records import Records, open_records
from netc.runtime.evaluate.sweep import Broken
from netc.runtime.localise.judge import Tally, own_boxes
from netc.runtime.localise.nets import System

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


def records_of(path: str, source: str = "") -> Records:
    """The records that a net is tested on, or those of another database, `source`. Raises NetcError R624 for a net
    without a data layer, and what opening them raises."""
    graph = compile_net(path, phase="TEST")
    node = next((node for node in graph.nodes if node.layer.feed in IMAGES), None)
    if node is None:
        message, hint = "the net has no data layer for the TEST phase", "give its train_val.prototxt"
        raise NetcError("R624", message, graph.nodes[0].place, hint)
    param = type(node.layer.param)()
    param.CopyFrom(node.layer.param)
    if source:
        getattr(param, node.layer.param_field or "").source = source
    return open_records(param, path, node.layer.origin.place(f"{node.layer.param_field}.source"))


def measured(system: System, records: Records, dense: bool, progress: Progress | None = None) -> Tally:
    """Protocol 1 (`dense` False): the central crop and the true class. Protocol 2: every place and scale, and with a
    classifier the five classes that it names. What cannot be read as a picture is not counted, but kept in the tally.

    Raises NetcError D564 for a record without a box of its class, R782 for one of a class that the nets do not know,
    and D520 where nothing can be read.
    """
    tally = Tally()
    for index in range(len(records)):
        try:
            _judge(system, records, index, dense, tally)
        except NetcError as error:
            if error.code != "D520":
                raise
            tally.broken.append(Broken(index, error))
        if progress:
            progress(index + 1, len(records))
    if not tally.overlaps and tally.broken:
        raise tally.broken[0].error
    return tally


def _judge(system: System, records: Records, index: int, dense: bool, tally: Tally) -> None:
    picture = records.picture(index)
    truth, label = own_boxes(picture), int(float(picture.label))
    if not len(truth):
        message = f"{records.name(index)} has no box of its own class"
        raise NetcError("D564", message, None, "netc convert-imageset --boxes stores boxes")
    if dense and system.rated:
        tally.add(index, *system.named(picture, label, truth))
    else:
        tally.add(index, system.of_class(picture, label, dense), truth)
