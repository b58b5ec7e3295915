"""A corpus of files that are damaged, absurd, or made to do harm. Each is written by a function here; all must be refused."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)


def model(nodes, initializers=(), inputs=(X,), outputs=(Y,), opset=17, functions=(), extra=()) -> ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    opsets = ([helper.make_opsetid("", opset)] if opset is not None else []) + list(extra)
    made = ModelProto(ir_version=8, graph=graph, opset_import=opsets)
    made.functions.extend(functions)
    return made


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=outputs[0] if outputs else op, **attributes)


def ints(name, values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def floats(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


RELU = node("Relu", ["x"], ["y"])


def conv(**attributes) -> ModelProto:
    return model([node("Conv", ["x", "w"], ["y"], **attributes)], [floats("w", 4, 3, 3, 3)])


def external(folder: Path, location: str, **entries) -> ModelProto:
    weight = TensorProto(name="w", dims=[4, 3, 3, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return model([node("Conv", ["x", "w"], ["y"])], [weight])


def tensor(dims, kind=TensorProto.FLOAT, raw=b"") -> ModelProto:
    weight = TensorProto(name="w", dims=dims, data_type=kind, raw_data=raw)
    return model([node("Add", ["x", "w"], ["y"])], [weight])


def loop(rounds: str, *extra) -> ModelProto:
    body = helper.make_graph(
        [node("Identity", ["going"], ["on"]), node("Relu", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", TensorProto.FLOAT, None)],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model([node("Loop", [rounds, "yes", "x"], ["y"], body=body)], [yes, *extra])


def nested(depth: int) -> ModelProto:
    graph = helper.make_graph([node("Relu", ["x"], ["z"])], "in", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    for _ in range(depth):
        graph = helper.make_graph(
            [node("If", ["c"], ["z"], then_branch=graph, else_branch=graph if _ < 2 else helper.make_graph([], "e", [], []))],
            "in",
            [],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        )
    return model([node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)], [numpy_helper.from_array(np.array(True), "c")])


def functions(*bodies: tuple[str, list[str]]) -> ModelProto:
    made = []
    for name, calls in bodies:
        nodes = [
            helper.make_node(call, ["a" if i == 0 else f"t{i - 1}"], ["b" if i == len(calls) - 1 else f"t{i}"], domain="own") for i, call in enumerate(calls)
        ]
        made.append(helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]))
    return model([helper.make_node(bodies[0][0], ["x"], ["y"], domain="own")], functions=made, extra=[helper.make_opsetid("own", 1)])


def many_nodes(count: int) -> ModelProto:
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    return model([helper.make_node("Relu", [a], [b]) for a, b in zip(names, names[1:], strict=False)])


def sparse() -> ModelProto:
    made = model([node("Add", ["x", "s"], ["y"])])
    values, indices = floats("s", 1), ints("i", [0])
    made.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=[10**12]))
    return made


def swapped(change: Callable[[ModelProto], None]) -> ModelProto:
    made = conv()
    change(made)
    return made


def no_name(made: ModelProto) -> None:
    made.graph.node[0].op_type = ""


def no_outputs(made: ModelProto) -> None:
    del made.graph.node[0].output[:]


def not_a_tensor(made: ModelProto) -> None:
    made.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def whole(folder: Path) -> bytes:
    return conv().SerializeToString()


RAW: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda folder: b"",
    "text": lambda folder: b"this is no model\n" * 100,
    "random bytes": lambda folder: random.Random(0).randbytes(50_000),
    "zeros": lambda folder: bytes(10_000),
    "png": lambda folder: b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(2000),
    "cut off": lambda folder: whole(folder)[:-100],
    "cut off early": lambda folder: whole(folder)[:40],
    "length that lies": lambda folder: b"\x3a\xff\xff\xff\xff\x0f" + bytes(100),
    "html": lambda folder: b"<!doctype html><html><body>404</body></html>",
    "pickle": lambda folder: b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x03ls.\x94\x85\x94R\x94.",
}

MODELS: dict[str, Callable[[Path], ModelProto]] = {
    "no graph": lambda f: ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)]),
    "no operators": lambda f: model([]),
    "no input": lambda f: model([node("Relu", ["w"], ["y"])], [floats("w", 3)], inputs=()),
    "no output": lambda f: model([RELU], outputs=()),
    "output nobody makes": lambda f: model([node("Relu", ["x"], ["z"])]),
    "disconnected": lambda f: model([node("Relu", ["w"], ["y"])], [floats("w", 3)]),
    "circle": lambda f: model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
    "reads itself": lambda f: model([node("Add", ["x", "y"], ["y"])]),
    "made twice": lambda f: model([RELU, node("Abs", ["x"], ["y"])]),
    "reads what nothing makes": lambda f: model([node("Add", ["x", "ghost"], ["y"])]),
    "no opset": lambda f: model([RELU], opset=None),
    "opset 999": lambda f: model([RELU], opset=999),
    "opset 0": lambda f: model([RELU], opset=0),
    "own library": lambda f: model([helper.make_node("Steal", ["x"], ["y"], domain="evil.ops")], extra=[helper.make_opsetid("evil.ops", 1)]),
    "operator that does not exist": lambda f: model([node("Frobnicate", ["x"], ["y"])]),
    "constant of 10^12 numbers": lambda f: tensor([10**6, 10**6]),
    "negative size": lambda f: tensor([-4, 3]),
    "hundred axes": lambda f: tensor([1] * 100, raw=bytes(4)),
    "numbers of an unknown kind": lambda f: tensor([1], kind=999, raw=bytes(4)),
    "too few numbers": lambda f: tensor([10, 10], raw=bytes(40)),
    "too many numbers": lambda f: tensor([2], raw=bytes(4000)),
    "overflowing sizes": lambda f: tensor([2**40, 2**40]),
    "bomb by ConstantOfShape": lambda f: model([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])], [ints("s", [10**6, 10**6])]),
    "bomb by Expand": lambda f: model([node("Expand", ["x", "s"], ["y"])], [ints("s", [10**6, 3, 10**3, 10**3])]),
    "bomb by Tile": lambda f: model([node("Tile", ["x", "s"], ["y"])], [ints("s", [10**5, 1, 10**5, 1])]),
    "bomb by Pad": lambda f: model([node("Pad", ["x", "s"], ["y"])], [ints("s", [0, 0, 10**12, 0, 0, 0, 0, 0])]),
    "bomb by a product": lambda f: model(
        [node("Mul", ["s", "s"], ["t"]), node("ConstantOfShape", ["t"], ["c"]), node("Add", ["x", "c"], ["y"])], [ints("s", [10**4, 10**4])]
    ),
    "bomb by broadcasting": lambda f: model(
        [node("Add", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])], [floats("a", 2000000, 1), floats("b", 1, 2000000)]
    ),
    "bomb by upsampling": lambda f: model([node("Resize", ["x", "", "", "s"], ["y"])], [ints("s", [1, 3, 10**6, 10**6])]),
    "endless loop": lambda f: loop(""),
    "loop of 10^12 rounds": lambda f: loop("n", ints("n", 10**12)),
    "stride 0": lambda f: conv(strides=[0, 0]),
    "negative stride": lambda f: conv(strides=[-1, 1]),
    "kernel of 10^9": lambda f: model([node("MaxPool", ["x"], ["y"], kernel_shape=[10**9, 10**9])]),
    "dilation of 10^9": lambda f: conv(dilations=[10**9, 1]),
    "group 0": lambda f: conv(group=0),
    "pads of 10^9": lambda f: conv(pads=[10**9] * 4),
    "perm that is none": lambda f: model([node("Transpose", ["x"], ["y"], perm=[0, 0, 9, 9])]),
    "axis of 10^9": lambda f: model([node("Softmax", ["x"], ["y"], axis=10**9)]),
    "200,000 numbers in a setting": lambda f: conv(pads=[0] * 200_000),
    "graphs inside graphs": lambda f: nested(16),
    "100,001 operators": lambda f: many_nodes(100_001),
    "function that calls itself": lambda f: functions(("A", ["A"])),
    "functions in a circle": lambda f: functions(("A", ["B"]), ("B", ["A"])),
    "billion laughs": lambda f: functions(*((chr(65 + i), [chr(66 + i)] * 10) for i in range(12)), (chr(77), ["Relu"])),
    "sparse weights of 10^12": lambda f: sparse(),
    "name of a megabyte": lambda f: model([helper.make_node("Relu", ["x"], ["n" * 2**20]), helper.make_node("Relu", ["n" * 2**20], ["y"])]),
    "operator without a name": lambda f: swapped(no_name),
    "operator without outputs": lambda f: swapped(no_outputs),
    "input that is no tensor": lambda f: swapped(not_a_tensor),
    "input of 10^18": lambda f: model([RELU], inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [10**6, 10**6, 10**6, 1])]),
    "weights that do not fit": lambda f: model([node("Conv", ["x", "w"], ["y"])], [floats("w", 4, 99, 3, 3)]),
    "product that does not fit": lambda f: model([node("MatMul", ["x", "w"], ["y"])], [floats("w", 99, 5)]),
    "reshape that does not fit": lambda f: model([node("Reshape", ["x", "s"], ["y"])], [ints("s", [7, 11])]),
    "external data at /etc": lambda f: external(f, "/etc/passwd"),
    "external data above": lambda f: external(f, "../secret.bin"),
    "external data above, hidden": lambda f: external(f, "inner/../../secret.bin"),
    "external data by Windows path": lambda f: external(f, "C:\\Windows\\win.ini"),
    "external data without a place": lambda f: external(f, ""),
    "external data missing": lambda f: external(f, "absent.bin"),
    "external data past the end": lambda f: external(f, "short.bin", offset=10**9, length=432),
    "external data of negative length": lambda f: external(f, "short.bin", offset=-5, length=432),
    "external data at no number": lambda f: external(f, "short.bin", offset="here"),
    "external data through a link": lambda f: external(f, "link.bin"),
    "external data in a folder": lambda f: external(f, "inner"),
}

NAMES = [*RAW, *MODELS, "folder", "zip", "missing"]


def write(name: str, folder: Path) -> Path:
    """Write one file of the corpus, with what lies beside it, and return its path."""
    upload = folder / "upload"
    (upload / "inner").mkdir(parents=True)
    (folder / "secret.bin").write_bytes(bytes(4096))
    (upload / "short.bin").write_bytes(bytes(64))
    (upload / "link.bin").symlink_to(folder / "secret.bin")
    path = upload / "model.onnx"
    if name == "folder":
        path.mkdir()
    elif name == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.onnx", whole(folder))
    elif name in RAW:
        path.write_bytes(RAW[name](folder))
    elif name in MODELS:
        path.write_bytes(MODELS[name](folder).SerializeToString())
    assert name == "missing" or os.path.lexists(path)
    return path
