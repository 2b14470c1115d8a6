"""One way from sources to a net: called by hand, trained or tested, it reads the same batches, each once."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.data import image_list, records
from netc.runtime.net import feeding
from tests.runtime.data.made import compressed, encoded, photo, raw, write_lmdb
from tests.runtime.solver.conftest import write_run

RECORDS, BATCH = 10, 3
NET = """
name: "net"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def planes() -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (3, 5, 4)) for _ in range(RECORDS)]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A net beside its database, seen from another folder. The label of a record is its number."""
    write_lmdb(tmp_path / "db", {b"%08d" % n: raw(p, n) for n, p in enumerate(planes())})
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return str(tmp_path / "net.prototxt")


def batch_of(k: int) -> list[int]:
    """The numbers of the records of batch k."""
    return [n % RECORDS for n in range(k * BATCH, (k + 1) * BATCH)]


# -- called by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_each_call_takes_the_next_batch(file: str, phase: str) -> None:
    net = netc.load_net(file, phase)
    for k in range(4):
        found = net(blobs=["data", "label"])
        assert found["label"].tolist() == batch_of(k)
        np.testing.assert_array_equal(found["data"], np.stack([planes()[n] for n in batch_of(k)]))


def test_what_is_given_is_taken_and_the_rest_is_read(file: str) -> None:
    net = netc.load_net(file)
    x = torch.zeros(3, 3, 5, 4)
    found = net(data=x, blobs=["data", "label"])
    assert torch.equal(found["data"], x)
    assert found["label"].tolist() == batch_of(0)
    assert net(data=x, label=torch.zeros(3))["loss"] > 0
    assert net(blobs=["label"])["label"].tolist() == batch_of(1)  # the call in between read nothing


def test_what_the_wanted_blobs_do_not_depend_on_is_neither_asked_for_nor_opened(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = netc.load_net(file)
    monkeypatch.setattr(feeding, "open_feed", None)
    assert list(net(data=torch.zeros(2, 3, 5, 4), blobs=["fc"])) == ["fc"]
    given = netc.load_net(
        NET.replace(
            'type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 3 }',
            'type: "Input" top: "data" top: "label" input_param { shape { dim: 3 dim: 5 } shape { dim: 3 } }',
        )
    )
    assert list(given(data=torch.zeros(3, 5), blobs=["fc"])) == ["fc"]
    with pytest.raises(NetcError, match='"label" is not given') as caught:
        given(data=torch.zeros(3, 5))
    assert caught.value.code == "R601"


AUXILIARY = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "y" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 4 } }
layer { name: "aux" type: "InnerProduct" bottom: "a" top: "aux" inner_product_param { num_output: 5 } }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" top: "aux_loss" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 6 } }
layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"""


def test_a_branch_that_needs_the_label_is_left_out() -> None:
    """GoogLeNet's auxiliary losses stand above the blobs that one asks for."""
    net = netc.load_net(AUXILIARY)
    ran: list[str] = []
    original = net._call
    net._call = lambda step, *rest: ran.append(step.node.name) or original(step, *rest)  # type: ignore[method-assign]
    assert net(x=torch.ones(2, 3), blobs=["b"])["b"].shape == (2, 6)
    assert [name for name in ran if "split" not in name] == ["a", "b", "relu"]


def test_blobs_go_as_soon_as_nothing_needs_them() -> None:
    """What is asked for decides: a split's other branch does not keep its blob alive."""
    net = netc.load_net(AUXILIARY)
    route = net._route(("b",))
    alive = set(route.needed)
    for step, dead, _ in route.steps:
        alive |= set(step.tops)
        alive -= set(dead)
    assert alive == {"b"}
    assert route.needed == ("x",)


def test_a_label_that_is_no_class_is_named(file: str) -> None:
    Path(file).write_text(NET.replace("num_output: 12", "num_output: 5"))
    net = netc.load_net(file)
    net()
    with pytest.raises(NetcError, match="label 5 does not exist") as caught:
        net()
    assert caught.value.code == "R621"


def test_a_label_that_is_not_needed_is_not_checked(file: str) -> None:
    """The labels of this database go to 9, of a net with 4 classes."""
    net = netc.load_net(Path(file).read_text().replace("num_output: 12", "num_output: 4").replace('"db"', '"../db"'))
    net.feeding.position = 2
    assert net(blobs=["fc"])["fc"].shape == (3, 4)
    assert net(label=torch.zeros(3))["loss"] > 0
    net.feeding.position = 2
    with pytest.raises(NetcError, match="label") as caught:
        net()
    assert caught.value.code == "R621"


