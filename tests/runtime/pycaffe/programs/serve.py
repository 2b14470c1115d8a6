"""The heart of a demo on the web: pictures arrive as bytes, in threads of the server, and the best classes go back."""

import io
import logging
import os
import pickle
import threading

import caffe
import numpy as np
from PIL import Image

logging.getLogger().setLevel(logging.INFO)

ORIENTATION = 274
TURNS = {3: 180, 6: 270, 8: 90}


def upright(stream):
    im = Image.open(stream)
    exif = im._getexif() if hasattr(im, "_getexif") else None
    if exif is not None and exif.get(ORIENTATION, 1) in TURNS:
        im = im.rotate(TURNS[exif[ORIENTATION]], expand=True)
    return np.asarray(im.convert("RGB")).astype(np.float32) / 255.0


class Classifier:
    def __init__(self, model_def_file, pretrained_model_file, mean, labels, raw_scale, image_dim, gpu_mode):
        if gpu_mode:
            caffe.set_mode_gpu()
        else:
            caffe.set_mode_cpu()
        self.net = caffe.Classifier(
            model_def_file,
            pretrained_model_file,
            image_dims=(image_dim, image_dim),
            raw_scale=raw_scale,
            mean=mean.mean(1).mean(1),
            channel_swap=(2, 1, 0),
        )
        self.labels = np.array(labels)

    def classify_image(self, image):
        scores = self.net.predict([image], oversample=True).flatten()
        indices = (-scores).argsort()[:5]
        return [(self.labels[i], "%.5f" % scores[i]) for i in indices]


clf = Classifier("deploy.prototxt", "net.caffemodel", np.ones((3, 20, 20)), list("abcde"), 255.0, 20, False)
clf.net.forward()
assert clf.net.blobs["data"].num == 2
with open("cat.jpg", "rb") as f:
    sent = f.read()
answers = {}


def answer(key):
    if key % 2:
        answers[key] = clf.classify_image(caffe.io.load_image(io.BytesIO(sent)))
    else:
        answers[key] = clf.classify_image(upright(io.BytesIO(sent)))


for key in range(4):
    thread = threading.Thread(target=answer, args=(key,))
    thread.start()
    thread.join()
assert answers[0] == answers[1] == answers[2] == answers[3]
print(answers[0])
with open("answers.pickle", "wb") as f:
    pickle.dump(answers, f, -1)
print(os.path.exists("answers.pickle"))
