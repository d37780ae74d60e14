"""Against the reference evaluator of ONNX, with the differences of its conventions translated.

What differs, and is tested here: BatchNormalization's momentum weighs the old value and its running
variance is the biased one; GroupNormalization scales per group in opset 18 and per channel from 21;
an even LRN window has its longer half behind the channel; MeanVarianceNormalization adds its
epsilon to the standard deviation, outside the root.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from normcourse import norms

from .cases import Array, assert_close

onnx = pytest.importorskip("onnx", reason="the extra `test` installs onnx")
reference = pytest.importorskip("onnx.reference")


def run(operator: str, opset: int, inputs: list[Array], outputs: int = 1, **options: Any) -> Any:
    """Return what the reference evaluator makes of one operator."""
    names = [f"in{i}" for i in range(len(inputs))]
    results = [f"out{i}" for i in range(outputs)]
    helper, kind = onnx.helper, onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        [helper.make_node(operator, names, results, **options)],
        operator,
        [helper.make_tensor_value_info(name, kind, None) for name in names],
        [helper.make_tensor_value_info(name, kind, None) for name in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found = reference.ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    return found if outputs > 1 else found[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(40)


def parameters(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    return rng.uniform(0.5, 2, size) * rng.choice([-1, 1], size), rng.standard_normal(size)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 4, 3)], ids=str)
def test_batch_normalization_in_training(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = 2 + 3 * rng.standard_normal(shape)
    gamma, beta = parameters(rng, 3)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    y, new_mean, new_var = run(
        "BatchNormalization",
        15,
        [x, gamma, beta, mean, var],
        outputs=3,
        epsilon=0.25,
        momentum=0.75,  # of the old value
        training_mode=1,
    )
    assert_close(norms.batch_norm(x, gamma, beta, eps=0.25), y, 1e-12)
    momentum = norms.to_pytorch_momentum(0.75)
    ours = norms.update_running_stats(mean, var, x, momentum=momentum)
    assert_close(ours[0], new_mean, 1e-12)
    count = x.size // 3
    unbiased = count / (count - 1)  # ONNX stores the biased variance
    assert_close((ours[1] - 0.75 * var) / unbiased + 0.75 * var, new_var, 1e-12)
    assert np.abs(ours[1] - new_var).max() > 1e-3


def test_batch_normalization_in_inference(rng: np.random.Generator) -> None:
    x, (gamma, beta) = rng.standard_normal((2, 3, 4, 5)), parameters(rng, 3)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    y = run("BatchNormalization", 15, [x, gamma, beta, mean, var], epsilon=0.25)
    ours = norms.batch_norm(
        x, gamma, beta, running_mean=mean, running_var=var, training=False, eps=0.25
    )
    assert_close(ours, y, 1e-12)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_and_rms_normalization(rng: np.random.Generator, axis: int) -> None:
    """ONNX names the first normalized axis, PyTorch the sizes of all of them."""
    x = 2 + rng.standard_normal((2, 3, 4))
    shape = x.shape[axis:]
    gamma, beta = rng.uniform(0.5, 2, shape), rng.standard_normal(shape)
    options: Any = {"normalized_shape": shape, "eps": 0.25}
    y = run("LayerNormalization", 17, [x, gamma, beta], axis=axis, epsilon=0.25)
    assert_close(norms.layer_norm(x, gamma, beta, **options), y, 1e-12)
    y = run("RMSNormalization", 23, [x, gamma], axis=axis, epsilon=0.25)
    assert_close(norms.rms_norm(x, gamma, **options), y, 1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_normalization(rng: np.random.Generator, groups: int) -> None:
    x = 2 + rng.standard_normal((2, 6, 4, 5))
    gamma, beta = parameters(rng, 6)
    options = {"num_groups": groups, "epsilon": 0.25}
    double = {"stash_type": onnx.TensorProto.DOUBLE}  # of the statistics; float32 by default
    y = run("GroupNormalization", 21, [x, gamma, beta], **options, **double)
    assert_close(norms.group_norm(x, groups, gamma, beta, eps=0.25), y, 1e-12)
    # Opset 18 has one scale and one bias per group; repeated over its channels they are ours.
    gamma, beta = gamma[:groups], beta[:groups]
    y = run("GroupNormalization", 18, [x, gamma, beta], **options)
    spread = [np.repeat(parameter, 6 // groups) for parameter in (gamma, beta)]
    assert_close(norms.group_norm(x, groups, *spread, eps=0.25), y, 1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 3, 4, 5)], ids=str)
def test_instance_normalization(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x, (gamma, beta) = 2 + rng.standard_normal(shape), parameters(rng, 3)
    y = run("InstanceNormalization", 22, [x, gamma, beta], epsilon=0.25)
    assert_close(norms.instance_norm(x, gamma, beta, eps=0.25), y, 1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_normalization(rng: np.random.Generator, size: int) -> None:
    """As many images as channels: this evaluator counts channels along axis 0 (onnx issue 7805)."""
    x = rng.standard_normal((5, 5, 2, 3))
    y = run("LRN", 13, [x], size=size, alpha=0.9375, beta=0.625, bias=1.5)
    options = {"alpha": 0.9375, "beta": 0.625, "k": 1.5}
    mirrored = norms.local_response_norm(x[:, ::-1], size, **options)[:, ::-1]
    assert_close(mirrored, y, 1e-12)
    same = np.abs(norms.local_response_norm(x, size, **options) - y).max() < 1e-12
    assert same == (size % 2 == 1)


@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3), (1, 2, 3)], ids=str)
def test_mean_variance_normalization(rng: np.random.Generator, axes: tuple[int, ...]) -> None:
    """One operator for BN, IN and LN statistics; its 1e-9 stands outside the root."""
    x = (2 + rng.standard_normal((3, 4, 5, 2))).astype(np.float32)  # the operator's constants
    y = run("MeanVarianceNormalization", 13, [x], axes=list(axes))
    forward = {
        (0, 2, 3): norms.batch_norm,
        (2, 3): norms.instance_norm,
        (1, 2, 3): lambda x, eps: norms.group_norm(x, 1, eps=eps),
    }[axes]
    assert_close(forward(x, eps=0.0), y, 1e-5)  # 1e-9 is nothing beside this std
    y = run("MeanVarianceNormalization", 13, [x * np.float32(1e-9)], axes=list(axes))
    std = np.std(x * 1e-9, axis=axes, keepdims=True, dtype=np.float64)
    assert_close(forward(x, eps=0.0) * std / (std + 1e-9), y, 1e-4)


def test_lp_normalization_is_scale_norm_without_eps(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5))
    y = run("LpNormalization", 1, [x], axis=-1, p=2)
    assert_close(norms.scale_norm(x, eps=0.0), y, 1e-12)
