"""A comparison of the weights that the processes have: they must be the same bits, and now and then that is looked at.

A checksum is a sum of the bits as whole numbers, taken where the weights are: a pass over them, no copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.runtime.parallel.group import Group

_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def checksum(tensor: Tensor) -> int:
    """Differs where a bit does: the sum of the bits of each value, as a whole number."""
    return int(tensor.detach().contiguous().view(_WHOLE[tensor.element_size()]).sum(dtype=torch.int64))


def compare(group: Group, params: Mapping[str, Sequence[Tensor]], iteration: int) -> None:
    """Raises NetcError R665 on all ranks where the parameters of one are not those of most (of rank 0, where that
    cannot be told), with the first layer that differs."""
    if group.size == 1:
        return
    mine = [(layer, position, checksum(each)) for layer, held in params.items() for position, each in enumerate(held)]
    found = group.gather((mine, group.where()))
    for entries in zip(*(sums for sums, _ in found), strict=True):
        usual, _ = Counter(entries).most_common(1)[0]
        for (_, who), entry in zip(found, entries, strict=True):
            if entry != usual:
                layer, position, _ = usual
                raise NetcError(
                    "R665",
                    f'the weights of {who} are not those of the others: parameter {position} of layer "{layer}", found '
                    f"after {iteration} iterations",
                    None,
                    "that machine may have bad memory, another torch or other files; go on without it from an earlier "
                    "snapshot",
                )
