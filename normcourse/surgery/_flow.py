"""Follow the data through a model with torch.fx: which layer feeds which norm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, fx, nn

from normcourse.modules import DecorrelatedBatchNorm, blocks, placement
from normcourse.surgery._kinds import BATCH_NORMS, INSTANCE_NORMS, LAYERS, Layer, is_layer

_NORMS = (*BATCH_NORMS, *INSTANCE_NORMS, DecorrelatedBatchNorm)
_LOOK_INTO = (
    blocks.ConvNormReLU,
    blocks.PostActivationBlock,
    blocks.PreActivationBlock,
    placement.DeepNorm,
    placement.PostNorm,
    placement.PreNorm,
    placement.ResPostNorm,
    placement.SandwichNorm,
)


class Feed(NamedTuple):
    """A layer whose every output goes to norms that take nothing else."""

    name: str
    layer: Layer
    norms: list[nn.Module]


def feeds(model: nn.Module) -> Iterator[Feed]:
    """Yield the layers whose outputs are seen by norms alone that subtract a mean per channel.

    Raises:
        ValueError: torch.fx cannot follow the model's forward method.
    """
    if isinstance(model, (*LAYERS, *_NORMS)):
        return  # alone, it feeds nothing
    graph = _trace(model)
    calls: dict[nn.Module, list[fx.Node]] = defaultdict(list)
    for node in graph.nodes:
        if node.op == "call_module":
            calls[_module(model, node)].append(node)
    elsewhere = [_attribute(model, node) for node in graph.nodes if node.op == "get_attr"]
    for layer, nodes in calls.items():
        if not is_layer(layer) or any(layer.bias is tensor for tensor in elsewhere):
            continue
        users = [user for node in nodes for user in _users(model, node)]
        norms = list(dict.fromkeys(_module_or_none(model, user) for user in users))
        if norms and all(_only_after(model, norm, layer, calls) for norm in norms):
            yield Feed(str(nodes[0].target), layer, [norm for norm in norms if norm is not None])


def _only_after(
    model: nn.Module,
    norm: nn.Module | None,
    layer: Layer,
    calls: dict[nn.Module, list[fx.Node]],
) -> bool:
    """Whether ``norm`` is one and each of its inputs comes straight from ``layer``."""
    if not isinstance(norm, _NORMS):
        return False
    sources = [_sources(model, node) for node in calls[norm]]
    return all(len(s) == 1 and _module_or_none(model, s[0]) is layer for s in sources)


def _users(model: nn.Module, node: fx.Node) -> Iterator[fx.Node]:
    """Yield the nodes that use the output of ``node``, seeing through nn.Identity."""
    for user in node.users:
        if isinstance(_module_or_none(model, user), nn.Identity):
            yield from _users(model, user)
        else:
            yield user


def _sources(model: nn.Module, node: fx.Node) -> list[fx.Node]:
    """Return the nodes that ``node`` takes its inputs from, seeing through nn.Identity."""
    sources = node.all_input_nodes
    if len(sources) == 1 and isinstance(_module_or_none(model, sources[0]), nn.Identity):
        return _sources(model, sources[0])
    return sources


class _Tracer(fx.Tracer):
    """Takes norms, and layers of ours and of torch, as they are; looks into all else."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, _LOOK_INTO):
            return False
        ours = type(m).__module__.startswith("normcourse.modules.")
        return ours or isinstance(m, _NORMS) or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(model)
    except Exception as error:  # whatever the forward method does with a symbolic input
        raise ValueError(
            f"model: expected a forward method that torch.fx can follow, got {type(model).__name__}"
            f" ({error}). Call this on the parts that can be followed, for example an "
            f"nn.Sequential inside it."
        ) from error


def _module(model: nn.Module, node: fx.Node) -> nn.Module:
    return model.get_submodule(str(node.target))


def _module_or_none(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return _module(model, node) if node.op == "call_module" else None


def _attribute(model: nn.Module, node: fx.Node) -> Tensor | None:
    """Return the parameter or buffer that the forward method reads at ``node``."""
    path, _, name = str(node.target).rpartition(".")
    value = getattr(model.get_submodule(path), name)
    return value if isinstance(value, Tensor) else None
