"""Caffe's mathematics as plain torch functions, and the small modules that hold their parameters in emitted code.

`forward` imports them when it runs (they need torch), and `netc emit` copies their text into the files it writes. So a
function uses nothing but torch, `math`, and the other functions and classes of this folder; settings are its arguments.
"""
