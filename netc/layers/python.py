from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.errors.origin import Origin
from netc.layers.base import Layer, ParamBlob, Probe, Run, Shape, at_least, layer

if TYPE_CHECKING:
    from torch import Tensor

    from netc.pycaffe.call import PythonCode


@layer("Python")
class Python(Layer):
    """A layer class of the user's own, written for pycaffe: setup, reshape, forward and backward on numpy blobs.

    The module runs only where it is allowed by name (`--allow-python-layers`, docs/plugins.md). It is looked for where
    Python looks itself (PYTHONPATH), then in the working directory and the prototxt's folder.
    Fields: `python_param { module, layer, param_str }`; share_in_parallel changes nothing.
    Shapes: what `reshape` gives the tops; parameters are those that `setup` adds to `self.blobs`. A loss says
    `loss_weight: 1`. Errors: a module that is not allowed or not found, an exception in it. Source: python_layer.hpp.
    """

    bottoms = at_least(0)
    tops = at_least(0)
    param_field = "python_param"
    keeps_own = True
    no_code = "it runs a Python module of your own"
    code: PythonCode

    def __init__(self, param: Any, phase: int, origin: Origin | None = None, probe: Probe | None = None) -> None:
        super().__init__(param, phase, origin, probe)
        self.effect = not param.top

    def brings_data(self) -> bool:
        return not self.param.bottom

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        from netc.pycaffe.call import PythonCode

        self.code = PythonCode(self)
        shapes = self.code.set_up(bottoms)
        for index, blob in enumerate(self.code.user.blobs):
            self.blobs.append(ParamBlob(f"blob{index}", blob.shape, start=blob.data))
        return shapes

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers._python import call

        tops: Sequence[Tensor] = call(self.code, bottoms, params)
        return tops
