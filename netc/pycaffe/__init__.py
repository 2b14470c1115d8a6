"""pycaffe: everything that `import caffe` gives, on netc.

    import netc.pycaffe as caffe

    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="net.caffemodel")
    net.blobs["data"].data[...] = image
    net.forward()

`install()` makes `import caffe` find this module, and `netc run SCRIPT.py` does so for a script. docs/from_caffe.md
says what is the same as in Caffe and what is not.

Importing this module loads no torch: a net with Python layers is checked without it. What computes lies in
netc.runtime.pycaffe and is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from netc.pycaffe.blob import Blob, BlobVec
from netc.pycaffe.doors import HOMES, NAME, install, uninstall
from netc.pycaffe.layer import Layer

__version__ = "1.0.0"
"""Of the Caffe whose interface this is."""

TRAIN, TEST = 0, 1

_RUNTIME = "netc.runtime.pycaffe"
_HOME = {
    "Net": f"{_RUNTIME}.net",
    "Solver": f"{_RUNTIME}.solver",
    "SGDSolver": f"{_RUNTIME}.solver",
    "NesterovSolver": f"{_RUNTIME}.solver",
    "AdaGradSolver": f"{_RUNTIME}.solver",
    "RMSPropSolver": f"{_RUNTIME}.solver",
    "AdaDeltaSolver": f"{_RUNTIME}.solver",
    "AdamSolver": f"{_RUNTIME}.solver",
    "get_solver": f"{_RUNTIME}.solver",
    "set_mode_cpu": f"{_RUNTIME}.machine",
    "set_mode_gpu": f"{_RUNTIME}.machine",
    "set_device": f"{_RUNTIME}.machine",
    "set_random_seed": f"{_RUNTIME}.machine",
    "set_multiprocess": f"{_RUNTIME}.machine",
    "set_solver_count": f"{_RUNTIME}.machine",
    "set_solver_rank": f"{_RUNTIME}.machine",
    "solver_count": f"{_RUNTIME}.machine",
    "solver_rank": f"{_RUNTIME}.machine",
    "has_nccl": f"{_RUNTIME}.machine",
    "layer_type_list": f"{_RUNTIME}.machine",
    "init_log": f"{_RUNTIME}.machine",
    "log": f"{_RUNTIME}.machine",
    "NCCL": f"{_RUNTIME}.machine",
    "Timer": f"{_RUNTIME}.machine",
    "Classifier": f"{_RUNTIME}.classifier",
    "Detector": f"{_RUNTIME}.detector",
    "layers": "netc.pycaffe.net_spec",
    "params": "netc.pycaffe.net_spec",
    "NetSpec": "netc.pycaffe.net_spec",
    "to_proto": "netc.pycaffe.net_spec",
}
"""Name → the module that has it."""

_MODULES = {name.removeprefix(f"{NAME}."): home for name, home in HOMES.items() if name.count(".") == 1}

__all__ = ["Blob", "BlobVec", "Layer", "TEST", "TRAIN", "install", "uninstall", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'caffe' (netc.pycaffe) has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "__doc__", "__name__"])


if TYPE_CHECKING:
    from netc.pycaffe import io as io
    from netc.pycaffe import net_spec as net_spec
    from netc.pycaffe import proto as proto
    from netc.pycaffe.net_spec import NetSpec as NetSpec
    from netc.pycaffe.net_spec import layers as layers
    from netc.pycaffe.net_spec import params as params
    from netc.pycaffe.net_spec import to_proto as to_proto
