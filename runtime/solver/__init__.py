"""Training: Caffe's solver on torch."""