def test_dummy_data_are_drawn_anew_at_each_call_in_test() -> None:
    text = """layer { name: "d" type: "DummyData" top: "x"
        dummy_data_param { shape { dim: 9 } data_filler { type: "gaussian" } } }"""
    net = netc.load_net(text)
    first, second = net()["x"], net()["x"]
    assert not first.equal(second)
    net.reset()
    assert net()["x"].equal(first)


def test_compiled_it_reads_too(file: str) -> None:
    net = netc.load_net(file)
    compiled = torch.compile(net, backend="eager")
    assert [compiled(blobs=["label"])["label"].tolist() for _ in range(3)] == [batch_of(k) for k in range(3)]
    for _ in range(2):
        assert net(data=torch.zeros(3, 3, 5, 4), blobs=["fc"])["fc"].equal(
            torch.compile(net, backend="eager", fullgraph=True)(data=torch.zeros(3, 3, 5, 4), blobs=["fc"])["fc"]
        )


# -- starting over, and the end ----------------------------------------------------------------------------------------

KEEPS = """
layer { name: "x" type: "DummyData" top: "x" top: "cont" dummy_data_param { shape { dim: 2 dim: 3 dim: 4 }
  shape { dim: 2 dim: 3 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h" recurrent_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "h" top: "d" }
"""


def test_reset_starts_over() -> None:
    """The batches, dropout's masks, and what an LSTM has kept."""
    net = netc.load_net(KEEPS, "TRAIN")
    first = [net()["d"].detach() for _ in range(3)]
    net.reset()
    assert all(torch.equal(net()["d"], one) for one in first)


def test_reset_begins_arrays_with_their_first_row() -> None:
    net = netc.load_net("""layer { name: "m" type: "MemoryData" top: "x" top: "label"
      memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }""")
    net.set_input_arrays(np.zeros((6, 1, 1, 1)), np.arange(6))
    net()
    net.set_input_arrays(np.zeros((4, 1, 1, 1)), np.arange(4))
    assert net()["label"].tolist() == [0, 1]
    net.reset()
    assert [net()["label"].tolist() for _ in range(3)] == [[0, 1], [2, 3], [0, 1]]


def handles(data: Path) -> int:
    """How often this process holds a file open."""
    wanted, found = data.stat(), 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.path.samestat(os.stat(f"/proc/self/fd/{name}"), wanted)
    return found


def is_open(file: str) -> bool:
    return handles(Path(file).with_name("db").joinpath("data.mdb")) > 0


def decoders(layer: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"decode {layer}")]


def test_close_leaves_nothing_open_and_the_next_call_opens_again(file: str) -> None:
    Path(file).write_text(NET.replace('name: "data"', 'name: "mine"'))
    net = netc.load_net(file)
    assert not is_open(file)  # a process can have an LMDB open once: a program may read it by itself
    for k in range(2):
        assert net(blobs=["label"])["label"].tolist() == batch_of(k)
        assert (is_open(file), bool(decoders("mine"))) == (True, True)
        net.feeding.close()
        assert (is_open(file), bool(decoders("mine"))) == (False, False)


def test_a_net_that_goes_takes_its_sources_along(file: str) -> None:
    net = netc.load_net(file)
    net()
    del net
    gc.collect()
    assert not is_open(file)


def test_a_copy_reads_by_itself(file: str) -> None:
    net = netc.load_net(file)
    net()
    other = copy.deepcopy(net)
    for k in (1, 2):
        assert [n(blobs=["label"])["label"].tolist() for n in (net, other)] == [batch_of(k)] * 2


# -- driven by the solver ----------------------------------------------------------------------------------------------


def test_test_nets_take_their_batches_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = netc.load_solver("solver.prototxt")
    net = run.test_nets[0]
    seen = [net(blobs=["label"])["label"].int().tolist() for _ in range(3)]
    assert seen == [[n % 11 % 3 for n in range(4 * k, 4 * k + 4)] for k in range(3)]  # 11 records, 3 classes
    run.test()  # three batches, whatever was read before
    assert net(blobs=["label"])["label"].int().tolist() == [n % 11 % 3 for n in range(12, 16)]
    run.close()


