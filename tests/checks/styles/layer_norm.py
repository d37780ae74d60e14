"""Right answers of chapter 07 in the styles that learners write."""

from __future__ import annotations

import math

import numpy as np

# ---------------------------------------------------------------- layer_norm_forward


def explicit_sums(x, gamma, beta, eps=1e-5):
    """Sums divided by D."""
    d = x.shape[-1]
    mean = np.sum(x, axis=-1, keepdims=True) / d
    var = np.sum((x - mean) ** 2, axis=-1, keepdims=True) / d
    return gamma * ((x - mean) / np.sqrt(var + eps)) + beta


def example_by_example(x, gamma, beta, eps=1e-5):
    """A loop over rows, whatever the leading axes."""
    rows = x.reshape(-1, x.shape[-1])
    y = []
    for row in rows:
        mean = sum(row) / len(row)
        var = sum((v - mean) ** 2 for v in row) / len(row)
        std = math.sqrt(var + eps)
        y.append([gamma[j] * (v - mean) / std + beta[j] for j, v in enumerate(row)])
    return np.array(y).reshape(x.shape)


def transposed(x, gamma, beta, eps=1e-5):
    """All axes reversed: the features come first, the statistics broadcast by themselves."""
    t = x.T
    return gamma * ((t - t.mean(0)) / np.sqrt(t.var(0) + eps)).T + beta


def moved_to_the_front(x, gamma, beta, eps=1e-5):
    """The features moved to axis 0 and back."""
    front = np.moveaxis(x, -1, 0)
    front = (front - np.mean(front, axis=0)) / (np.var(front, axis=0) + eps) ** 0.5
    return np.moveaxis(front, 0, -1) * gamma + beta


def einsum(x, gamma, beta, eps=1e-5):
    """Means by einsum with an ellipsis."""
    centered = x - (np.einsum("...d->...", x) / x.shape[-1])[..., None]
    var = np.einsum("...d,...d->...", centered, centered) / x.shape[-1]
    return np.einsum("...d,...,d->...d", centered, 1 / np.sqrt(var + eps), gamma) + beta


def centering_matrix(x, gamma, beta, eps=1e-5):
    """A product with I − 1/D; the entries differ by rounding."""
    d = x.shape[-1]
    shifted = x - x[..., :1]  # a large common mean leaves before the product
    centered = shifted @ (np.eye(d) - np.full((d, d), 1 / d))
    length = np.linalg.norm(centered, axis=-1, keepdims=True)
    return gamma * centered / np.sqrt(length**2 / d + eps) + beta


def std_squared(x, gamma, beta, epsilon=1e-5):
    """The variance by np.std, another name for eps."""
    mu = np.average(x, axis=-1)[..., np.newaxis]
    return np.add(gamma * (x - mu) / np.sqrt(np.std(x, -1)[..., np.newaxis] ** 2 + epsilon), beta)


def welford(x, gamma, beta, eps=1e-5):
    """Feature after feature, with a running mean."""
    wide = x.astype(np.float64)
    mean, squares = np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1])
    for n in range(x.shape[-1]):
        delta = wide[..., n] - mean
        mean = mean + delta / (n + 1)
        squares = squares + delta * (wide[..., n] - mean)
    var = squares / x.shape[-1]
    return gamma * (wide - mean[..., None]) / np.sqrt(var[..., None] + eps) + beta


def apply_along_axis(x, gamma, beta, eps=1e-5):
    """NumPy's own loop."""

    def one(v):
        return gamma * (v - v.mean()) / np.sqrt(v.var() + eps) + beta

    return np.apply_along_axis(one, -1, x)


def cast_and_fortran_order(x, gamma, beta, eps=1e-5):
    """A result cast to the input's dtype that lies column by column in memory."""
    x_hat = (x - x.mean(-1, keepdims=True)) * (x.var(-1, keepdims=True) + eps) ** -0.5
    return np.asfortranarray((gamma * x_hat + beta).astype(x.dtype))


# ---------------------------------------------------------------- layer_norm_backward


