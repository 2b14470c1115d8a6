"""`import caffe` where this package is installed: netc.pycaffe, under Caffe's name from here on."""

import netc.pycaffe

netc.pycaffe.install()  # puts netc.pycaffe itself into the place of this module
