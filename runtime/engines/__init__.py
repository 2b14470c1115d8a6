"""Engines: other programs that run a net's forward pass, proved against the exact walk before they are used.

known.py       which there are, what they need, their precisions and tolerances (no torch)
cut.py         which layers of a pass an engine takes, which stay with torch
onnx_model.py  layers as an ONNX model, written straight from the layer types
backends.py    the engines themselves
cache.py       what they made, kept on the disk
net.py         `EngineNet`, a Net whose passes are run so
choice.py      which one is the fastest here
"""
