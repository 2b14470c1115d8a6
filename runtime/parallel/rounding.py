"""How far two gradients of one iteration may be apart where only rounding is not the same.

Each number of a gradient comes of sums one after the other: over the inputs of each layer on the way forward, over its
outputs on the way back, over the batch at last. A sum of k terms, added in whatever order, is off by no more than about
√k · u of its size, u being the unit roundoff, since roundings go up and down alike (Higham and Mary, SIAM Journal on
Scientific Computing 41, 2019); errors of sums one after the other add up as those of one sum do. With n terms in all of
them, two gradients are each √n · u off, and 2 · √n · u apart. Kernels for other sizes of a batch add in other orders,
also within a record.
"""

from __future__ import annotations

import math

from netc.graph.ir import Graph
from netc.layers.base import count

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


def terms(graph: Graph, iter_size: int = 1) -> int:
    """How many terms the sums have that a number of a gradient comes of: forward, backward, and the longest over a
    batch."""
    passed, over_batch = 0, 0
    for node in graph.nodes:
        work = node.layer.macs(node.bottom_shapes, node.top_shapes)
        if work:
            passed += work // count(node.top_shapes[0]) + work // count(node.bottom_shapes[0])
        for position, ref in enumerate(node.params):
            uses = work if work and position == 0 else sum(map(count, node.top_shapes))
            over_batch = max(over_batch, uses // count(ref.blob.shape))
    return passed + over_batch * max(1, iter_size)


def bound(terms: int, precision: str) -> float:
    """Relative to the norm of the gradient. precision: a key of `ROUNDOFF`."""
    return 2 * math.sqrt(max(1, terms)) * ROUNDOFF[precision]
