"""What layers become in ONNX where torch's own translation has no form for them. `op` is onnxscript's opset."""
