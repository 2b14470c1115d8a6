"""Weights and nets for other programs: `convert` writes and proves safetensors, npz, Caffe's own formats, torchvision's
state dicts, ONNX and torch.export.

    >>> from netc.runtime.export.convert import Options, convert
    >>> made = convert("VGG_ILSVRC_16_layers.caffemodel", options=Options(net="deploy.prototxt", to="onnx"))
    >>> print(made.parity.line())
"""
