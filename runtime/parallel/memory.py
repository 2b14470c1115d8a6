"""How much memory training takes, and into how many parts a batch must be divided to fit.

A pass is run forward and backward on a net without values (torch's "meta" device), and every tensor that is alive is
counted: parameters, gradients, what autograd keeps, and what lives for a moment. Not counted is what libraries take for
themselves (workspaces of convolutions, the context of CUDA); a tenth is added for them.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from netc.errors import NetcError, counted
from netc.runtime.net.module import Net
from netc.runtime.parallel.divisible import batch_of, kinds
from netc.runtime.parallel.shards import Shard
from netc.runtime.parallel.sums import BUCKET, Sum
from netc.solver.settings import HISTORIES

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_LIBRARIES = 1.1


def bytes_of(text: str | int) -> int:
    """Bytes in words ("24GB", "512 MiB"). Raises NetcError C240."""
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([a-zA-Z]{0,3})\s*", str(text))
    if found is None or found[2].upper() not in _UNITS or not float(found[1]):
        raise NetcError(
            "C240", f'--memory: "{str(text)[:40]}" is not an amount of memory', None, "write 24GB or 512MiB"
        )
    return int(float(found[1]) * _UNITS[found[2].upper()])


@dataclass(frozen=True, slots=True)
class Plan:
    """What training of a net takes on each of `processes`, in bytes. `kind`: of the solver ("SGD")."""

    net: Net
    kind: str
    iter_size: int
    processes: int = 1

    def needed(self, parts: int, summed: bool) -> int:
        """With a batch in so many parts, one after another. `summed`: whether their gradients are added up apart."""
        shard = Shard(parts - 1, parts)  # the last is one of the largest
        units = -(-parts * self.iter_size // self.processes)
        weights = sum(4 * value.numel() for _, value in self.net.own_params())
        waiting = _most_parts(units) if summed else 0
        exchanged = 3 * 4 * BUCKET if self.processes > 1 else 0
        copies = HISTORIES[self.kind] + waiting
        data = sum(4 * torch.Size(shape).numel() for shape in _tops(self.net, shard).values()) * units
        return int(_LIBRARIES * (copies * weights + exchanged + data + peak(self.net, shard)))

    def parts(self, shards: int, limit: int) -> int:
        """The fewest shards of a batch that fit into `limit` bytes: `shards` where they are set, 0 where the batch need
        not be divided. Raises NetcError R660 for a batch that cannot be, R701 where one record is too much, R702 where
        shards that are set are too large."""
        if shards:
            return self._checked(shards, limit)
        if self.needed(self.processes, False) <= limit:
            return 0
        size = batch_of(self.net.graph)
        for parts in divisors(size):
            if parts > 1:
                kinds(self.net.graph, parts, self.processes)
                if self.needed(parts, True) <= limit:
                    return parts
        raise self._too_little(size, limit)

    def _checked(self, shards: int, limit: int) -> int:
        found = self.needed(shards, True)
        if found <= limit:
            return shards
        size = batch_of(self.net.graph)
        more = [p for p in divisors(size) if p > shards and p % shards == 0 and self.needed(p, True) <= limit]
        if not more:
            raise self._too_little(size, limit)
        records = counted(-(-size // shards), "record")
        message = f"--memory {text_of(limit)}: training in shards of {records} takes {text_of(found)}"
        raise NetcError("R702", message, None, f"--shards {more[0]} fits; it is another division, with other last bits")

    def _too_little(self, size: int, limit: int) -> NetcError:
        found = self.needed(max(size, 1), True)
        message = f"--memory {text_of(limit)}: training takes {text_of(found)} even if one record is computed at a time"
        return NetcError("R701", message, None, "give more memory, take smaller images, or --precision bf16")


def divisors(size: int) -> Iterator[int]:
    """Into how many equal parts a batch can be divided, the fewest first."""
    return (parts for parts in range(1, size + 1) if size % parts == 0)


def text_of(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _most_parts(units: int) -> int:
    """How many sums of gradients wait, at most, while a unit is computed."""
    total, most = Sum(units), 0
    for unit in range(units):
        most = max(most, len(total.parts))
        total.add(unit, [torch.zeros(1)])
    return most


# -- counting ----------------------------------------------------------------------------------------------------------


def peak(net: Net, shard: Shard) -> int:
    """The most bytes that are alive at a time in a pass, forward and backward, parameters and gradients included.
    Raises NetcError R703 where the net cannot be run without values."""
    twin = Net(net.graph, start=lambda made: [tensor for _, tensor in made.own_params()], computing=net.computing)
    twin.to("meta")
    batch = {top: torch.empty(shape, device="meta") for top, shape in _tops(net, shard).items()}
    kept = sum(4 * value.numel() for _, value in twin.own_params())
    count = _Count(next((value.device.type for _, value in net.own_params()), "cpu"))
    with count:
        try:
            loss = twin.losses(twin.outputs_of(batch))
            if loss.requires_grad:
                loss.backward()
        except (NetcError, RuntimeError, NotImplementedError) as error:
            raise _uncounted(error) from error
    return kept + count.most


def _uncounted(error: Exception) -> NetcError:
    message = f"--memory: what this net takes cannot be counted, since a layer needs values: {error}"
    return NetcError("R703", message, None, "leave --memory out, and set --shards")


def _tops(net: Net, shard: Shard) -> dict[str, tuple[int, ...]]:
    """The shapes of what the sources give for a shard."""
    tops = {}
    for node in net.graph.nodes:
        if node.layer.is_source:
            for name, shape in zip(node.top_names, node.top_shapes, strict=True):
                tops[name] = (len(shard.of(shape[0])), *shape[1:]) if shape else shape
    return tops


class _Count(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, until they are gone, and of the copies that MAX pooling's
    gradient makes for a moment on a `device` of this type."""

    def __init__(self, device: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self.now: int = 0
        self.most: int = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in _CONVOLUTIONS and any(isinstance(x, Tensor) and _is_channels_last(x) for x in args):
            found = tree_map(_laid_out, found)
        known = {id(_storage(x)) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and id(_storage(tensor)) not in known:
                self._add(_storage(tensor))
        if func is torch.ops.aten.max_pool2d_with_indices_backward.default:
            self.most = max(self.most, self.now + _copied_by_max_pool(args[0], args[1], args[7], found, self._device))
        return found

    def _add(self, storage: Any) -> None:
        if storage not in self._seen:
            self._seen.add(storage)
            size = storage.nbytes()
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


def _copied_by_max_pool(gradient: Tensor, x: Tensor, places: Tensor, found: Tensor, device: str) -> int:
    """Its kernel works in one layout, on a CPU the upper gradient's, elsewhere its input's, and copies what has another
    one: the blobs behind it may lie channel by channel (an inner product's gradient does) and those before it not."""
    leading, others = (gradient, (places, found)) if device == "cpu" else (x, (gradient, places))
    wanted = torch.channels_last if _is_channels_last(leading) else torch.contiguous_format
    return sum(each.nbytes for each in others if not each.is_contiguous(memory_format=wanted))


_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


def _laid_out(x: Any) -> Any:
    """What a convolution gives where one of its factors is channels-last; without values torch looks at the first
    alone."""
    return torch.empty_like(x, memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()
