"""caffe.proto: the module caffe_pb2."""

from netc.pycaffe.proto import caffe_pb2 as caffe_pb2
