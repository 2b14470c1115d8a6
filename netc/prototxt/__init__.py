"""The front end: prototxt text → syntax tree with places → protobuf messages."""

from netc.prototxt.ast import Field, Message, Scalar
from netc.prototxt.parse import parse
from netc.prototxt.source import Source

__all__ = ["Field", "Message", "Scalar", "Source", "parse"]
