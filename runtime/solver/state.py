"""A run's state ⇄ a snapshot: weights, history and iteration in Caffe's files, the rest in the manifest's extras.

Data and randomness need no state: both are functions of the iteration. What the extras hold is the plateau policy's
memory, the window of the averaged loss, and under what conditions the numbers were computed.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from netc import weights
from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.layers.base import format_shape
from netc.runtime.net.module import Net
from netc.runtime.parallel.group import Group
from netc.runtime.solver import snapshot as files
from netc.runtime.solver.manifest import damaged
from netc.runtime.solver.rules import Slot
from netc.solver.plateau import Plateau
from netc.solver.policies import drops
from netc.solver.settings import VELOCITY
from netc.weights.arrays import without_leading_ones


class Resumable(Protocol):
    """What a snapshot keeps of a training run, or puts back into it; a `Solver` is one."""

    param: Any
    net: Net
    test_nets: list[Net]
    seed: int
    iter: int
    losses: deque[float]
    plateau: Plateau | None
    slots: list[Slot]
    last_update: list[torch.Tensor]
    start: str
    shards: int
    group: Group
    id: str | None

    @property
    def prefix(self) -> Path: ...


BESIDE_THE_UPDATE = frozenset(
    {
        "max_iter",
        "display",
        "debug_info",
        "average_loss",
        "solver_mode",
        "device_id",
        "weights",
        "transplant_param",
        "random_seed",
        "iter_size",
        "shards",
        "override_param",
        "net",
        "net_param",
        "train_net",
        "train_net_param",
    }
)
"""Solver fields that an edit of does not change the update, and those whose change is noticed by itself."""

EDITABLE = frozenset({"solver", "net"})
"""Conditions that are hashes of a text."""


def save(run: Resumable) -> Path:
    """Write the snapshot of `run` and return the path of its .solverstate."""
    return files.save(
        run.prefix,
        run.iter,
        run.net.graph.param,
        {layer: [_array(tensor) for tensor in tensors] for layer, tensors in run.net.params.items()},
        [_array(array) for array in _histories(run)],
        _drops(run),
        _extras(run),
        run.param.DESCRIPTOR.fields_by_name["snapshot_format"]
        .enum_type.values_by_number[run.param.snapshot_format]
        .name,
        _updates(run) if run.param.snapshot_diff else None,
        {name: [_array(part) for part in parts] for name, parts in carried(run).items()},
    )


def carried(run: Resumable) -> dict[str, list[torch.Tensor]]:
    """What the layers of all nets carry from one pass to the next: "0/" for the training net, then the test nets."""
    nets = enumerate((run.net, *run.test_nets))
    return {f"{number}/{path}": parts for number, net in nets for path, parts in net.run.kept().items()}


def carry(run: Resumable, kept: Mapping[str, Sequence[torch.Tensor]]) -> None:
    """Let the layers go on from what `carried` has returned."""
    for number, net in enumerate((run.net, *run.test_nets)):
        begins = f"{number}/"
        net.run.keep({path.removeprefix(begins): list(kept[path]) for path in kept if path.startswith(begins)})


def _updates(run: Resumable) -> dict[str, list[Any]]:
    """The last update of every parameter (snapshot_diff); shared ones under each layer that has them."""
    updates = {id(slot.value): _array(update) for slot, update in zip(run.slots, run.last_update)}
    return {layer: [updates[id(tensor)] for tensor in tensors] for layer, tensors in run.net.params.items()}


def size(run: Resumable) -> int:
    """Bytes of a snapshot, about."""
    tensors = [tensor for blobs in run.net.params.values() for tensor in blobs] + _histories(run)
    return sum(4 * tensor.numel() for tensor in tensors) + 2**16


def _histories(run: Resumable) -> list[torch.Tensor]:
    """In Caffe's order: the first array of every parameter, then the second of every parameter."""
    kinds = len(run.slots[0].history) if run.slots else 0
    return [slot.history[kind] for kind in range(kinds) for slot in run.slots]


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _drops(run: Resumable) -> int:
    return run.plateau.drops if run.plateau else drops(run.param, run.iter)


