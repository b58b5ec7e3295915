"""An ONNX graph as a torch module: every float weight a named parameter, BatchNorm statistics buffers, the rest constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
from onnx import ModelProto
from torch import Tensor, nn

from engine.models.own_onnx.fused import fuse
from engine.models.own_onnx.interpreter import compile_graph, execute, set_training
from engine.models.own_onnx.operators.node import Node
from engine.models.own_onnx.operators.types import from_numpy
from engine.models.own_onnx.roles import Role, needed_nodes, parameter_names, roles
from engine.models.own_onnx.stored import array_of, is_apart

__all__ = ["DropSwitch", "ImportedGraph", "NormSwitch", "Part"]

_SMALL = 64
"""Constants of fewer elements stay in the processor's memory: they mostly say how, not what."""


class Part(nn.Module):
    """A level in the tree of names: nothing but a place for parameters."""

    def forward(self) -> None:
        """Never called: `ImportedGraph` runs the graph."""


class NormSwitch(nn.modules.batchnorm._BatchNorm):
    """Says whether a BatchNormalization node learns its statistics. Training stills normalisation layers by their class."""

    def __init__(self) -> None:
        super().__init__(1, affine=False, track_running_stats=False)

    def forward(self, input: Tensor) -> Tensor:
        """Never called: the node does the work."""
        return input


class DropSwitch(nn.Dropout):
    """Says whether a Dropout node drops."""


_SWITCHES: dict[str, type[nn.Module]] = {"BatchNormalization": NormSwitch, "Dropout": DropSwitch}


def _free_name(module: nn.Module, name: str) -> str:
    name = re.sub(r"\W", "_", name) or "value"
    while hasattr(module, name) and name not in module._modules:
        name += "_"
    return name


