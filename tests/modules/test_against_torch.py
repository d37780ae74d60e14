"""Our modules and torch's are the same function with the same state."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from module_twins import FLOATS, LAYERS, TWINS, Twin, assert_close, draw, randomized, train
from torch import nn

from normcourse import modules as ours


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_outputs_gradients_and_state_over_several_steps(twin: Twin, dtype: torch.dtype) -> None:
    module, reference = twin.pair(dtype)
    actual, expected = train(module, twin.shape, dtype), train(reference, twin.shape, dtype)
    assert len(actual) == len(expected)
    for mine, theirs in zip(actual, expected, strict=True):
        assert_close(mine, theirs, dtype, twin.scale if dtype == torch.float32 else 1.0)


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_state_fits_both_ways(twin: Twin) -> None:
    module, reference = twin.make(), twin.make_torch()
    state, torch_state = module.state_dict(), reference.state_dict()
    assert list(state) == list(torch_state)
    for name, tensor in state.items():
        assert tensor.shape == torch_state[name].shape
        assert tensor.dtype == torch_state[name].dtype
        if not twin.name.startswith(("weight_norm", "spectral_norm")):  # drawn at random
            torch.testing.assert_close(tensor, torch_state[name])
    donor = randomized(twin.make(), torch.float32)
    reference.load_state_dict(donor.state_dict(), strict=True)
    module.load_state_dict(reference.state_dict(), strict=True)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, donor.state_dict()[name], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("twin", LAYERS, ids=str)
def test_loads_a_checkpoint_without_metadata(twin: Twin) -> None:
    plain = dict(randomized(twin.make_torch(), torch.float32).state_dict())
    module = twin.make()
    module.load_state_dict(plain, strict=True)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, plain[name])


@pytest.mark.parametrize("twin", LAYERS, ids=str)
def test_copies_and_pickles_are_equal_and_independent(twin: Twin) -> None:
    module, _ = twin.pair(torch.float64)
    module(draw(twin.shape, 0))
    clones = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    x = draw(twin.shape, 1)
    outputs = [clone(x) for clone in clones]
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0.0, atol=0.0)
    expected = module(x)
    for y in outputs:
        torch.testing.assert_close(y, expected, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("twin", LAYERS, ids=str)
def test_non_contiguous_inputs(twin: Twin, training: bool) -> None:
    module, reference = twin.pair(torch.float64)
    wide = draw((*twin.shape[:-1], 2 * twin.shape[-1]), 3)
    transposed = draw((*twin.shape[::-1],), 4).permute(*reversed(range(len(twin.shape))))
    for x in (wide[..., ::2], transposed):
        actual, expected = module.train(training)(x), reference.train(training)(x.contiguous())
        assert_close(actual, expected, torch.float64)


@pytest.mark.parametrize("twin", LAYERS, ids=str)
def test_input_is_left_alone_and_needs_no_gradient(twin: Twin) -> None:
    module, _ = twin.pair(torch.float64)
    x = draw(twin.shape, 5)
    kept = x.clone()
    with torch.inference_mode():
        module.eval()(x)
    torch.testing.assert_close(x, kept, rtol=0.0, atol=0.0)


# torch's InstanceNorm fails on an empty batch if it has parameters, and tracks NaN if it tracks.
EMPTY_IS_FINE = [
    twin for twin in LAYERS if not twin.name.startswith(("instance_norm-a", "instance_norm-t"))
]


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("twin", EMPTY_IS_FINE, ids=str)
def test_empty_batch(twin: Twin, training: bool) -> None:
    module, reference = twin.pair(torch.float64)
    module.train(training), reference.train(training)
    y, expected = module(draw((0, *twin.shape[1:]), 0)), reference(draw((0, *twin.shape[1:]), 0))
    assert y.shape == expected.shape
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, reference.state_dict()[name])


def test_empty_batch_leaves_the_running_statistics_of_instance_norm_alone() -> None:
    module = ours.InstanceNorm(3, affine=True, track_running_stats=True)
    x = torch.zeros(0, 3, 4, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(module.running_mean, torch.zeros(3))
    torch.testing.assert_close(module.running_var, torch.ones(3))
    torch.testing.assert_close(module.weight.grad, torch.zeros(3))


ONE_VALUE = [
    ("batch_norm", lambda m: m.BatchNorm(3), lambda: nn.BatchNorm2d(3), (1, 3, 1, 1)),
    (
        "batch_norm-stateless-inference",
        lambda m: m.BatchNorm(3, track_running_stats=False).eval(),
        lambda: nn.BatchNorm1d(3, track_running_stats=False).eval(),
        (1, 3),
    ),
    ("instance_norm", lambda m: m.InstanceNorm(3), lambda: nn.InstanceNorm2d(3), (2, 3, 1, 1)),
    (
        "instance_norm-inference",
        lambda m: m.InstanceNorm(3).eval(),
        lambda: nn.InstanceNorm1d(3).eval(),
        (2, 3, 1),
    ),
    ("group_norm", lambda m: m.GroupNorm(3, 3), lambda: nn.GroupNorm(3, 3), (1, 3, 1)),
    ("group_norm-2d", lambda m: m.GroupNorm(3, 3).eval(), lambda: nn.GroupNorm(3, 3), (1, 3)),
]


@pytest.mark.parametrize(
    ("make", "make_torch", "shape"), [row[1:] for row in ONE_VALUE], ids=[r[0] for r in ONE_VALUE]
)
def test_one_value_is_an_error_where_it_is_one_in_torch(make, make_torch, shape) -> None:
    with pytest.raises(ValueError, match="more than 1"):
        make_torch()(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected more than 1 .* got shape \("):
        make(ours)(torch.zeros(shape))


def test_one_value_is_fine_where_it_is_fine_in_torch() -> None:
    x = draw((1, 3, 1, 1), 0)
    for module, reference in (
        (ours.BatchNorm(3).double().eval(), nn.BatchNorm2d(3).double().eval()),
        (
            ours.InstanceNorm(3, track_running_stats=True).double().eval(),
            nn.InstanceNorm2d(3, track_running_stats=True).double().eval(),
        ),
        (ours.GroupNorm(1, 3).double(), nn.GroupNorm(1, 3).double()),
    ):
        torch.testing.assert_close(module(x), reference(x))


def test_one_example_with_positions_is_instance_norm() -> None:
    x = draw((1, 3, 4, 5), 0)
    batch, instance = ours.BatchNorm(3).double(), ours.InstanceNorm(3).double()
    torch.testing.assert_close(batch(x), instance(x), rtol=0.0, atol=1e-12)


def test_default_eps_of_rms_norm_differs_from_torch_as_documented() -> None:
    assert ours.RMSNorm(3).eps == 1e-5
    assert nn.RMSNorm(3).eps is None


def test_instance_norm_counts_no_batches_as_torch() -> None:
    module = ours.InstanceNorm(3, track_running_stats=True)
    reference = nn.InstanceNorm1d(3, track_running_stats=True)
    for layer in (module, reference):
        layer(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)))
        assert int(layer.num_batches_tracked) == 0


@pytest.mark.parametrize("kind", [ours.BatchNorm, ours.InstanceNorm, ours.GroupNorm])
def test_bias_can_be_left_out(kind) -> None:
    size = (3, 3) if kind is ours.GroupNorm else (3,)
    module = kind(*size, affine=True, bias=False)
    assert module.bias is None
    assert "bias" not in module.state_dict()
    module.weight.data.fill_(2.0)
    full = kind(*size, affine=True)
    full.weight.data.fill_(2.0)
    x = draw((4, 3, 5), 0, torch.float32)
    torch.testing.assert_close(module(x), full(x))


@pytest.mark.parametrize("name", ["BatchNorm", "InstanceNorm"])
def test_reset_parameters_gives_a_new_layer(name: str) -> None:
    kind = getattr(ours, name)
    module = kind(3, affine=True, track_running_stats=True)
    randomized(module, torch.float32)
    module(draw((4, 3, 5), 0, torch.float32))
    module.reset_parameters()
    for key, tensor in kind(3, affine=True, track_running_stats=True).state_dict().items():
        torch.testing.assert_close(module.state_dict()[key], tensor)
