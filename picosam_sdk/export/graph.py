"""An ONNX graph under edit: look-ups, insertions and shapes, on top of the protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from picosam_sdk.errors import ModelError

__all__ = ["Graph", "Step", "attributes"]

Step = tuple[str, Sequence[str], dict[str, Any]]
"""Operator, inputs after the first, attributes."""


class Graph:
    """Wraps a model; every edit changes the model itself.

    Graphs here have some hundred nodes, so look-ups simply walk over them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self._shapes: dict[str, tuple[int | None, ...]] = {}
        self._made = 0

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes, in order, as a list that stays valid while the graph changes."""
        return list(self.graph.node)

    def of_type(self, *kinds: str) -> list[NodeProto]:
        """The nodes of the given operators."""
        return [node for node in self.graph.node if node.op_type in kinds]

    def producer(self, name: str) -> NodeProto | None:
        """The node that makes a tensor; None for inputs and constants."""
        return next((node for node in self.graph.node if name in node.output), None)

    def consumers(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.graph.node if name in node.input]

    def only_consumer(self, name: str) -> NodeProto | None:
        """The node that reads a tensor, if there is one alone and the tensor is no output."""
        readers = self.consumers(name)
        is_output = any(output.name == name for output in self.graph.output)
        return readers[0] if len(readers) == 1 and not is_output else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant; None for a tensor that is computed."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return numpy_helper.to_array(tensor)
        return None

    def add_constant(self, value: NDArray[Any], hint: str) -> str:
        """Adds a constant and returns its name."""
        name = self.fresh(hint)
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def fresh(self, hint: str) -> str:
        """A name that nothing in the graph has yet."""
        taken = {tensor.name for tensor in self.graph.initializer}
        taken |= {name for node in self.graph.node for name in (node.name, *node.output)}
        while True:
            self._made += 1
            name = f"{hint}_{self._made}"
            if name not in taken:
                return name

    def chain(self, before: NodeProto, source: str, steps: Iterable[Step]) -> str:
        """Inserts single-output nodes one after the other and returns the last one's output.

        Args:
            before: the nodes go directly in front of this one.
            source: first input of the first node.
            steps: the nodes.
        """
        at = self.nodes.index(before)
        for kind, inputs, attributes in steps:
            out = self.fresh(kind)
            node = helper.make_node(kind, [source, *inputs], [out], name=out, **attributes)
            self.graph.node.insert(at, node)
            at, source = at + 1, out
        return source

    def replace_input(self, old: str, new: str, nodes: Iterable[NodeProto] | None = None) -> None:
        """Makes nodes (all, unless some are named) read another tensor."""
        for node in self.graph.node if nodes is None else nodes:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def remove(self, *nodes: NodeProto) -> None:
        """Takes nodes out; what read them is the caller's business."""
        for node in nodes:
            self.graph.node.remove(node)

    def prune(self) -> None:
        """Removes nodes and constants that nothing reads."""
        wanted = {output.name for output in self.graph.output}
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
            else:
                self.graph.node.remove(node)
        for tensor in list(self.graph.initializer):
            if tensor.name not in wanted:
                self.graph.initializer.remove(tensor)

    def infer_shapes(self) -> None:
        """Works out all shapes anew, after edits."""
        del self.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(self.model, strict_mode=True).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self._shapes = {
            value.name: tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in value.type.tensor_type.shape.dim
            )
            for value in values
        }
        self._shapes |= {tensor.name: tuple(tensor.dims) for tensor in self.graph.initializer}

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Shape as of the last :meth:`infer_shapes`; None for the batch. Empty if unknown."""
        return self._shapes.get(name, ())

    def picture(self, name: str) -> tuple[int, int, int]:
        """Channels, height and width of a tensor (N, C, H, W).

        Raises:
            ModelError: it is not such a tensor, or its size is not fixed.
        """
        shape = self.shape(name)
        fixed = [size for size in shape[1:] if size]
        if len(shape) != 4 or len(fixed) != 3:
            raise ModelError(
                f"expected a tensor (N, C, H, W) of fixed size at '{name}', got {shape}",
                hint="Export the model with 'picosam export'.",
            )
        return fixed[0], fixed[1], fixed[2]


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