def closed_form_in_sums(dy, x, gamma, eps=1e-5):
    """One fraction: (D · g − sum(g) − x_hat · sum(g · x_hat)) / (D · std)."""
    d = x.shape[-1]
    std = np.sqrt(x.var(-1, keepdims=True) + eps)
    x_hat = (x - x.mean(-1, keepdims=True)) / std
    g = dy * gamma
    both = g.sum(-1, keepdims=True) + x_hat * (g * x_hat).sum(-1, keepdims=True)
    flat = (-1, d)
    dgamma = (dy * x_hat).reshape(flat).sum(0)
    return (d * g - both) / (d * std), dgamma, dy.reshape(flat).sum(0)


def three_terms_of_the_paper(dy, x, gamma, eps=1e-5):
    """dvar, dmean and dx as the 2015 paper has them, over the features."""
    d = x.shape[-1]
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    x_hat = (x - mean) / np.sqrt(var + eps)
    dx_hat = dy * gamma
    dvar = np.sum(dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5, -1, keepdims=True)
    dmean = np.sum(-dx_hat / np.sqrt(var + eps), -1, keepdims=True)
    dmean = dmean + dvar * np.sum(-2 * (x - mean), -1, keepdims=True) / d
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / d + dmean / d
    axes = tuple(range(x.ndim - 1))
    return [dx, np.sum(dy * x_hat, axis=axes), np.sum(dy, axis=axes)]


def node_by_node(dy, x, gamma, eps=1e-5):
    """The computational graph, backward."""
    d = x.shape[-1]
    centered = x - x.mean(-1, keepdims=True)
    std = np.sqrt((centered**2).mean(-1, keepdims=True) + eps)
    inverse = 1.0 / std
    leading = tuple(range(x.ndim - 1))
    dbeta = dy.sum(axis=leading)
    dgamma = (dy * centered * inverse).sum(axis=leading)
    dx_hat = dy * gamma
    dinverse = (dx_hat * centered).sum(-1, keepdims=True)
    dcentered = dx_hat * inverse
    dvar = dinverse * (-1.0 / std**2) * 0.5 / std
    dcentered = dcentered + 2.0 / d * centered * dvar
    dmean = -dcentered.sum(-1, keepdims=True)
    return dcentered + dmean / d, dgamma, dbeta


def jacobian(dy, x, gamma, eps=1e-5):
    """The D × D Jacobian of each example, built and multiplied."""
    d = x.shape[-1]
    rows, ups = x.reshape(-1, d), dy.reshape(-1, d)
    dx, dgamma, dbeta = np.zeros(rows.shape), np.zeros(d), np.zeros(d)
    for i, (row, up) in enumerate(zip(rows, ups, strict=True)):
        std = np.sqrt(row.var() + eps)
        x_hat = (row - row.mean()) / std
        jac = (np.eye(d) - np.ones((d, d)) / d - np.outer(x_hat, x_hat) / d) / std
        dx[i] = jac @ (gamma * up)
        dgamma += up * x_hat
        dbeta += up
    return dx.reshape(x.shape), dgamma, dbeta


def by_batch_norm_of_the_transpose(dy, x, gamma, eps=1e-5):
    """BatchNorm's closed form on transposed rows, gamma multiplied in before."""
    d = x.shape[-1]
    t, g = x.reshape(-1, d).T, (dy * gamma).reshape(-1, d).T  # (D, N)
    std = np.sqrt(t.var(axis=0) + eps)
    t_hat = (t - t.mean(axis=0)) / std
    dt = (g - g.mean(axis=0) - t_hat * (g * t_hat).mean(axis=0)) / std
    flat = dy.reshape(-1, d)
    return dt.T.reshape(x.shape), (flat * t_hat.T).sum(0), flat.sum(0)


def einsum_gradients(dy, x, gamma, eps=1e-5):
    """All sums by einsum; a dict is returned."""
    d = x.shape[-1]
    centered = x - x.mean(axis=-1, keepdims=True)
    inv = 1 / np.sqrt(np.einsum("...d,...d->...", centered, centered) / d + eps)[..., None]
    x_hat = centered * inv
    g = np.einsum("...d,d->...d", dy, gamma)
    first = np.einsum("...d->...", g)[..., None] / d
    second = np.einsum("...d,...d->...", g, x_hat)[..., None] / d
    rows, hats = dy.reshape(-1, d), x_hat.reshape(-1, d)
    return {
        "dx": inv * (g - first - second * x_hat),
        "dgamma": np.einsum("nd,nd->d", rows, hats),
        "dbeta": np.einsum("nd->d", rows),
    }


