"""Fine-tuning as the notebook on styles has it: one function makes the net for training, testing and deployment; two
solvers, one with weights of another net and one from scratch, go side by side; their weights are saved and tested."""

import os
import tempfile

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

weight_param = dict(lr_mult=1, decay_mult=1)
bias_param = dict(lr_mult=2, decay_mult=0)
learned_param = [weight_param, bias_param]
frozen_param = [dict(lr_mult=0)] * 2
NUM = 3


def deprocess_net_image(image):
    image = image.copy()
    image = image[::-1]
    image = image.transpose(1, 2, 0)
    image += [123, 117, 104]
    image[image < 0], image[image > 255] = 0, 255
    image = np.round(image)
    return np.require(image, dtype=np.uint8)


def conv_relu(bottom, ks, nout, stride=1, pad=0, group=1, param=learned_param, weight_filler=dict(type="xavier")):
    conv = L.Convolution(
        bottom,
        kernel_size=ks,
        stride=stride,
        num_output=nout,
        pad=pad,
        group=group,
        param=param,
        weight_filler=weight_filler,
        bias_filler=dict(type="constant", value=0.1),
    )
    return conv, L.ReLU(conv, in_place=True)


def net_file(data, label=None, train=True, num_classes=NUM, classifier_name="fc8_flickr", learn_all=False):
    n = caffe.NetSpec()
    n.data = data
    param = learned_param if learn_all else frozen_param
    n.conv1, n.relu1 = conv_relu(n.data, 5, 8, stride=2, param=param)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    n.norm1 = L.LRN(n.pool1, local_size=5, alpha=1e-4, beta=0.75)
    n.fc7 = L.InnerProduct(n.norm1, num_output=16, param=param, weight_filler=dict(type="xavier"))
    n.relu7 = L.ReLU(n.fc7, in_place=True)
    fc7input = n.relu7
    if train:
        n.drop7 = fc7input = L.Dropout(n.relu7, in_place=True)
    fc8 = L.InnerProduct(fc7input, num_output=num_classes, param=learned_param, weight_filler=dict(type="xavier"))
    n.__setattr__(classifier_name, fc8)
    if not train:
        n.probs = L.Softmax(fc8)
    if label is not None:
        n.label = label
        n.loss = L.SoftmaxWithLoss(fc8, n.label)
        n.acc = L.Accuracy(fc8, n.label)
    with tempfile.NamedTemporaryFile(mode="w", delete=False, dir=".") as f:
        f.write(str(n.to_proto()))
        return f.name


def style_net(train=True, learn_all=False):
    transform_param = dict(mirror=train, crop_size=24, mean_value=[104.0, 117.0, 123.0])
    data, label = L.ImageData(
        transform_param=transform_param, source="list.txt", batch_size=10, new_height=28, new_width=28, ntop=2
    )
    return net_file(data=data, label=label, train=train, learn_all=learn_all)


def solver(train_net_path, test_net_path=None, base_lr=0.001):
    s = caffe_pb2.SolverParameter()
    s.train_net = train_net_path
    if test_net_path is not None:
        s.test_net.append(test_net_path)
        s.test_interval = 1000
        s.test_iter.append(100)
    s.iter_size = 1
    s.max_iter = 100000
    s.type = "SGD"
    s.base_lr = base_lr
    s.lr_policy = "step"
    s.gamma = 0.1
    s.stepsize = 20000
    s.momentum = 0.9
    s.weight_decay = 5e-4
    s.display = 1000
    s.snapshot = 10000
    s.snapshot_prefix = "finetune"
    s.solver_mode = caffe_pb2.SolverParameter.GPU
    with tempfile.NamedTemporaryFile(mode="w", delete=False, dir=".") as f:
        f.write(str(s))
        return f.name


def run_solvers(niter, solvers, disp_interval=10):
    blobs = ("loss", "acc")
    loss, acc = ({name: np.zeros(niter) for name, _ in solvers} for _ in blobs)
    for it in range(niter):
        for name, s in solvers:
            s.step(1)
            loss[name][it], acc[name][it] = (s.net.blobs[b].data.copy() for b in blobs)
        if it % disp_interval == 0 or it + 1 == niter:
            shown = "; ".join(
                "%s: loss=%.3f, acc=%2d%%" % (n, loss[n][it], np.round(100 * acc[n][it])) for n, _ in solvers
            )
            print("%3d) %s" % (it, shown))
    weight_dir = tempfile.mkdtemp(dir=".")
    weights = {}
    for name, s in solvers:
        weights[name] = os.path.join(weight_dir, "weights.%s.caffemodel" % name)
        s.net.save(weights[name])
    return loss, acc, weights


dummy_data = L.DummyData(shape=dict(dim=[1, 3, 24, 24]))
imagenet_net_filename = net_file(data=dummy_data, train=False, classifier_name="fc8", num_classes=7)
imagenet_net = caffe.Net(imagenet_net_filename, caffe.TEST)
imagenet_net.save("imagenet.caffemodel")
untrained_style_net = caffe.Net(style_net(train=False), "imagenet.caffemodel", caffe.TEST)
untrained_style_net.forward()
style_data_batch = untrained_style_net.blobs["data"].data.copy()
style_label_batch = np.array(untrained_style_net.blobs["label"].data, dtype=np.int32)
assert deprocess_net_image(style_data_batch[8]).shape == (24, 24, 3)


def probs_of(net, image):
    net.blobs["data"].data[0, ...] = image
    return net.forward(start="conv1")["probs"][0]


imagenet_probs = probs_of(imagenet_net, style_data_batch[8])
assert imagenet_probs.shape == (7,)
x = untrained_style_net.blobs["fc7"].data[0]
untrained = probs_of(untrained_style_net, style_data_batch[0])
assert (imagenet_net.params["conv1"][0].data == untrained_style_net.params["conv1"][0].data).all()

solvers = []
for name, base in (("pretrained", "imagenet.caffemodel"), ("scratch", None)):
    one = caffe.get_solver(solver(style_net(train=True)))
    if base:
        one.net.copy_from(base)
    solvers.append((name, one))
loss, acc, weights = run_solvers(20, solvers)
end_to_end = caffe.get_solver(solver(style_net(train=True, learn_all=True)))
end_to_end.net.copy_from(weights["pretrained"])
_, acc, weights = run_solvers(20, [("end-to-end", end_to_end)])
test_net = caffe.Net(style_net(train=False), weights["end-to-end"], caffe.TEST)
accuracy = 0
for _ in range(3):
    accuracy += test_net.forward()["acc"]
accuracy /= 3
print("accuracy %.2f" % accuracy)
assert accuracy > 0.7
assert probs_of(test_net, style_data_batch[0]).argmax() == style_label_batch[0]
