"""What draw_net, summarize and similar tools read of a net's message."""

import re
import sys

import caffe
import caffe.draw
from caffe.proto import caffe_pb2
from google.protobuf import text_format


def read_net(filename):
    net = caffe_pb2.NetParameter()
    with open(filename) as f:
        text_format.Parse(f.read(), net)
    return net


def rate(param):
    out = []
    if len(param.name) > 0:
        out.append(param.name)
    if param.lr_mult != 1:
        out.append(f"x{param.lr_mult}")
    if param.decay_mult != 1:
        out.append(f"Dx{param.decay_mult}")
    return " ".join(out)


def row(layer):
    details = []
    if layer.HasField("convolution_param"):
        p = layer.convolution_param
        details.append(f"{p.num_output}x{p.kernel_size[0] if len(p.kernel_size) else p.kernel_h}")
        details += [f"{name}:{getattr(p, name)[0]}" for name in ("stride", "pad") if len(getattr(p, name))]
    if layer.HasField("pooling_param"):
        p = layer.pooling_param
        details.append("{} {}".format(p.PoolMethod.Name(p.pool), p.DESCRIPTOR.fields_by_name["pool"].number))
    if layer.HasField("inner_product_param"):
        details.append(f"out: {layer.inner_product_param.num_output}")
    arrow = "-" if list(layer.bottom) == list(layer.top) else ", ".join(layer.bottom) + " -> " + ", ".join(layer.top)
    phases = [caffe_pb2.Phase.Name(rule.phase) for rule in layer.include if rule.HasField("phase")]
    return [layer.name, layer.type, "; ".join(rate(p) for p in layer.param), arrow, " ".join(details + phases)]


def main():
    net = read_net(sys.argv[1])
    for layer in net.layer:
        print(re.sub(" +", " ", " | ".join(row(layer))))
    phase = {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST, "ALL": None}[sys.argv[3]]
    caffe.draw.draw_net_to_file(net, sys.argv[2], "LR", phase)
    edges = [(bottom, layer.name) for layer in net.layer for bottom in layer.bottom]
    print(len(edges), "edges")


if __name__ == "__main__":
    main()
