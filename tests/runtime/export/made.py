"""Nets of every layer that a conversion has to keep Caffe's meaning of, small, with weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netc import weights
from netc.graph.compile import compile_net

CORNERS = """
name: "corners"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 22 dim: 37 } } }
layer { name: "conv.1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad: 1 stride: 1 group: 3 } }
layer { name: "relu" type: "ReLU" bottom: "c1" top: "c1" relu_param { negative_slope: 0.1 } }
layer { name: "norm" type: "LRN" bottom: "c1" top: "n" lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 } }
layer { name: "max" type: "Pooling" bottom: "n" top: "m" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "m" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "prelu" type: "PReLU" bottom: "bn" top: "p" }
layer { name: "mean" type: "Pooling" bottom: "p" top: "a1" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "mean2" type: "Pooling" bottom: "p" top: "a2" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "p" bottom: "bn" top: "s" eltwise_param { coeff: 2 coeff: -0.5 } }
layer { name: "up" type: "Deconvolution" bottom: "a1" top: "up"
  convolution_param { num_output: 6 kernel_size: 4 stride: 2 group: 6 bias_term: false } }
layer { name: "cut" type: "Crop" bottom: "up" bottom: "s" top: "cut" crop_param { axis: 2 offset: 0 } }
layer { name: "cat" type: "Concat" bottom: "cut" bottom: "s" top: "cat" }
layer { name: "score" type: "Convolution" bottom: "cat" top: "score"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
layer { name: "best" type: "ArgMax" bottom: "score" top: "best" argmax_param { axis: 1 top_k: 2 } }
layer { name: "drop" type: "Dropout" bottom: "a2" top: "a2" }
"""
"""Fully convolutional: any batch, height and width."""

CLASSES = """
name: "classes"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 14 dim: 18 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 5 kernel_size: 3 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 7 transpose: true } }
layer { name: "sig" type: "Sigmoid" bottom: "fc" top: "fc" }
"""
"""Of one image size, its first convolution without padding."""

SEQUENCE = """
name: "sequence"
layer { name: "in" type: "Input" top: "x" top: "marks" input_param {
  shape { dim: 4 dim: 2 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "marks" top: "h" recurrent_param { num_output: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "h" top: "ip" inner_product_param { num_output: 3 axis: 2 } }
"""
"""Of fixed length: the steps of time are unrolled."""

NETS = {"corners": CORNERS, "classes": CLASSES, "sequence": SEQUENCE}


def write(path: Path, text: str, phase: str = "TEST") -> Path:
    """A .caffemodel of `text` with random weights that keep activations of one size; variances and factors positive."""
    graph = compile_net(text, phase)
    random = np.random.default_rng(7)
    arrays = {}
    for node in graph.nodes:
        for ref in node.params:
            fan = max(1, int(np.prod(ref.blob.shape[1:])))
            array = random.standard_normal(ref.blob.shape) / np.sqrt(fan)
            if ref.blob.name in ("variance", "factor"):
                array = np.abs(array) + 0.5
            arrays.setdefault(node.name, []).append(array.astype("<f4"))
    weights.write_caffemodel(path, weights.trained_net(graph.param), arrays)
    return path
