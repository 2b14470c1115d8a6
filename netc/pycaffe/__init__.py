"""Python layers written for pycaffe: their blobs, the `caffe` module they import, and how they are called.

No torch here, so that a net with Python layers is checked without it; numpy holds the values.
"""

from netc.pycaffe.call import PythonCode

__all__ = ["PythonCode"]
