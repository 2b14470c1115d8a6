"""The front end: prototxt text → syntax tree with places → protobuf messages."""

from netc.prototxt.ast import FieldNode, Message, Scalar
from netc.prototxt.parse import parse
from netc.prototxt.source import Source

__all__ = ["FieldNode", "Message", "Scalar", "Source", "parse"]
