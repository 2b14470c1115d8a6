"""The cells of three small notebooks: logistic regression on HDF5, several labels by a Python data layer, twins."""

import os
import struct
from copy import copy

import caffe
import h5py
import numpy as np
from caffe import layers as L
from caffe.proto import caffe_pb2

# -- logistic regression on features in HDF5 ---------------------------------------------------------------------------
rng = np.random.RandomState(0)
X = rng.randn(400, 4).astype(np.float32)
y = ((X[:, 0] * X[:, 1] > 0) | (X[:, 2] > 1)).astype(np.float32)
Xt, yt = X[300:], y[300:]
os.makedirs("hdf5_classification/data", exist_ok=True)
dirname = os.path.abspath("./hdf5_classification/data")
train_filename, test_filename = os.path.join(dirname, "train.h5"), os.path.join(dirname, "test.h5")
with h5py.File(train_filename, "w") as f:
    f["data"] = X[:300]
    f["label"] = y[:300].astype(np.float32)
with open(os.path.join(dirname, "train.txt"), "w") as f:
    f.write(train_filename + "\n")
    f.write(train_filename + "\n")
comp_kwargs = {"compression": "gzip", "compression_opts": 1}
with h5py.File(test_filename, "w") as f:
    f.create_dataset("data", data=Xt, **comp_kwargs)
    f.create_dataset("label", data=yt.astype(np.float32), **comp_kwargs)
with open(os.path.join(dirname, "test.txt"), "w") as f:
    f.write(test_filename + "\n")


def nonlinear_net(hdf5, batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=batch_size, source=hdf5, ntop=2)
    n.ip1 = L.InnerProduct(n.data, num_output=40, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.ip1, num_output=2, weight_filler=dict(type="xavier"))
    n.accuracy = L.Accuracy(n.ip2, n.label)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


for part, size in (("train", 10), ("test", 10)):
    with open("hdf5_classification/nonlinear_auto_%s.prototxt" % part, "w") as f:
        f.write(str(nonlinear_net("hdf5_classification/data/%s.txt" % part, size)))


def solver(train_net_path, test_net_path):
    s = caffe_pb2.SolverParameter()
    s.train_net = train_net_path
    s.test_net.append(test_net_path)
    s.test_interval = 1000
    s.test_iter.append(10)
    s.max_iter = 300
    s.base_lr = 0.05
    s.lr_policy = "step"
    s.gamma = 0.1
    s.stepsize = 5000
    s.momentum = 0.9
    s.weight_decay = 5e-4
    s.display = 1000
    s.snapshot = 10000
    s.snapshot_prefix = "hdf5_classification/data/train"
    s.solver_mode = caffe_pb2.SolverParameter.CPU
    return s


solver_path = "hdf5_classification/nonlinear_logreg_solver.prototxt"
with open(solver_path, "w") as f:
    f.write(
        str(
            solver(
                "hdf5_classification/nonlinear_auto_train.prototxt", "hdf5_classification/nonlinear_auto_test.prototxt"
            )
        )
    )
caffe.set_mode_cpu()
solver = caffe.get_solver(solver_path)
solver.solve()
accuracy = 0
batch_size = solver.test_nets[0].blobs["data"].num
test_iters = int(len(Xt) / batch_size)
for i in range(test_iters):
    solver.test_nets[0].forward()
    accuracy += solver.test_nets[0].blobs["accuracy"].data
accuracy /= test_iters
print(f"Accuracy: {accuracy:.2f}")
assert accuracy > 0.75
assert os.path.exists("hdf5_classification/data/train_iter_300.caffemodel")


# -- several labels, from a Python layer with a batch loader of its own ------------------------------------------------
class CaffeSolver:
    def __init__(self, trainnet_prototxt_path, testnet_prototxt_path):
        self.sp = {}
        self.sp["base_lr"] = "0.05"
        self.sp["momentum"] = "0.9"
        self.sp["test_iter"] = "2"
        self.sp["test_interval"] = "250"
        self.sp["display"] = "25"
        self.sp["snapshot"] = "2500"
        self.sp["snapshot_prefix"] = '"multilabel"'
        self.sp["lr_policy"] = '"fixed"'
        self.sp["train_net"] = '"' + trainnet_prototxt_path + '"'
        self.sp["test_net"] = '"' + testnet_prototxt_path + '"'

    def write(self, filepath):
        with open(filepath, "w") as f:
            for key, value in sorted(self.sp.items()):
                if not isinstance(value, str):
                    raise TypeError("All solver parameters must be strings")
                f.write("%s: %s\n" % (key, value))