class ImportedGraph(nn.Module):
    """Runs an ONNX graph, or the part of it that some values need.

    Call it with the graph's inputs in order (those that are no weights); it returns a tensor, or a tuple where
    several outputs are asked for.
    """

    def __init__(self, model: ModelProto, outputs: Sequence[str] = (), *, fused: bool = False) -> None:
        """Build the module.

        Args:
            outputs: values it gives out; empty takes the graph's own.
            fused: run what the exporter wrote out in steps in one piece; values in between cannot be looked at.
        """
        super().__init__()
        graph = model.graph
        self.output_names = tuple(outputs) or tuple(value.name for value in graph.output)
        nodes = needed_nodes(graph, self.output_names)
        stored = {item.name: item for item in graph.initializer}
        wanted = {name for node in nodes for name in node.input} | set(self.output_names) | _captured(nodes)
        self.input_names = tuple(value.name for value in graph.input if value.name not in stored)
        opsets = {("" if item.domain == "ai.onnx" else item.domain): item.version for item in model.opset_import}
        kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
        kinds.update({name: item.data_type for name, item in stored.items()})
        self._steps = compile_graph(fuse(graph, nodes, self.output_names) if fused else nodes, self.output_names, opsets, kinds)
        self._constants: dict[str, Any] = {}
        self._places: dict[str, tuple[nn.Module, str]] = {}
        self.weight_names: dict[str, str] = {}
        """Parameters' and buffers' ONNX names by their dotted names here."""
        table = roles(graph, nodes)
        names = parameter_names(graph, nodes)
        for name in _in_order_of_use(nodes, wanted & stored.keys()):
            self._keep(name, names.get(name, name), from_numpy(array_of(stored[name]), own=not is_apart(stored[name])), table.get(name, "constant"))
        self._switches = self._add_switches()
        told_how = {name for step in self._steps for position in step.host for name in step.node.inputs[position : position + 1]}
        self._following = [
            name for name, value in self._constants.items() if isinstance(value, Tensor) and value.is_floating_point() and value.dim() and name not in told_how
        ]
        self.eval()

    def _add_switches(self) -> list[tuple[Node, nn.Module]]:
        """Put a switch beside the weights of each layer that behaves differently while training, so that freezing a layer stills it."""
        found: list[tuple[Node, nn.Module]] = []
        part: nn.Module = self
        for step in self._steps:
            part = next((self._places[name][0] for name in step.node.inputs if name in self._places), part)
            if step.node.op in _SWITCHES:
                switch = _SWITCHES[step.node.op]()
                part.add_module(_free_name(part, "switch") if not hasattr(part, "switch") else f"switch_{len(found)}", switch)
                found.append((step.node, switch))
        return found

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ImportedGraph:
        """Let stored numbers that are no parameters follow the module to its device and precision."""

        def each(value: Tensor) -> Tensor:
            """Channels-last is refused for five axes (a Swin's masks), which have no layout to change."""
            return fn(value) if value.dim() != 5 else fn(value.flatten(0, 1)).reshape(value.shape)

        super()._apply(each, recurse)
        for name in self._following:
            self._constants[name] = each(self._constants[name])
        return self

    def _keep(self, name: str, dotted: str, value: Any, role: Role) -> None:
        if not isinstance(value, Tensor) or (role == "constant" and value.numel() <= _SMALL):
            self._constants[name] = value
            return
        part: nn.Module = self
        *path, leaf = dotted.split(".")
        for level in path:
            level = _free_name(part, level)
            if level not in part._modules:
                part.add_module(level, Part())
            part = part._modules[level]  # type: ignore[assignment]
        leaf = _free_name(part, leaf)
        while leaf in part._modules:
            leaf += "_"
        if role == "weight":
            part.register_parameter(leaf, nn.Parameter(value))
        else:
            part.register_buffer(leaf, value, persistent=role == "buffer")
        self._places[name] = (part, leaf)
        self.weight_names[".".join([*(level for level in _path_of(self, part)), leaf])] = name

    def train(self, mode: bool = True) -> ImportedGraph:
        """Switch Dropout and BatchNormalization between learning and use."""
        super().train(mode)
        for step in self._steps:
            set_training(step.node, mode)
        return self

    def forward(self, *inputs: Any) -> Any:
        """Run the graph on its inputs, in the order of `input_names`."""
        values = self.run(inputs, self.output_names)
        return values[0] if len(values) == 1 else values

    def run(self, inputs: Sequence[Any], names: Sequence[str]) -> tuple[Any, ...]:
        """Run the graph and return the values of these names."""
        for node, switch in self._switches:
            node.training = switch.training
        values: dict[str, Any] = dict(zip(self.input_names, inputs, strict=True))
        on_host = all(not isinstance(item, Tensor) or item.device.type == "cpu" for item in inputs)
        values.update(self._constants)
        for name, (part, leaf) in self._places.items():
            values[name] = part._parameters[leaf] if leaf in part._parameters else part._buffers[leaf]
        execute(self._steps, values, on_host=on_host)
        return tuple(values[name] for name in names)

    def steps(self) -> list[Any]:
        """The decoded nodes in order, for analysis."""
        return self._steps

    def stored_values(self) -> Mapping[str, Tensor]:
        """Every parameter and buffer by its ONNX name, for writing them back into the graph."""
        return {name: (part._parameters[leaf] if leaf in part._parameters else part._buffers[leaf]) for name, (part, leaf) in self._places.items()}  # type: ignore[misc]


def _in_order_of_use(nodes: Sequence[onnx.NodeProto], names: set[str]) -> list[str]:
    """Order stored tensors by depth: freezing by depth and learning rates by depth go by the order of parameters."""
    order = dict.fromkeys(name for node in nodes for name in node.input if name in names)
    return [*order, *sorted(names - order.keys())]


def _captured(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Names that subgraphs of these nodes read."""
    found: set[str] = set()
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                inner = list(attribute.g.node)
                found |= {name for item in inner for name in item.input} | {value.name for value in attribute.g.output} | _captured(inner)
    return found


def _path_of(root: nn.Module, part: nn.Module) -> list[str]:
    return next(name.split(".") if name else [] for name, module in root.named_modules() if module is part)
