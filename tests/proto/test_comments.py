"""Every message, field and enum of caffe.proto says what it means, and the comments can be read by name."""

from __future__ import annotations

import pytest

from netc import proto
from netc.proto.comments import read_comments


def names() -> list[str]:
    found = []
    for message in proto.pool().FindFileByName("caffe.proto").message_types_by_name.values():
        found += [message.name, *(f"{message.name}.{field.name}" for field in message.fields)]
        found += [f"{message.name}.{enum.name}" for enum in message.enum_types]
    return found


def test_everything_has_a_comment() -> None:
    assert [name for name in names() if not proto.comment(name)] == []


def test_names_with_and_without_package() -> None:
    assert proto.comment("caffe.LayerParameter.bottom") == proto.comment("LayerParameter.bottom")


def test_unknown_name() -> None:
    with pytest.raises(KeyError):
        proto.comment("LayerParameter.botom")


def test_which_comment_belongs_to_what() -> None:
    text = """
        // A heading, cut off by the blank line.

        // Two lines
        // of comment.
        message Outer {
          // Above.
          optional string url = 1 [default = "http://x"]; // After.
          optional int32 bare = 2;
          enum Kind { // One.
            // The first.
            A = 0;
          }
        }
        message Next {}
        // At the end.
        enum Last {
          B = -1; // Negative.
        }
    """
    assert read_comments(text) == {
        "Outer": "Two lines of comment.",
        "Outer.url": "Above. After.",
        "Outer.bare": "",
        "Outer.Kind": "One.",
        "Outer.Kind.A": "The first.",
        "Next": "",
        "Last": "At the end.",
        "Last.B": "Negative.",
    }
