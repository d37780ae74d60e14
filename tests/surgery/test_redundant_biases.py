"""Biases that a norm cancels are found, all others kept; outputs stay in both modes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from surgery_models import assert_same, draw, trained
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normcourse import modules as m
from normcourse.surgery import drop_redundant_biases, find_redundant_biases

IMAGES, ROWS = (3, 3, 6, 5), (6, 3)


class Branches(nn.Module):
    """A forward method of its own: a conv with two norms, one used twice, a shared norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)  # seen by two norms, and by nothing else
        self.left, self.right = nn.BatchNorm2d(4), m.BatchNorm(4)
        self.twice = nn.Conv2d(4, 4, 1)  # also seen by the sum
        self.norm = nn.BatchNorm2d(4)
        self.one, self.two = nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)
        self.shared = nn.BatchNorm2d(5)  # one running mean cannot serve two biases
        self.read = nn.Conv2d(5, 3, 1)
        self.last = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = torch.tanh(self.left(x)) * self.right(x)
        y = self.twice(x)
        x = self.norm(y).relu() + y
        x = self.shared(self.one(x)) * self.shared(self.two(x))
        return self.last(self.read(x)) + self.read.bias[:, None, None]


class Repeated(nn.Module):
    """One conv and norm, called twice, the second time on their own output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.sin(self.norm(self.conv(x)))))


def seq(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "conv": (lambda: seq(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), IMAGES, ["0"]),
    "ours": (lambda: seq(nn.Conv2d(3, 4, 3), m.BatchNorm(4)), IMAGES, ["0"]),
    "linear": (lambda: seq(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), ROWS, ["0"]),
    "transposed": (lambda: seq(nn.ConvTranspose2d(3, 4, 2), m.BatchNorm(4)), IMAGES, ["0"]),
    "standardized": (lambda: seq(m.WSConv2d(3, 4, 3), m.BatchNorm(4)), IMAGES, ["0"]),
    "padded": (lambda: seq(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)), IMAGES, ["0"]),
    "stateless": (
        lambda: seq(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)),
        ROWS,
        ["0"],
    ),
    "cumulative": (lambda: seq(nn.Linear(3, 4), m.BatchNorm(4, momentum=None)), ROWS, ["0"]),
    "ghost": (lambda: seq(nn.Linear(3, 4), m.GhostBatchNorm(4, 3)), ROWS, ["0"]),
    "renorm": (lambda: seq(nn.Linear(3, 4), m.BatchRenorm(4)), ROWS, ["0"]),
    "decorrelated": (lambda: seq(nn.Linear(3, 4), m.DecorrelatedBatchNorm(4)), ROWS, ["0"]),
    "instance": (lambda: seq(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4)), IMAGES, ["0"]),
    "instance_tracking": (
        lambda: seq(nn.Conv2d(3, 4, 3), m.InstanceNorm(4, track_running_stats=True)),
        IMAGES,
        ["0"],
    ),
    "nested": (
        lambda: seq(
            seq(nn.Conv2d(3, 4, 3)),
            seq(seq(nn.BatchNorm2d(4), nn.ReLU()), nn.Conv2d(4, 2, 1)),
            seq(nn.BatchNorm2d(2)),
        ),
        IMAGES,
        ["0.0", "1.1"],
    ),
    "identity_between": (
        lambda: seq(nn.Conv2d(3, 4, 3), nn.Identity(), seq(), m.BatchNorm(4)),
        IMAGES,
        ["0"],
    ),
    "branches": (Branches, IMAGES, ["conv"]),
    "repeated": (Repeated, IMAGES, ["conv"]),
    "residual": (
        lambda: seq(m.PreNorm(seq(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), m.GroupNorm(1, 3))),
        IMAGES,
        ["0.sublayer.0"],
    ),
    "no_bias": (lambda: seq(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), IMAGES, []),
    "relu_between": (
        lambda: seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
        IMAGES,
        [],
    ),
    "dropout_between": (
        lambda: seq(nn.Conv2d(3, 4, 3), nn.Dropout(0.3), nn.BatchNorm2d(4)),
        IMAGES,
        [],
    ),
    "group_norm": (lambda: seq(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), IMAGES, []),
    "layer_norm": (lambda: seq(nn.Linear(3, 4), nn.LayerNorm(4)), ROWS, []),
    "norm_first": (lambda: seq(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), IMAGES, []),
    "last_layer": (lambda: seq(nn.ReLU(), nn.Linear(3, 4)), ROWS, []),
    "linear_over_positions": (
        lambda: seq(nn.Linear(5, 7), nn.BatchNorm1d(3)),
        (4, 3, 5),
        [],
    ),
    "linear_over_pixels": (lambda: seq(nn.Linear(5, 3), nn.BatchNorm2d(3)), IMAGES, []),
    "linear_before_instance": (
        lambda: seq(nn.Linear(5, 3), m.InstanceNorm(3)),
        (4, 3, 5),
        [],
    ),
    "layer_alone": (lambda: nn.Linear(3, 4), ROWS, []),
    "norm_alone": (lambda: m.BatchNorm(3), ROWS, []),
}


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs of a training step and, after it, of inference."""
    torch.manual_seed(0)  # the same dropout
    return model.train()(x), model.eval()(x)


