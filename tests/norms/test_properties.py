"""What must hold for any data: identities, moments, and what gradients cannot contain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from normcourse import norms
from normcourse.norms import core

from .cases import Array, assert_close

settings.register_profile("norms", derandomize=True, deadline=None, max_examples=40, database=None)
always = settings(settings.get_profile("norms"))

# Eighths: sums are exact, and a variance is either 0 or far from it.
eighths = st.integers(-400, 400).map(lambda whole: whole / 8)


def data(shape: object) -> st.SearchStrategy[Array]:
    """Return arrays of eighths between -50 and 50."""
    return arrays(np.float64, shape, elements=eighths)


def images(min_dims: int = 3) -> st.SearchStrategy[Array]:
    """Return arrays of shape (N, C, *) with up to 5 axes."""
    return data(array_shapes(min_dims=min_dims, max_dims=5, min_side=1, max_side=4))


def like(x: Array, seed: int) -> Array:
    """Return random values in the shape of x."""
    return np.random.default_rng(seed).standard_normal(x.shape)


@always
@given(images(2))
def test_one_group_has_the_statistics_of_layer_norm(x: Array) -> None:
    dy, whole = like(x, 0), x.shape[1:]
    assert_close(norms.group_norm(x, 1), norms.layer_norm(x, normalized_shape=whole), 1e-12)
    expected = norms.layer_norm_backward(dy, x, normalized_shape=whole)[0]
    assert_close(norms.group_norm_backward(dy, x, 1)[0], expected, 1e-11)


@always
@given(images())
def test_groups_of_one_channel_are_instance_norm(x: Array) -> None:
    dy, groups = like(x, 1), norms.groups_for("instance", x.shape[1])
    gamma = np.linspace(-1, 2, x.shape[1])
    assert_close(norms.group_norm(x, groups, gamma), norms.instance_norm(x, gamma), 1e-12)
    found = norms.group_norm_backward(dy, x, groups, gamma)
    for mine, other in zip(found, norms.instance_norm_backward(dy, x, gamma), strict=True):
        assert_close(mine, other, 1e-11)


@always
@given(images())
def test_instance_norm_is_batch_norm_of_each_image_alone(x: Array) -> None:
    dy = like(x, 2)
    alone = np.concatenate([norms.batch_norm(image[None]) for image in x])
    assert_close(norms.instance_norm(x), alone, 1e-12)
    each = [norms.batch_norm_backward(d[None], image[None]) for d, image in zip(dy, x, strict=True)]
    dx, dgamma, dbeta = norms.instance_norm_backward(dy, x)
    assert_close(dx, np.concatenate([parts[0] for parts in each]), 1e-11)
    assert_close(dgamma, sum(parts[1] for parts in each), 1e-11)
    assert_close(dbeta, sum(parts[2] for parts in each), 1e-11)


@always
@given(images())
def test_positions_are_more_examples_for_batch_norm(x: Array) -> None:
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    y = np.moveaxis(norms.batch_norm(x), 1, -1).reshape(rows.shape)
    assert_close(y, norms.batch_norm(rows), 1e-12)


@always
@given(images(2), st.integers(1, 6))
def test_ghosts_are_batches(x: Array, size: int) -> None:
    parts = [norms.batch_norm(x[start : start + size]) for start in range(0, len(x), size)]
    assert_close(norms.ghost_batch_norm(x, size), np.concatenate(parts), 0)
    assert_close(norms.ghost_batch_norm(x, len(x) + size), norms.batch_norm(x), 0)


@always
@given(images(2))
def test_renorm_lies_between_training_and_inference(x: Array) -> None:
    mean, var = np.linspace(-1, 1, x.shape[1]), np.linspace(0.5, 4, x.shape[1])
    nearest = norms.batch_renorm(x, mean, var, r_max=1.0, d_max=0.0)
    assert_close(nearest, norms.batch_norm(x), 1e-12)
    unbound = norms.batch_renorm(x, mean, var, r_max=1e6, d_max=1e6)
    inference = norms.batch_norm(x, running_mean=mean, running_var=var, training=False)
    assert_close(unbound, inference, 1e-10)


@always
@given(data((3, 4, 2)), arrays(np.bool_, (3, 4)))
def test_masked_statistics_are_those_of_the_real_tokens(x: Array, mask: Array) -> None:
    y = norms.masked_batch_norm(x, mask)
    assert_close(y[mask], norms.batch_norm(x[mask]), 0)
    assert not y[~mask].any()
    flat = norms.batch_norm(x.reshape(12, 2)).reshape(x.shape)
    assert_close(norms.masked_batch_norm(x, np.ones_like(mask)), flat, 1e-12)


@always
@given(data((9, 3)), st.lists(st.integers(0, 9), max_size=4))
def test_merged_moments_are_those_of_the_union(x: Array, cuts: list[int]) -> None:
    parts = np.split(x, sorted(cuts))
    counts = [len(part) for part in parts]
    nothing = np.full(3, np.nan)  # the moments of no values do not matter
    means = [part.mean(0) if len(part) else nothing for part in parts]
    variances = [part.var(0) if len(part) else nothing for part in parts]
    mean, var = norms.merge_moments(counts, means, variances)
    assert_close(mean, x.mean(0), 1e-13)
    assert_close(var, x.var(0), 1e-13)


@always
@given(
    st.lists(st.lists(eighths, max_size=5), min_size=1, max_size=5).filter(any),
    st.sampled_from([0.0, 1e9]),
)
def test_streamed_variance(chunks: list[list[float]], offset: float) -> None:
    values = np.concatenate(chunks)
    stream = (np.asarray(chunk) + offset for chunk in chunks)  # can be read once
    assert_close(norms.stable_variance(stream), values.var(), 1e-12)


POOLED = {
    "batch_norm": (norms.batch_norm, (0, 2)),
    "layer_norm": (norms.layer_norm, (2,)),
    "instance_norm": (norms.instance_norm, (2,)),
    "group_norm": (lambda x, eps: norms.group_norm(x, 1, eps=eps), (1, 2)),
}


@pytest.mark.parametrize("name", POOLED)
@always
@given(data((3, 4, 5)), st.sampled_from([0.0, 1e-5, 0.3]))
def test_moments_of_the_output(name: str, x: Array, eps: float) -> None:
    """The mean is 0 and the variance var / (var + eps), never quite 1."""
    forward, axis = POOLED[name]
    y, var = forward(x, eps=eps), x.var(axis)
    assert_close(y.mean(axis), np.zeros_like(var), 1e-13)
    expected = np.divide(var, var + eps, out=np.zeros_like(var), where=var > 0)
    assert_close(y.var(axis), expected, 1e-12)


@always
@given(data((3, 5)), st.sampled_from([0.0, 1e-5, 0.3]))
def test_mean_square_of_rms_norm(x: Array, eps: float) -> None:
    square = np.mean(x**2, axis=-1)
    expected = np.divide(square, square + eps, out=np.zeros_like(square), where=square > 0)
    assert_close(np.mean(norms.rms_norm(x, eps=eps) ** 2, axis=-1), expected, 1e-12)
    unit = norms.scale_norm(x, np.sqrt(5.0), eps=5 * eps)
    assert_close(unit, norms.rms_norm(x, eps=eps), 1e-12)


@always
@given(data((3, 4, 5)), st.sampled_from([0.0, 1e-5, 0.3]), st.sampled_from([(0, 2), (2,), (1, 2)]))
def test_what_a_gradient_cannot_contain(x: Array, eps: float, axis: tuple[int, ...]) -> None:
    """Nothing along a common shift; along x_hat only what eps leaves."""
    out = core.standardize(x, axis, eps)
    dx_hat = like(x, 3)
    dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axis)
    mean = {"axis": axis, "keepdims": True}
    assert_close(np.mean(dx, **mean), np.zeros_like(out.mean), 1e-13)
    var = x.var(**mean)
    share = np.divide(eps, var + eps, out=np.zeros_like(var), where=var > 0)
    remainder = out.inv_std * np.mean(dx_hat * out.x_hat, **mean) * share
    assert_close(np.mean(dx * out.x_hat, **mean), remainder, 1e-12)
    if eps == 0:
        assert_close(np.mean(dx * out.x_hat, **mean), np.zeros_like(var), 1e-13)


@always
@given(data((6, 3)), data((4, 3)), st.sampled_from([0.01, 0.5, 7.0, 300.0]))
def test_weights_before_batch_norm_have_no_scale(x: Array, w: Array, factor: float) -> None:
    """At eps = 0: same output, gradient over the factor, and none along the weight itself."""
    dy = np.random.default_rng(4).standard_normal((6, 4))

    def gradient(weight: Array) -> Array:
        return norms.batch_norm_backward(dy, x @ weight.T, eps=0.0)[0].T @ x

    z = x @ w.T
    varied = z.var(axis=0) > 0  # other rows are 0 but for rounding
    y, scaled = norms.batch_norm(z, eps=0.0), norms.batch_norm(factor * z, eps=0.0)
    assert_close(scaled[:, varied], y[:, varied], 1e-11)
    dw = gradient(w)[varied]
    assert_close(factor * gradient(factor * w)[varied], dw, 1e-10)
    along = np.sum(dw * w[varied], axis=1)
    lengths = np.linalg.norm(dw, axis=1) * np.linalg.norm(w[varied], axis=1)
    assert np.all(np.abs(along) <= 1e-11 * np.maximum(lengths, 1))


@always
@given(data((4, 3)), st.integers(0, 99))
def test_parametrized_weights_have_no_scale_either(v: Array, seed: int) -> None:
    v = v + np.eye(4, 3)[:, ::-1] * 100 + 1  # no row of zeros
    dw, g = like(v, seed), np.array([1.0, -2.0, 0.5, 3.0])
    dv, _ = norms.weight_norm_backward(dw, v, g)
    assert_close(np.sum(dv * v, axis=1) / 100, np.zeros(4), 1e-12)
    assert_close(norms.weight_norm(3 * v, g), norms.weight_norm(v, g), 1e-13)
    assert_close(np.linalg.norm(norms.weight_norm(v, g), axis=1), np.abs(g), 1e-13)
    standard = norms.standardize_weight(5 * v - 2, eps=0.0)
    assert_close(standard, norms.standardize_weight(v, eps=0.0), 1e-12)


@always
@given(data((9, 3)), st.sampled_from([1e-5, 0.3]), st.sampled_from(["pca", "zca"]))
def test_whitened_data_have_the_covariance_promised(x: Array, eps: float, method: str) -> None:
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    y = norms.whiten(x, method=method, eps=eps)
    assert_close(y.mean(0), np.zeros(3), 1e-9)
    found = np.linalg.eigvalsh(np.cov(y.T, bias=True))
    expected = np.maximum(values, 0) / (np.maximum(values, 0) + eps)
    assert_close(found, np.sort(expected), 1e-7)


@always
@given(data((9, 3)))
def test_zca_is_a_symmetric_map_and_decorrelated_batch_norm_is_zca(x: Array) -> None:
    y = norms.whiten(x, method="zca", eps=0.3)
    centered = x - x.mean(0)
    cross = centered.T @ y  # centeredᵀ centered W: a product of commuting symmetric matrices
    assert_close(cross / 9, cross.T / 9, 1e-9)
    assert_close(norms.decorrelated_batch_norm(x, eps=0.3), y, 1e-12)


@always
@given(data((3, 2, 4)), data((5, 2, 4)))
def test_examples_do_not_meet_in_batch_free_methods(x: Array, others: Array) -> None:
    """The output of an example is the same to the last bit, whoever shares its batch."""
    mixed = np.concatenate([others, x])
    for forward in (
        norms.layer_norm,
        norms.rms_norm,
        norms.instance_norm,
        lambda values: norms.group_norm(values, 2),
    ):
        assert np.array_equal(forward(mixed)[5:], forward(x))


@always
@given(data((2, 3, 4)), data((2, 3, 6)))
def test_adaptive_instance_norm_takes_the_moments_of_the_style(
    content: Array, style: Array
) -> None:
    y = norms.adaptive_instance_norm(content, style, eps=0.0)
    assert_close(y.mean(-1), style.mean(-1), 1e-13)
    varied = content.var(-1) > 0
    assert_close(y.var(-1)[varied], style.var(-1)[varied], 1e-11)
    back = norms.adaptive_instance_norm(y, content, eps=0.0)
    both = varied & (style.var(-1) > 0)
    assert_close(back[both], content[both], 1e-10)
