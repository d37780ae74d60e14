"""What runs beside a PyTorch answer: arrays in, named arrays, text or yes and no out.

Layers, models, optimizers and batches are made in here from arrays and short descriptions. Where a
layer cannot be tried at all, :class:`Unusable` says why in words for the learner.

The file stands alone (standard library, NumPy and torch).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Inputs = dict[str, Any]
Probe = Callable[[Any, Inputs], Any]

PROBES: dict[str, Probe] = {}


class Unusable(Exception):
    """What came back cannot be tried; the text is a message to the learner."""


def _probe(name: str) -> Callable[[Probe], Probe]:
    """Register a probe; gradient mode, random numbers and threads are afterwards as before."""

    def register(function: Probe) -> Probe:
        def probe(answer: Any, inputs: Inputs) -> Any:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # for arrays this small, threads cost more than they give
            try:
                with torch.random.fork_rng(devices=[]), torch.enable_grad():
                    torch.manual_seed(0)
                    return function(answer, inputs)
            finally:
                torch.set_num_threads(threads)

        PROBES[f"torch:{name}"] = probe
        return probe

    return register


# ---------------------------------------------------------------- one layer


@_probe("layer output")
def layer_output(answer: Any, inputs: Inputs) -> Any:
    """Return what a layer makes of x after its training batches, in the mode asked for."""
    _, y = _run(answer, inputs)
    return {"y": _array(y, "y")}


@_probe("layer state")
def layer_state(answer: Any, inputs: Inputs) -> Any:
    """Return the running statistics after the training batches and x."""
    layer, _ = _run(answer, inputs)
    return {name: _array(_tensor_of(layer, name), name) for name in _STATISTICS}


@_probe("layer count")
def layer_count(answer: Any, inputs: Inputs) -> Any:
    """Return how many training batches a layer says it has seen."""
    layer, _ = _run(answer, inputs)
    return {"num_batches_tracked": _array(_tensor_of(layer, "num_batches_tracked"), "the count")}


@_probe("layer gradient")
def layer_gradient(answer: Any, inputs: Inputs) -> Any:
    """Return the gradients of sum(dy · y) with respect to x and the parameters, if there are."""
    layer = _layer(answer, inputs)
    leaf = _tensor(inputs["x"]).requires_grad_()
    y = _as_tensor(_in_mode(layer, inputs)(leaf.clone()), "y")
    if not y.requires_grad:
        raise Unusable("y carries no gradient: it is cut off from x. Compute it outside no_grad.")
    names = [name for name in ("weight", "bias") if name in inputs]
    wanted = [leaf, *(_tensor_of(layer, name) for name in names)]
    loss = (y * _tensor(inputs["dy"])).sum()
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    gradients = [
        torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)
    ]
    return {f"d{name}": _array(g, name) for name, g in zip(["x", *names], gradients, strict=True)}


@_probe("layer state dict")
def layer_state_dict(answer: Any, inputs: Inputs) -> Any:
    """Return what a fresh layer saves and what an optimizer gets of it, as text."""
    layer = _made(answer, inputs)
    parameters = sorted(name for name, _ in layer.named_parameters())
    return {"state_dict": _shapes(layer.state_dict()), "parameters": _listed(parameters)}


@_probe("layer saves")
def layer_saves(answer: Any, inputs: Inputs) -> Any:
    """Return whether a layer saves its running statistics, and whether an optimizer gets them."""
    layer = _made(answer, inputs)
    saved, trained = layer.state_dict(), dict(layer.named_parameters())
    return {
        "statistics are saved": all(name in saved for name in _STATISTICS),
        "statistics are parameters": any(name in trained for name in _STATISTICS),
    }


@_probe("layer loads")
def layer_loads(answer: Any, inputs: Inputs) -> Any:
    """Return what a layer computes in inference mode with the weights of nn.BatchNorm2d."""
    source = nn.BatchNorm2d(inputs["weight"].size).to(_tensor(inputs["x"]).dtype)
    _set_state(source, inputs)
    layer = _made(answer, inputs).to(_tensor(inputs["x"]).dtype)
    try:
        layer.load_state_dict(source.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise Unusable(f"load_state_dict refuses what nn.BatchNorm2d saved: {reason}") from None
    return {"y": _array(layer.eval()(_tensor(inputs["x"])), "y")}


@_probe("layer copies")
def layer_copies(answer: Any, inputs: Inputs) -> Any:
    """Return whether a layer that was trained a step can be copied, and what its buffers carry."""
    layer = _made(answer, inputs).train()
    leaf = _tensor(inputs["x"]).to(torch.float32).requires_grad_()
    layer(leaf.clone())
    carries = any(_tensor_of(layer, name).requires_grad for name in _STATISTICS)
    try:
        copy.deepcopy(layer)
        copied = True
    except (RuntimeError, TypeError):
        copied = False
    return {"statistics carry a gradient": carries, "can be copied": copied}


_STATISTICS = ("running_mean", "running_var")
_STATE = ("weight", "bias", *_STATISTICS)


def _run(answer: Any, inputs: Inputs) -> tuple[nn.Module, Any]:
    """Train a layer on the batches, if there are any, then apply it to x in the mode asked for."""
    layer = _layer(answer, inputs)
    for batch in inputs.get("batches", ()):
        layer.train()(_tensor(batch))
    with torch.set_grad_enabled(inputs.get("gradients", True)):
        return layer, _in_mode(layer, inputs)(_tensor(inputs["x"]))


def _layer(answer: Any, inputs: Inputs) -> nn.Module:
    """Return a new layer in the dtype of x that holds the parameters and statistics given."""
    layer = _made(answer, inputs).to(_tensor(inputs["x"]).dtype)
    _set_state(layer, inputs)
    return layer


def _in_mode(layer: nn.Module, inputs: Inputs) -> nn.Module:
    return layer.train(inputs["mode"] == "training")


def _set_state(layer: nn.Module, inputs: Inputs) -> None:
    for name in _STATE:
        if name in inputs:
            _put(_tensor_of(layer, name), inputs[name], name)


def _tensor_of(layer: nn.Module, name: str) -> Tensor:
    value = getattr(layer, name, None)
    if not isinstance(value, Tensor):
        raise Unusable(f"the layer has no `{name}` that is a tensor.")
    return value


# ---------------------------------------------------------------- one block of a network


@_probe("block output")
def block_output(answer: Any, inputs: Inputs) -> Any:
    """Return what a block makes of x; convolutions and norms are filled in order of use."""
    block = _block(answer, inputs)
    return {"y": _array(_in_mode(block, inputs)(_tensor(inputs["x"])), "y")}


@_probe("block gradient")
def block_gradient(answer: Any, inputs: Inputs) -> Any:
    """Return the gradients of sum(dy · y) with respect to x and the last norm's scale."""
    block = _block(answer, inputs)
    leaf = _tensor(inputs["x"]).requires_grad_()
    y = _as_tensor(_in_mode(block, inputs)(leaf.clone()), "y")
    last = _used(block, inputs)[1][-1:]
    wanted = [leaf, *(_tensor_of(norm, "weight") for norm in last)]
    found = torch.autograd.grad((y * _tensor(inputs["dy"])).sum(), wanted, allow_unused=True)
    dx, *dgamma = [
        torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)
    ]
    if not dgamma:
        raise Unusable("the block uses no norm.")
    return {"dx": _array(dx, "dx"), "gradient of the last gamma": _array(dgamma[0], "gamma")}