@pytest.mark.parametrize("name", MODELS)
def test_the_right_biases_go_and_the_outputs_stay(name: str) -> None:
    make, shape, expected = MODELS[name]
    model = trained(make())
    x = draw(shape, 3)
    model.train()(x)
    reference = copy.deepcopy(model)
    assert find_redundant_biases(model) == expected
    biases = {key for key in model.state_dict() if key.endswith("bias")}
    assert drop_redundant_biases(model) == expected
    left = {key for key in model.state_dict() if key.endswith("bias")}
    assert biases - left == {f"{layer}.bias" for layer in expected}
    assert_same(model.eval()(x), reference.eval()(x))
    for step in range(3):
        for actual, wanted in zip(
            run(model, draw(shape, step)), run(reference, draw(shape, step)), strict=True
        ):
            assert_same(actual, wanted)
    assert find_redundant_biases(model) == []


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if not row[2]])
def test_a_bias_that_is_kept_matters(name: str) -> None:
    make, shape, _ = MODELS[name]
    model = trained(make())
    x = draw(shape, 3)
    kept = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None
    ]
    before = run(copy.deepcopy(model), x)[0]
    for layer in kept:
        changed = copy.deepcopy(model)
        twin = dict(changed.named_modules())[_name(model, layer)]
        twin.bias.data += draw(tuple(twin.bias.shape), 9)
        assert not torch.allclose(run(changed, x)[0], before)


def _name(model: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is part)


def test_without_the_correction_inference_would_change() -> None:
    model = trained(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).eval()
    x = draw((6, 3), 0)
    naive = copy.deepcopy(model)
    naive[0].bias = None
    assert not torch.allclose(naive(x), model(x))


def test_gradients_of_all_else_stay() -> None:
    model = trained(m.PostActivationBlock(3))
    model.conv1.bias = nn.Parameter(draw((3,), 4))
    reference = copy.deepcopy(model)
    assert drop_redundant_biases(model) == ["conv1"]
    x, upstream = draw((3, 3, 4, 5), 5), draw((3, 3, 4, 5), 6)
    for net in (model, reference):
        net(x).backward(upstream)
    theirs = dict(reference.named_parameters())
    torch.testing.assert_close(
        theirs["conv1.bias"].grad, torch.zeros(3, dtype=torch.float64), rtol=0.0, atol=1e-9
    )
    for key, parameter in model.named_parameters():
        assert_same(parameter.grad, theirs[key].grad)


def test_a_parametrized_bias_is_kept() -> None:
    layer = nn.Linear(3, 4)
    parametrize.register_parametrization(layer, "bias", nn.Tanh())
    assert find_redundant_biases(nn.Sequential(layer, nn.BatchNorm1d(4))) == []


def test_a_bias_shared_with_another_layer_stays_there() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.bias = first.bias
    model = trained(nn.Sequential(first, nn.BatchNorm1d(3), second)).eval()
    x = draw((5, 3), 0)
    before = model(x)
    assert drop_redundant_biases(model) == ["0"]
    assert_same(model(x), before)


def test_a_model_that_cannot_be_followed_is_an_error_and_stays_whole() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) if x.sum() > 0 else x

    model = Odd()
    with pytest.raises(ValueError, match=r"torch.fx can follow, got Odd .*Call this on the parts"):
        drop_redundant_biases(model)
    assert model.body[0].bias is not None
    assert find_redundant_biases(model.body) == ["0"]