def projections(dy, x, gamma, eps=1e-5):
    """Center, remove the part along x, center again: projecting twice changes nothing."""
    x = x - x.mean(-1, keepdims=True)
    var = (x * x).mean(-1, keepdims=True)
    g = gamma * dy
    g = g - g.mean(-1, keepdims=True)
    inner = (g * x).mean(-1, keepdims=True)
    dx = (g - x * inner / (var + eps)) / np.sqrt(var + eps)
    dgamma, dbeta = dy * x / np.sqrt(var + eps), 1.0 * dy
    while dbeta.ndim > 1:
        dgamma, dbeta = dgamma.sum(axis=0), dbeta.sum(axis=0)
    return dx, dgamma, dbeta


# ---------------------------------------------------------------- layer_norm_trailing


def flattened(x, normalized_shape, gamma, beta, eps=1e-5):
    """One row per example."""
    rows = x.reshape(-1, int(np.prod(normalized_shape)))
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + eps)
    return gamma * rows.reshape(x.shape) + beta


def mean_of_means(x, normalized_shape, gamma, beta, eps=1e-5):
    """A mean per axis, one after the other; the squares likewise, of x − mean."""
    mean = x
    for axis in range(-len(normalized_shape), 0):
        mean = mean.mean(axis=axis, keepdims=True)
    var = (x - mean) ** 2
    for axis in range(-1, -len(normalized_shape) - 1, -1):
        var = var.mean(axis=axis, keepdims=True)
    return gamma * ((x - mean) / np.sqrt(var + eps)) + beta


def first_axis_counted(x, normalized_shape, gamma, beta, eps=1e-5):
    """Axes counted from the front."""
    first = x.ndim - len(normalized_shape)
    axis = tuple(range(first, x.ndim))
    centered = x - np.mean(x, axis=axis, keepdims=True)
    return gamma * centered / np.sqrt(np.mean(centered**2, axis, keepdims=True) + eps) + beta


def vectorized(x, normalized_shape, gamma, beta, eps=1e-5):
    """A loop over the places of the leading axes."""
    y = np.empty_like(x)
    for place in np.ndindex(x.shape[: x.ndim - len(normalized_shape)]):
        part = x[place]
        y[place] = gamma * (part - part.mean()) / np.sqrt(part.var() + eps) + beta
    return y


# ---------------------------------------------------------------- invariances

_BATCH = (1, 1, 0, 0, 1, 1)
_LAYER = (1, 0, 1, 1, 1, 0)
_CHANGES = (
    "W times 3",
    "one column of W times 3",
    "one vector added to every column of W",
    "one example times 3",
    "all examples times 3",
    "one vector added to every example",
)


def zeros_and_ones():
    """0 and 1 in place of False and True, in another order."""
    pairs = [("layer_norm", _LAYER), ("batch_norm", _BATCH)]
    return {f"{n}: {c}": v for n, values in pairs for c, v in zip(_CHANGES, values, strict=True)}


def computed():
    """Each change tried on numbers."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    c, v = rng.normal(size=(3, 1)), rng.normal(size=3)
    column, row = np.array([1, 1, 3, 1]), np.array([[1], [3], [1], [1], [1]])
    tried = [(x, 3 * w), (x, w * column), (x, w + c), (x * row, w), (3 * x, w), (x + v, w)]
    answers = {}
    for axis, name in ((0, "batch_norm"), (1, "layer_norm")):

        def norm(a, axis=axis):
            return (a - a.mean(axis, keepdims=True)) / a.std(axis, keepdims=True)

        for change, (a, b) in zip(_CHANGES, tried, strict=True):
            answers[f"{name}: {change}"] = np.allclose(norm(a @ b), norm(x @ w))
    return answers


STYLES = {
    "layer_norm_forward": [
        explicit_sums,
        example_by_example,
        transposed,
        moved_to_the_front,
        einsum,
        centering_matrix,
        std_squared,
        welford,
        apply_along_axis,
        cast_and_fortran_order,
    ],
    "layer_norm_backward": [
        closed_form_in_sums,
        three_terms_of_the_paper,
        node_by_node,
        jacobian,
        by_batch_norm_of_the_transpose,
        einsum_gradients,
        projections,
    ],
    "layer_norm_trailing": [flattened, mean_of_means, first_axis_counted, vectorized],
    "invariances": [zeros_and_ones, computed],
    "layer_norm_like_torch": [explicit_sums, transposed, welford],
}