@_probe("block facts")
def block_facts(answer: Any, inputs: Inputs) -> Any:
    """Return the shapes of a block's parameters, as text."""
    block = _made(answer, inputs)
    shapes = sorted(str(tuple(p.shape)) for p in block.parameters())
    return {"shapes of the parameters": _listed(shapes)}


@_probe("sequence facts")
def sequence_facts(answer: Any, inputs: Inputs) -> Any:
    """Return what kind of module came and the shapes of its parameters, as text."""
    block = _made(answer, inputs)
    kind = "nn.Sequential" if isinstance(block, nn.Sequential) else type(block).__name__
    return {"kind of module": kind, **block_facts(lambda *unused: block, inputs)}


def _block(answer: Any, inputs: Inputs) -> nn.Module:
    """Return a new block, filled: the k-th convolution in use gets the k-th weights and so on.

    ``convolutions``: list of weights, ``bias``: list for those that have one; ``norms``: list of
    (4, C) arrays, gamma, beta, mean and variance. Without ``norms`` they stay as they were made.
    """
    block = _made(answer, inputs).to(_tensor(inputs["x"]).dtype)
    convolutions, norms = _used(block, inputs)
    for module, weight in zip(convolutions, inputs["convolutions"], strict=False):
        _put(_tensor_of(module, "weight"), weight, "weight")
        if isinstance(module.bias, Tensor):
            _put(module.bias, np.linspace(-1.0, 2.0, len(weight)), "bias")
    for module, values in zip(norms, inputs.get("norms", ()), strict=False):
        for name, value in zip(_STATE, values, strict=True):
            if isinstance(getattr(module, name, None), Tensor):
                _put(getattr(module, name), value, name)
    return block


