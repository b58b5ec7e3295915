"""What a file says about itself."""

from __future__ import annotations

import json

import onnx
import pytest

from engine.export import metadata
from engine.export.metadata import About, Preprocessing

ROW = Preprocessing(224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def written(labels: tuple[str, ...] = ("a", "b")) -> dict[str, str]:
    proto = onnx.ModelProto()
    metadata.attach(proto, (labels, ROW, "image-classification"), {"run_id": "run-1"})
    return {entry.key: entry.value for entry in proto.metadata_props}


def test_it_reads_what_it_wrote() -> None:
    found = metadata.parse(written(("Käse", "日本")))
    assert isinstance(found, About)
    assert (found.labels, found.preprocessing) == (("Käse", "日本"), ROW)
    assert found.origin["run_id"] == "run-1"
    assert found.origin["graft_version"] == metadata.graft_version() != "unknown"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("graft.labels", None),
        ("graft.labels", "not json"),
        ("graft.labels", "[]"),
        ("graft.labels", "[1, 2]"),
        ("graft.labels", '{"a": 1}'),
        ("graft.origin", "[]"),
        ("graft.preprocessing", "[]"),
        ("graft.preprocessing", '{"image_size": 224}'),
        ("graft.preprocessing", json.dumps({"image_size": 10**9, "crop_share": 0.9, "interpolation": "bicubic"})),
        ("graft.preprocessing", json.dumps({"image_size": 224, "crop_share": 0, "interpolation": "bicubic"})),
        ("graft.preprocessing", json.dumps({"image_size": 224, "crop_share": 0.9, "interpolation": "magic"})),
    ],
)
def test_nonsense_is_none(key: str, value: str | None) -> None:
    entries = written()
    entries.pop(key) if value is None else entries.update({key: value})
    assert metadata.parse(entries) is None


def test_thresholds_travel_with_a_file_that_tags_and_with_no_other() -> None:
    def told(task: str, thresholds: list[float] | None) -> dict[str, str]:
        proto = onnx.ModelProto()
        metadata.attach(proto, (("a", "b"), ROW, task), {}, thresholds)
        return {entry.key: entry.value for entry in proto.metadata_props}

    for given, expected in (([0.25, 0.75], (0.25, 0.75)), (None, (0.5, 0.5))):
        found = metadata.parse(told(metadata.TAGGING, given))
        assert found is not None
        assert found.thresholds == expected
    assert metadata.parse(written()).thresholds == ()
    for wrong in ("[0.5]", "[0.5, 2]", "[0.5, NaN]", '"x"'):
        assert metadata.parse({**told(metadata.TAGGING, None), "graft.thresholds": wrong}) is None


def test_strip_removes_every_doc_string_and_entry_also_within_functions() -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], doc_string="/home/someone/secret.py")
    node.metadata_props.add(key="stack_trace", value="File /home/someone/secret.py")
    value = onnx.helper.make_tensor_value_info("x", 1, [1], doc_string="secret")
    weight = onnx.helper.make_tensor("w", 1, [1], [0.5])
    weight.doc_string = "secret"
    graph = onnx.helper.make_graph([node], "g", [value], [value], [weight], doc_string="secret")
    function = onnx.helper.make_function("d", "f", ["x"], ["y"], [node], [onnx.helper.make_opsetid("", 18)], doc_string="secret")
    proto = onnx.helper.make_model(graph, functions=[function], doc_string="secret")
    proto.metadata_props.add(key="path", value="secret")
    metadata.strip(proto)
    assert b"secret" not in proto.SerializeToString()
    assert proto.graph.node[0].op_type == "Relu"
    assert list(proto.graph.initializer[0].float_data) == [0.5]
