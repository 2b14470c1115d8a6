"""A single-shot detector as SSD's scripts have it: heads put onto a trunk by net_spec, a deploy net cut out of the
message, detections by the names of a label map."""

import os

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2
from google.protobuf import text_format


def ConvLayer(net, from_layer, out_layer, num_output, kernel_size, pad, stride, use_relu=True):
    kwargs = {
        "param": [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
        "weight_filler": dict(type="xavier"),
        "bias_filler": dict(type="constant", value=0),
    }
    net[out_layer] = L.Convolution(
        net[from_layer], num_output=num_output, kernel_size=kernel_size, pad=pad, stride=stride, **kwargs
    )
    if use_relu:
        net[f"{out_layer}_relu"] = L.ReLU(net[out_layer], in_place=True)


def freeze(net, names):
    kwargs = {"param": [dict(lr_mult=0, decay_mult=0), dict(lr_mult=0, decay_mult=0)]}
    layers = net.keys()
    for name in names:
        if name in layers:
            net.update(name, kwargs)


def CreateMultiBoxHead(net, data_layer, num_classes, from_layers, min_sizes, max_sizes, aspect_ratios):
    loc_layers, conf_layers, priorbox_layers = [], [], []
    for i, from_layer in enumerate(from_layers):
        num_priors = 2 + 2 * len(aspect_ratios[i])
        name = f"{from_layer}_mbox_loc"
        ConvLayer(net, from_layer, name, num_priors * 4, 3, 1, 1, use_relu=False)
        permute_name = f"{name}_perm"
        net[permute_name] = L.Permute(net[name], order=[0, 2, 3, 1])
        flatten_name = f"{name}_flat"
        net[flatten_name] = L.Flatten(net[permute_name], axis=1)
        loc_layers.append(net[flatten_name])
        name = f"{from_layer}_mbox_conf"
        ConvLayer(net, from_layer, name, num_priors * num_classes, 3, 1, 1, use_relu=False)
        net[f"{name}_perm"] = L.Permute(net[name], order=[0, 2, 3, 1])
        net[f"{name}_flat"] = L.Flatten(net[f"{name}_perm"], axis=1)
        conf_layers.append(net[f"{name}_flat"])
        name = f"{from_layer}_mbox_priorbox"
        net[name] = L.PriorBox(
            net[from_layer],
            net[data_layer],
            min_size=min_sizes[i],
            clip=False,
            variance=[0.1, 0.1, 0.2, 0.2],
            offset=0.5,
        )
        net.update(name, {"max_size": max_sizes[i], "aspect_ratio": aspect_ratios[i], "flip": True})
        priorbox_layers.append(net[name])
    mbox_layers = []
    for name, found, axis in (("loc", loc_layers, 1), ("conf", conf_layers, 1), ("priorbox", priorbox_layers, 2)):
        net["mbox_" + name] = L.Concat(*found, axis=axis)
        mbox_layers.append(net["mbox_" + name])
    return mbox_layers


num_classes = 3
multibox_loss_param = {
    "loc_loss_type": P.MultiBoxLoss.SMOOTH_L1,
    "conf_loss_type": P.MultiBoxLoss.SOFTMAX,
    "loc_weight": 1.0,
    "num_classes": num_classes,
    "share_location": True,
    "match_type": P.MultiBoxLoss.PER_PREDICTION,
    "overlap_threshold": 0.5,
    "use_prior_for_matching": True,
    "background_label_id": 0,
    "use_difficult_gt": True,
    "mining_type": P.MultiBoxLoss.MAX_NEGATIVE,
    "neg_pos_ratio": 3.0,
    "neg_overlap": 0.5,
    "code_type": P.PriorBox.CENTER_SIZE,
    "ignore_cross_boundary_bbox": False,
}
det_out_param = {
    "num_classes": num_classes,
    "share_location": True,
    "background_label_id": 0,
    "nms_param": {"nms_threshold": 0.45, "top_k": 400},
    "save_output_param": {"output_directory": "", "output_name_prefix": "comp4_det_test_", "label_map_file": "x"},
    "keep_top_k": 20,
    "confidence_threshold": 0.01,
    "code_type": P.PriorBox.CENTER_SIZE,
}


def build(phase):
    net = caffe.NetSpec()
    if phase == "train":
        net.data, net.label = L.Python(module="boxes_layer", layer="Boxes", ntop=2)
    else:
        net.data = L.Input(shape=dict(dim=[1, 3, 32, 32]), include=dict(phase=caffe_pb2.Phase.Value("TEST")))
    ConvLayer(net, "data", "conv1", 8, 3, 1, 2)
    ConvLayer(net, "conv1", "conv2", 8, 3, 1, 2)
    last = list(net.keys())[-1]
    ConvLayer(net, last, "conv3", 8, 3, 1, 2)
    freeze(net, ["conv1", "nothing"])
    boxes = CreateMultiBoxHead(net, "data", num_classes, ["conv2", "conv3"], [8.0, 16.0], [16.0, 24.0], [[2], [2]])
    if phase == "train":
        boxes.append(net.label)
        net["mbox_loss"] = L.MultiBoxLoss(
            *boxes,
            multibox_loss_param=multibox_loss_param,
            loss_param=dict(normalization=P.Loss.VALID),
            include=dict(phase=caffe_pb2.Phase.Value("TRAIN")),
            propagate_down=[True, True, False, False],
        )
    else:
        net.mbox_conf_reshape = L.Reshape(net.mbox_conf, shape=dict(dim=[0, -1, num_classes]))
        net.mbox_conf_softmax = L.Softmax(net.mbox_conf_reshape, axis=2)
        net.mbox_conf_flatten = L.Flatten(net.mbox_conf_softmax, axis=1)
        boxes[1] = net.mbox_conf_flatten
        net.detection_out = L.DetectionOutput(
            *boxes, detection_output_param=det_out_param, include=dict(phase=caffe_pb2.Phase.Value("TEST"))
        )
    return net


with open("train.prototxt", "w") as f:
    print('name: "{}_train"'.format("own"), file=f)
    print(build("train").to_proto(), file=f)
with open("deploy_ssd.prototxt", "w") as f:
    net_param = build("test").to_proto()
    del net_param.layer[0]
    net_param.name = "{}_deploy".format("own")
    net_param.input.extend(["data"])
    net_param.input_shape.extend([caffe_pb2.BlobShape(dim=[1, 3, 32, 32])])
    print(net_param, file=f)
solver_param = {
    "base_lr": 0.02,
    "weight_decay": 0.0005,
    "lr_policy": "multistep",
    "stepvalue": [50, 60],
    "gamma": 0.1,
    "momentum": 0.9,
    "iter_size": 1,
    "max_iter": 70,
    "snapshot": 0,
    "display": 0,
    "average_loss": 10,
    "type": "SGD",
    "solver_mode": P.Solver.GPU,
    "device_id": 0,
    "debug_info": False,
    "snapshot_after_train": True,
}
solver = caffe_pb2.SolverParameter(train_net="train.prototxt", snapshot_prefix="own", **solver_param)
with open("solver_ssd.prototxt", "w") as f:
    print(solver, file=f)
solver = caffe.get_solver("solver_ssd.prototxt")
frozen = solver.net.params["conv1"][0].data.copy()
solver.step(1)
first = float(solver.net.blobs["mbox_loss"].data)
solver.step(69)
last = float(solver.net.blobs["mbox_loss"].data)
assert (solver.net.params["conv1"][0].data == frozen).all()
assert last < 0.7 * first, (first, last)
solver.snapshot()


class CaffeDetection:
    def __init__(self, model_def, model_weights, image_resize, labelmap_file):
        self.image_resize = image_resize
        self.net = caffe.Net(model_def, model_weights, caffe.TEST)
        self.transformer = caffe.io.Transformer({"data": self.net.blobs["data"].data.shape})
        self.transformer.set_transpose("data", (2, 0, 1))
        self.transformer.set_mean("data", np.array([0, 0, 0]))
        self.transformer.set_raw_scale("data", 1)
        with open(labelmap_file) as file:
            self.labelmap = caffe_pb2.LabelMap()
            text_format.Merge(str(file.read()), self.labelmap)

    def get_labelname(self, labels):
        names = []
        for label in labels:
            found = [item.display_name for item in self.labelmap.item if item.label == label]
            assert len(found) == 1
            names += found
        return names

    def detect(self, image, conf_thresh=0.3, topn=5):
        self.net.blobs["data"].reshape(1, 3, self.image_resize, self.image_resize)
        self.net.blobs["data"].data[...] = self.transformer.preprocess("data", image)
        detections = self.net.forward()["detection_out"]
        det_label, det_conf = detections[0, 0, :, 1], detections[0, 0, :, 2]
        top = [i for i, conf in enumerate(det_conf) if conf >= conf_thresh][:topn]
        names = self.get_labelname(det_label[top].tolist())
        return list(zip(names, detections[0, 0, top, 3:7].round(1).tolist(), det_conf[top].tolist()))


import boxes_layer  # noqa: E402

with open("labelmap.prototxt", "w") as f:
    for number, name in enumerate(("background", "left", "right")):
        f.write(f'item {{ name: "{name}" label: {number} display_name: "{name}" }}\n')
detection = CaffeDetection("deploy_ssd.prototxt", "own_iter_70.caffemodel", 32, "labelmap.prototxt")
image, _ = boxes_layer.picture(0)
found = detection.detect(image.transpose(1, 2, 0))
print(found[0][:2], os.path.exists("own_iter_70.solverstate"))