def test_a_net_called_between_two_steps_goes_on_and_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    run, straight = (netc.load_solver("solver.prototxt") for _ in range(2))
    labels = [straight.net(blobs=["label"])["label"].tolist() for _ in range(5)]
    run.step(2)  # of two forward passes each
    assert run.net(blobs=["label"])["label"].tolist() == labels[4]
    straight.step(2)
    assert run.step(1) == straight.step(1)
    for one in (run, straight):
        one.close()


def test_a_function_feeds_what_it_gives_and_data_layers_the_rest(file: str) -> None:
    solver = f'net: "{file}" base_lr: 0 lr_policy: "fixed"'
    run = netc.load_solver(solver)
    asked: list[int] = []

    def feed(k: int) -> dict[str, torch.Tensor]:
        asked.append(k)
        return {"data": torch.zeros(3, 3, 5, 4)}

    assert run.step(2, feed) == pytest.approx(np.log(12))  # equal scores, and labels of the data's
    assert asked == [0, 1]
    with pytest.raises(NetcError, match="label 12 does not exist"):
        run.step(1, lambda k: {"label": torch.full((3,), 12.0)})
    run.close()


# -- each record once --------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names of the databases opened, and the contents decoded, from now on."""
    seen: dict[str, list[str]] = {"opened": [], "decoded": []}
    open_database, from_datum, decode = records.open_database, records.from_datum, image_list.decode

    def opening(path, place=None):
        seen["opened"].append(Path(path).name)
        return open_database(path, place)

    def decoding(key, value, color, upright):
        seen["decoded"].append(value.hex())
        return from_datum(key, value, color, upright)

    def file(content, color, upright):
        seen["decoded"].append(content.hex())
        return decode(content, color, upright)

    monkeypatch.setattr(records, "open_database", opening)
    monkeypatch.setattr(records, "from_datum", decoding)
    monkeypatch.setattr(image_list, "decode", file)
    return seen


def test_nothing_is_opened_or_decoded_twice_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: dict[str, list[str]]
) -> None:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = netc.load_solver("solver.prototxt")
    assert (counted["opened"], len(counted["decoded"])) == (["train_lmdb", "test_lmdb"], 2)
    run.step(1)  # all 11 records of the test, and 2 batches of 5
    run.close()
    assert counted["opened"] == ["train_lmdb", "test_lmdb"]
    assert 21 <= len(counted["decoded"]) == len(set(counted["decoded"])) <= 31


def test_a_list_of_files_is_decoded_once(tmp_path: Path, counted: dict[str, list[str]]) -> None:
    for n in range(12):
        (tmp_path / f"{n}.jpg").write_bytes(compressed(photo(9, 8, n)))
    (tmp_path / "list").write_text("".join(f"{n}.jpg {n}\n" for n in range(12)))
    run = netc.load_solver(f"""net_param {{ layer {{ name: "i" type: "ImageData" top: "x" top: "y"
      image_data_param {{ source: "{tmp_path}/list" batch_size: 4 }} }}
      layer {{ name: "s" type: "Reduction" bottom: "x" top: "s" loss_weight: 1 }} }} base_lr: 0 lr_policy: "fixed" """)
    assert len(counted["decoded"]) == 1
    run.step(1)
    run.close()  # ends what is being prepared: two batches more
    assert 4 <= len(counted["decoded"]) == len(set(counted["decoded"])) <= 12


def test_what_was_opened_for_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = netc.load_solver("solver.prototxt")
    databases = list(tmp_path.glob("**/data.mdb"))
    assert sum(map(handles, databases)) == 2  # of the training net and of the test net
    run.close()
    assert not sum(map(handles, databases))


def test_the_picture_that_told_the_shapes_is_the_one_in_the_batch(tmp_path: Path) -> None:
    """Decoded ahead, it is what decoding it again gives: shuffled, cropped, at whatever place of the batch."""
    source = write_lmdb(tmp_path / "db", {b"%d" % n: encoded(photo(12, 11, n), n) for n in range(5)})
    run = netc.load_solver(f"""net_param {{ layer {{ name: "data" type: "Data" top: "data" top: "label"
      transform_param {{ crop_size: 8 mirror: true }}
      data_param {{ source: "{source}" batch_size: 5 sampling_param {{ shuffle: true }} }} }} }}
      base_lr: 0 lr_policy: "fixed" """)
    first = run.net(blobs=["data"])["data"]
    run.close()
    run.net.reset()
    assert run.net(blobs=["data"])["data"].equal(first)
    run.close()