def _extras(run: Resumable) -> dict[str, Any]:
    return {
        "solver_type": run.param.type,
        "losses": list(run.losses),
        "plateau": run.plateau.state() if run.plateau else None,
        **({"run": run.id} if run.id else {}),
        "conditions": conditions(run),
        **({"start": run.start} if run.start else {}),
    }


def conditions(run: Resumable) -> dict[str, Any]:
    """What bit-exactness depends on besides the files; with shards not on the number of processes."""
    return {
        **({} if run.shards else {"processes": run.group.size}),
        "seed": run.seed,
        "iter_size": run.param.iter_size,
        "shards": run.shards,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "device": next((slot.value.device.type for slot in run.slots), "cpu"),
        **run.net.computing.conditions(),
        "solver": _solver_hash(run.param),
        "net": _hash(run.net.graph.param),
    }


def _solver_hash(param: Any) -> str:
    """Of what a solver says about the update: comments, order and what only watches, names or ends a run do not count.
    Under "poly" the rate depends on max_iter."""
    meant = type(param)()
    meant.CopyFrom(param)
    for field, _ in param.ListFields():
        if field.name in BESIDE_THE_UPDATE or field.name.startswith("snapshot"):
            meant.ClearField(field.name)
    if param.lr_policy == "poly":
        meant.max_iter = param.max_iter
    return _hash(meant)


def _hash(message: Any) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


# -- reading -----------------------------------------------------------------------------------------------------------


def read(path: str | Path | files.Snapshot) -> files.Snapshot:
    """The snapshot at `path`, or one that was read already: to check its files again would take as long as to read
    them. Raises NetcError R640 where it holds weights only or is something else, and the reader's own."""
    if isinstance(path, files.Snapshot):
        return path
    given = Path(path)
    if ".caffemodel" in given.name or given.suffix == ".safetensors":
        raise NetcError(
            "R640",
            "these are weights, not the state of a training run",
            Place(str(path)),
            "give the .solverstate to go on training, or start from these with --weights",
        )
    try:
        return files.load(given)
    except NetcError as error:
        if error.code != "W701":
            raise
        what = error.message.replace("this is not a weight file but", "this is not the state of a training run but")
        hint = "--snapshot takes a .solverstate, or the .manifest.json beside it"
        raise NetcError("R640", what, Place(str(path)), hint) from None


def restore(run: Resumable, found: files.Snapshot) -> list[str]:
    """Put `run` into the state that a snapshot holds. Returns warnings; changes nothing where it raises.

    Raises NetcError R641 (another net's), R642 (another solver's), W730 (extras that no run writes).
    """
    _check_extras(found)
    _check_solver(run, found)
    history = _fitted(run, found.history, found.path)
    _copy_weights(run, found)
    with torch.no_grad():
        for tensor, array in zip(_histories(run), history):
            tensor.copy_(torch.from_numpy(array))
    carry(run, _hidden(found))
    run.iter = found.iteration
    run.losses.clear()
    run.losses.extend(found.extras.get("losses") or ())
    if run.plateau:
        run.plateau.restore(found.extras.get("plateau") or {}, found.current_step)
    return [
        *_renamed(found),
        *_not_carried(run, found),
        *_changed(conditions(run), found.extras.get("conditions") or {}),
    ]


def _hidden(found: files.Snapshot) -> dict[str, list[torch.Tensor]]:
    arrays = weights.read(found.hidden) if found.hidden is not None else {}
    return {path: [torch.from_numpy(weights.loaded(part).copy()) for part in arrays[path]] for path in arrays}