def multilabel(data_layer_params, datalayer):
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module="label_layers", layer=datalayer, ntop=2, param_str=str(data_layer_params))
    n.conv1 = L.Convolution(n.data, kernel_size=3, num_output=8, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=4, weight_filler=dict(type="xavier"))
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
    return str(n.to_proto())


for part in ("train", "val"):
    with open("multi_%s.prototxt" % part, "w") as f:
        f.write(multilabel(dict(batch_size=8, im_shape=[8, 8], split=part), "MultilabelDataLayerSync"))
solverprototxt = CaffeSolver("multi_train.prototxt", "multi_val.prototxt")
solverprototxt.sp["display"] = "1"
solverprototxt.sp["base_lr"] = "0.01"
solverprototxt.write("multi_solver.prototxt")
solver = caffe.SGDSolver("multi_solver.prototxt")
solver.test_nets[0].share_with(solver.net)
solver.step(1)
image = copy(solver.net.blobs["data"].data[0, ...])
assert image.shape == (3, 8, 8)


def hamming_distance(gt, est):
    return sum([1 for (g, e) in zip(gt, est) if g == e]) / float(len(gt))


def check_accuracy(net, num_batches, batch_size=8):
    acc = 0.0
    for t in range(num_batches):
        net.forward()
        for gt, est in zip(net.blobs["label"].data, net.blobs["score"].data > 0):
            acc += hamming_distance(gt, est)
    return acc / (num_batches * batch_size)


for itt in range(3):
    solver.step(30)
    print(f"itt:{(itt + 1) * 30:3d}", f"accuracy:{check_accuracy(solver.test_nets[0], 3):.4f}")
assert check_accuracy(solver.test_nets[0], 5) > 0.9

# -- twins: features of raw bytes, in batches of any number ------------------------------------------------------------
TWIN = """
layer { name: "conv1%(p)s" type: "Convolution" bottom: "data%(p)s" top: "conv1%(p)s"
  param { name: "conv1_w" lr_mult: 1 } param { name: "conv1_b" lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "feat%(p)s" type: "InnerProduct" bottom: "conv1%(p)s" top: "feat%(p)s"
  param { name: "feat_w" lr_mult: 1 } param { name: "feat_b" lr_mult: 2 }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }"""
with open("siamese_train.prototxt", "w") as f:
    f.write("""layer { name: "pairs" type: "DummyData" top: "pair" top: "sim" dummy_data_param {
      shape { dim: 4 dim: 2 dim: 12 dim: 12 } shape { dim: 4 } data_filler { type: "uniform" max: 1 }
      data_filler { type: "constant" value: 1 } } }
    layer { name: "slice" type: "Slice" bottom: "pair" top: "data" top: "data_p" slice_param { slice_dim: 1 } }""")
    f.write(TWIN % {"p": ""} + TWIN % {"p": "_p"})
    f.write("""layer { name: "loss" type: "ContrastiveLoss" contrastive_loss_param { margin: 1.0 }
      bottom: "feat" bottom: "feat_p" bottom: "sim" top: "loss" }""")
with open("siamese.prototxt", "w") as f:
    f.write('input: "data" input_dim: 4 input_dim: 1 input_dim: 12 input_dim: 12' + TWIN % {"p": ""})
with open("siamese_solver.prototxt", "w") as f:
    f.write('net: "siamese_train.prototxt" base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75 momentum: 0.9')
twins = caffe.SGDSolver("siamese_solver.prototxt")
twins.step(5)
assert (twins.net.params["conv1"][0].data == twins.net.params["conv1_p"][0].data).all()
twins.net.save("siamese.caffemodel")
with open("images", "wb") as f:
    f.write(struct.pack(">IIII", 2051, 10, 12, 12) + rng.randint(0, 256, 1440).astype(np.uint8).tobytes())
net = caffe.Net("siamese.prototxt", "siamese.caffemodel", caffe.TEST)
n = 10
with open("images", "rb") as f:
    f.read(16)
    raw_data = np.frombuffer(f.read(n * 12 * 12), dtype=np.uint8)
caffe_in = raw_data.reshape(n, 1, 12, 12) * 0.00390625
out = net.forward_all(data=caffe_in)
feat = out["feat"]
assert feat.shape == (10, 2)
print("features", len(np.unique(feat[:, 0])))
