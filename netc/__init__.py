"""netc reads Caffe-style .prototxt nets and solvers and runs them on PyTorch with Caffe's exact semantics.

    >>> import netc
    >>> print(netc.check("vgg_E"))                                                # no torch needed
    >>> graph = netc.compile_net("vgg_E", phase="TEST")                           # no torch needed
    >>> net = netc.load_net("vgg_E")                                              # torch.nn.Module

Names are imported when they are first used, so that `import netc` costs nothing and torch loads only if it is needed.
"""

# `python -m netc` runs this before the working directory is off the path: nothing is imported that is not there already
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__version__ = "0.1.0"

_HOME = {
    "NetcError": "netc.errors",
    "NetcErrors": "netc.errors",
    "average_precision": "netc.runtime.localise.precision",
    "compile_net": "netc.graph.compile",
    "features": "netc.runtime.evaluate.features",
    "load_net": "netc.runtime.net.load",
    "load_plugin": "netc.plugin",
    "load_solver": "netc.runtime.solver.solver",
    "merge_boxes": "netc.runtime.localise.merging",
    "posteriors": "netc.runtime.evaluate.posteriors",
    "read_net": "netc.graph.read",
    "read_solver": "netc.graph.read",
}

__all__ = [*_HOME, "check"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name == "check":  # the room is the function, too
        return import_module("netc.check")
    raise AttributeError(f"module 'netc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a prompt completes: the public names, not the rooms that happen to be imported."""
    return sorted([*__all__, "__version__"])


if TYPE_CHECKING:
    from netc.check.examine import check as check
    from netc.errors import NetcError as NetcError
    from netc.errors import NetcErrors as NetcErrors
    from netc.graph.compile import compile_net as compile_net
    from netc.graph.read import read_net as read_net
    from netc.graph.read import read_solver as read_solver
    from netc.plugin import load_plugin as load_plugin
    from netc.runtime.evaluate.features import features as features
    from netc.runtime.evaluate.posteriors import posteriors as posteriors
    from netc.runtime.localise.merging import merge_boxes as merge_boxes
    from netc.runtime.localise.precision import average_precision as average_precision
    from netc.runtime.net.load import load_net as load_net
    from netc.runtime.solver.solver import load_solver as load_solver