def _not_carried(run: Resumable, found: files.Snapshot) -> list[str]:
    """What a resumed run cannot have exactly as it was."""
    nodes = [node for net in (run.net, *run.test_nets) for node in net.graph.nodes]
    own = sorted({node.name for node in nodes if node.layer.keeps_own})
    said = [f"what the code of layer {name} may keep between passes is in no snapshot: it begins anew" for name in own]
    zeros = sorted({node.name for node in run.net.graph.nodes if node.layer.carries_state})
    if zeros and found.iteration and found.hidden is None:
        said.append(f"the snapshot lacks the hidden state of {', '.join(zeros)}: it begins from 0, not bit-exact")
    return said


def _renamed(found: files.Snapshot) -> list[str]:
    """Without a manifest, nothing else tells that a state is not the one its name says."""
    named = re.search(r"_iter_(\d{1,18})\.solverstate(\.h5)?$", found.path.name)
    if named is None or int(named[1]) == found.iteration:
        return []
    return [f"{found.path} holds iteration {found.iteration}, and not {named[1]} as its name says: going on from that"]


_EXTRAS = checked_json.Record(
    {},
    {
        **dict.fromkeys(("solver_type", "run"), str),
        "losses": [float],
        "plateau": (
            None,
            checked_json.Record(
                {},
                {
                    **dict.fromkeys(("drops", "waited", "seen"), int),
                    "best": (None, float),
                    "finished": bool,
                },
            ),
        ),
        "conditions": {str: (str, int, float)},
        "start": str,
    },
)


def _check_extras(found: files.Snapshot) -> None:
    """A manifest vouches for its extras, but anybody can write one. Raises NetcError W730."""
    try:
        checked_json.check(found.extras, _EXTRAS, "extras")
    except ValueError as error:
        raise damaged(found.path, str(error)) from None


def _check_solver(run: Resumable, found: files.Snapshot) -> None:
    kind = found.extras.get("solver_type", run.param.type)
    if kind != run.param.type and not {kind, run.param.type} <= VELOCITY:
        raise NetcError(
            "R642",
            f"this is the state of a solver of type {kind}, and this one is {run.param.type}: its history means "
            "something else",
            Place(str(found.path)),
            "start from its weights alone, with --weights (SGD and Nesterov can go on from one another)",
        )


def _fitted(run: Resumable, history: Sequence[Any], path: Path) -> list[Any]:
    """The history in the shapes of the run's parameters; old states have four axes, with 1s in front."""
    mine = _histories(run)
    if len(history) != len(mine):
        raise _others(
            path,
            f"this state has {len(history)} history blobs, the solver (type {run.param.type}) needs {len(mine)}",
        )
    fitted = []
    for number, (tensor, array) in enumerate(zip(mine, history)):
        if without_leading_ones(array.shape) != without_leading_ones(tuple(tensor.shape)):
            shapes = format_shape(tuple(array.shape)), format_shape(tuple(tensor.shape))
            raise _others(path, f"history blob {number} of this state is {shapes[0]}, this net needs {shapes[1]}")
        fitted.append(weights.loaded(array).reshape(tuple(tensor.shape)))
    return fitted


def _others(path: Path, message: str) -> NetcError:
    hint = "it is a snapshot of another net or solver: give its own, or start from its weights with --weights"
    return NetcError("R641", message, Place(str(path)), hint)


def _copy_weights(run: Resumable, found: files.Snapshot) -> None:
    arrays = weights.read(found.weights)
    missing = [layer for layer in run.net.params if not arrays.get(layer)]
    if missing and not arrays.partial:
        raise _others(found.path, f'its weights, {found.weights}, lack the layer "{missing[0]}" of this net')
    run.net.copy_from(arrays)


def _changed(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    if not then:
        return []
    return [
        f"the {name} was edited since the snapshot was written: continuing with what it says now"
        if name in EDITABLE
        else f"{name} is {now[name]}, in the run that wrote the snapshot it was {then[name]}: continuing, not bit-exact"
        for name in now
        if name in then and now[name] != then[name]
    ]