def _used(block: nn.Module, inputs: Inputs) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the convolutions and the norms of a block in the order in which it calls them."""
    convolutions: list[nn.Module] = []
    norms: list[nn.Module] = []

    def note(module: nn.Module, *unused: Any) -> None:
        weight = getattr(module, "weight", None)
        kind = convolutions if isinstance(weight, Tensor) and weight.ndim > 1 else norms
        if module not in kind:
            kind.append(module)

    leaves = [m for m in block.modules() if isinstance(m, _LAYERS) or hasattr(m, "running_mean")]
    hooks = [module.register_forward_hook(note) for module in leaves]
    was_training = [(module, module.training) for module in block.modules()]
    with torch.no_grad():
        block.eval()(_tensor(inputs["x"]))
    for module, training in was_training:
        module.training = training
    for hook in hooks:
        hook.remove()
    return convolutions, norms


_LAYERS = (nn.Conv2d, nn.GroupNorm)


# ---------------------------------------------------------------- whole models


@_probe("evaluate")
def evaluate(answer: Any, inputs: Inputs) -> Any:
    """Hand over a model and x; return the predictions and what became of the model."""
    model = build(inputs["net"])
    for name, mode in inputs["modes"].items():
        model.get_submodule(name).train(mode == "training")
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.set_grad_enabled(inputs["gradients"]):
        y = _as_tensor(answer(model, _tensor(inputs["x"])), "the answer")
        gradients = torch.is_grad_enabled()
    buffers = dict(model.named_buffers())
    modes = {name: "training" if m.training else "inference" for name, m in model.named_modules()}
    return {
        "y": _array(y, "y"),
        "modes": _listed([f"{name or 'the model'} {mode}" for name, mode in modes.items()]),
        "buffers as before": all(torch.equal(buffers[name], before[name]) for name in before),
        "y holds on to a graph": y.requires_grad,
        "gradients are recorded afterwards": gradients,
        "parameters can be trained": all(p.requires_grad for p in model.parameters()),
    }


class Descent:
    """Plain gradient descent, used as torch.optim.SGD is, which takes seconds to load.

    Args:
        parameters: what is trained; those without a gradient stay.
        lr: learning rate.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self._parameters, self._lr = list(parameters), lr

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter against its gradient."""
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter -= self._lr * parameter.grad


@_probe("train and validate")
def train_and_validate(answer: Any, inputs: Inputs) -> Any:
    """Train a small net for some epochs; return the losses and what the net has learned."""
    model = build(inputs["net"])
    optimizer = Descent(model.parameters(), inputs["lr"])
    batches = [_pairs(inputs[f"{which}_x"], inputs[f"{which}_y"]) for which in ("train", "val")]
    losses = answer(model, optimizer, *batches, inputs["epochs"])
    if not isinstance(losses, list | tuple | Tensor | np.ndarray):
        raise Unusable(f"expected a list with a loss per epoch, got {type(losses).__name__}.")
    return {"losses": np.array([float(loss) for loss in losses]), **_learned(model)}


@_probe("fine tune")
def fine_tune(answer: Any, inputs: Inputs) -> Any:
    """Train a head on a backbone; return what became of both."""
    backbone, head = build(inputs["backbone"]), build(inputs["head"])
    optimizer = Descent([*backbone.parameters(), *head.parameters()], inputs["lr"])
    answer(backbone, head, optimizer, _pairs(inputs["train_x"], inputs["train_y"]))
    parts = {"backbone": _learned(backbone), "head": _learned(head)}
    return {f"{part} {name}": v for part, values in parts.items() for name, v in values.items()}


@_probe("drop biases")
def drop_biases(answer: Any, inputs: Inputs) -> Any:
    """Let the answer change a model; return which biases are left and what it computes then."""
    model = build(inputs["net"]).to(_tensor(inputs["x"]).dtype)
    answer(model)
    left = [
        name if module.bias.any() else f"{name} (zeros)"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None
    ]
    outputs = {}
    for mode in ("inference", "training"):
        torch.manual_seed(1)
        y = model.train(mode == "training")(_tensor(inputs["x"]))
        outputs[f"y in {mode} mode"] = _array(y, "y")
    return {"biases left": _listed(left), **outputs}


def build(description: list[Any]) -> nn.Sequential:
    """Return a net of layers named in words, with fixed weights; a list is a nested net.

    Example:
        >>> net = build(["linear 2 3", ["norm1d 3", "relu"]])
        >>> [type(part).__name__ for part in net], type(net[1][0]).__name__
        (['Linear', 'Sequential'], 'BatchNorm1d')
    """
    net = nn.Sequential(*(_named(word) for word in description))
    return _filled(net.double())


def _named(word: Any) -> nn.Module:
    if isinstance(word, list | tuple):
        return nn.Sequential(*(_named(inner) for inner in word))
    words = str(word).split()
    sizes = [int(part) for part in words if part.isdecimal()]
    kind = " ".join(part for part in words if not part.isdecimal())
    return _KINDS[kind](*sizes)


_KINDS: dict[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "conv": lambda i, o: nn.Conv2d(i, o, 3, padding=1),
    "conv without bias": lambda i, o: nn.Conv2d(i, o, 3, padding=1, bias=False),
    "norm": nn.BatchNorm2d,
    "norm without statistics": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "norm without affine": lambda c: nn.BatchNorm2d(c, affine=False),
    "norm1d": nn.BatchNorm1d,
    "group norm": lambda c: nn.GroupNorm(1, c),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "dropout": lambda: nn.Dropout(0.5),
    "flatten": nn.Flatten,
    "pool": lambda: nn.AdaptiveAvgPool2d(1),
}


def _filled(net: nn.Sequential) -> nn.Sequential:
    """Give every parameter and statistic a value that depends on its place alone."""
    with torch.no_grad():
        for place, (name, value) in enumerate(net.state_dict().items()):
            steps = torch.arange(value.numel(), dtype=torch.float64).view(value.shape)
            wave = torch.sin(1.3 + 2.1 * steps + 0.7 * place)
            if name.endswith("running_var"):
                value.copy_(1.5 + wave)
            elif value.is_floating_point():
                value.copy_(0.3 + wave if value.ndim == 1 else wave)
    return net


def _learned(net: nn.Module) -> dict[str, Any]:
    """Return a net's parameters and statistics as two vectors; the counts belong to the latter."""
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    statistics = torch.cat(
        [b.flatten().double() for b in net.buffers()] or [torch.zeros(0).double()]
    )
    return {"weights": _array(weights, "weights"), "statistics": _array(statistics, "statistics")}


