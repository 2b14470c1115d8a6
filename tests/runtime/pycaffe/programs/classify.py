#!/usr/bin/env python
"""A classifier for the command line, as people wrote them for pycaffe: pictures in, an .npy out."""

from __future__ import print_function

import argparse
import glob
import os
import sys
import time

import caffe
import numpy as np


def main(argv):
    here = os.path.dirname(__file__)
    parser = argparse.ArgumentParser()
    parser.add_argument("input_file")
    parser.add_argument("output_file")
    parser.add_argument("--model_def", default=os.path.join(here, "deploy.prototxt"))
    parser.add_argument("--pretrained_model", default=os.path.join(here, "net.caffemodel"))
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--center_only", action="store_true")
    parser.add_argument("--images_dim", default="20,20")
    parser.add_argument("--mean_file", default="")
    parser.add_argument("--input_scale", type=float)
    parser.add_argument("--raw_scale", type=float, default=255.0)
    parser.add_argument("--channel_swap", default="2,1,0")
    parser.add_argument("--ext", default="jpg")
    args = parser.parse_args()

    image_dims = [int(s) for s in args.images_dim.split(",")]
    mean, channel_swap = None, None
    if args.mean_file:
        mean = np.load(args.mean_file)
    if args.channel_swap:
        channel_swap = [int(s) for s in args.channel_swap.split(",")]
    if args.gpu:
        caffe.set_mode_gpu()
        print("GPU mode")
    else:
        caffe.set_mode_cpu()
        print("CPU mode")
    classifier = caffe.Classifier(
        args.model_def,
        args.pretrained_model,
        image_dims=image_dims,
        mean=mean,
        input_scale=args.input_scale,
        raw_scale=args.raw_scale,
        channel_swap=channel_swap,
    )
    args.input_file = os.path.expanduser(args.input_file)
    if args.input_file.endswith("npy"):
        inputs = np.load(args.input_file)
    elif os.path.isdir(args.input_file):
        inputs = [caffe.io.load_image(f) for f in sorted(glob.glob(args.input_file + "/*." + args.ext))]
    else:
        inputs = [caffe.io.load_image(args.input_file)]
    print("Classifying %d inputs." % len(inputs))
    start = time.time()
    predictions = classifier.predict(inputs, not args.center_only)
    print("Done in %.2f s." % (time.time() - start))
    np.save(args.output_file, predictions)


if __name__ == "__main__":
    main(sys.argv)
