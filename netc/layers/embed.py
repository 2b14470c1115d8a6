from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, layer
from netc.layers.code import Code, Site, call
from netc.layers.losses import check_range

if TYPE_CHECKING:
    from torch import Tensor


@layer("Embed")
class Embed(Layer):
    """y = W[index] + b: a learned vector for each index.

    Fields: `num_output`, `input_dim` (how many indices there are), `bias_term`, `weight_filler`, `bias_filler`.
    Shapes: any → the same and num_output behind; weight (input_dim, num_output), bias (num_output).
    Errors: num_output or input_dim 0, an index outside 0 … input_dim - 1. Source: embed_layer.cpp.
    """

    no_gradient = (0,)
    in_place = False
    param_field = "embed_param"
    kind = "full"
    weight_axes = 2

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        for name in ("num_output", "input_dim"):
            if getattr(self.options, name) < 1:
                self.fail(f"needs an {name} of at least 1".replace("an num", "a num"), f"embed_param.{name}")
        self.add_param("weight", (self.options.input_dim, self.options.num_output), "embed_param.weight_filler")
        if self.options.bias_term:
            self.add_param("bias", (self.options.num_output,), "embed_param.bias_filler")
        return [(*bottoms[0], self.options.num_output)]

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        return {0: (self.options.input_dim,)}

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        index = bottoms[0].detach().long()
        check_range(self, index, params[0].shape[0], "bottom[0]", "index", "input_dim is {}")
        y = F.embedding(index, params[0])
        return [y + params[1] if len(params) > 1 else y]

    def emit(self, site: Site) -> Code:
        sizes = (self.options.input_dim, self.options.num_output)
        if self.options.bias_term:
            return Code(site.call(), call("BiasedEmbedding", *sizes))
        return Code(site.call(f"{site.x}.long()"), call("nn.Embedding", *sizes))