def _pairs(xs: list[Any], ys: list[Any]) -> list[tuple[Tensor, Tensor]]:
    return [(_tensor(x), _tensor(y)) for x, y in zip(xs, ys, strict=True)]


# ---------------------------------------------------------------- arrays and tensors


def _made(answer: Any, inputs: Inputs) -> nn.Module:
    """Return what the answer makes of its sizes and options, which must be a module."""
    module = answer(*(inputs[name] for name in _ARGUMENTS if name in inputs))
    if not isinstance(module, nn.Module):
        raise Unusable(
            f"expected an nn.Module, got {type(module).__name__}. Does the class derive from "
            "nn.Module, does the function return what it built?"
        )
    return module


_ARGUMENTS = ("num_features", "in_channels", "out_channels", "channels", "eps", "momentum")


def _put(tensor: Tensor, value: Any, name: str) -> None:
    """Copy an array into a parameter or buffer; axes of size 1 may be more or fewer."""
    new = _tensor(value)
    if _without_ones(tensor.shape) != _without_ones(new.shape):
        shapes = f"{tuple(tensor.shape)}, expected {tuple(new.shape)}"
        raise Unusable(f"`{name}` has shape {shapes}.")
    with torch.no_grad():
        tensor.copy_(new.view(tensor.shape))


def _without_ones(shape: Any) -> list[int]:
    return [size for size in shape if size != 1]


def _tensor(array: Any) -> Tensor:
    """Return a tensor that shares the array's memory, so that a change of it is seen."""
    return torch.from_numpy(array)


def _as_tensor(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise Unusable(f"{name} is of type {type(value).__name__}, expected a tensor.")
    return value


def _array(value: Any, name: str) -> Any:
    return _as_tensor(value, name).detach().numpy().copy()


def _shapes(state: dict[str, Tensor]) -> str:
    return _listed([f"{name} {tuple(state[name].shape)}" for name in sorted(state)])


def _listed(names: list[str] | Iterator[str]) -> str:
    return ", ".join(names) or "none"
