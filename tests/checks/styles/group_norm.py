"""Right answers of chapter 11 in the styles that learners write."""

from __future__ import annotations

import math

import numpy as np


def _tail(x):
    """Return the shape in which a parameter per channel meets x."""
    return (1, x.shape[1]) + (1,) * (x.ndim - 2)


# ---------------------------------------------------------------- group_norm_forward


def group_axis(x, num_groups, gamma, beta, eps=1e-5):
    """A view with an axis for the groups."""
    n, c = x.shape[:2]
    view = x.reshape(n, num_groups, c // num_groups, *x.shape[2:])
    axes = tuple(range(2, view.ndim))
    mean, var = view.mean(axes, keepdims=True), view.var(axes, keepdims=True)
    y = ((view - mean) / np.sqrt(var + eps)).reshape(x.shape)
    return y * gamma.reshape(_tail(x)) + beta.reshape(_tail(x))


def rows_of_groups(x, num_groups, gamma, beta, eps=1e-5):
    """One row per image and group, with explicit sums."""
    rows = x.reshape(x.shape[0] * num_groups, -1)
    count = rows.shape[1]
    mean = np.sum(rows, axis=1) / count
    centered = rows - mean[:, None]
    var = np.sum(centered**2, axis=1) / count
    y = (centered / np.sqrt(var + eps)[:, None]).reshape(x.shape)
    return gamma.reshape(_tail(x)) * y + beta.reshape(_tail(x))


def rows_transposed(x, num_groups, gamma, beta, eps=1e-5):
    """Groups as columns, as with a batch norm that is given the transpose."""
    t = x.reshape(x.shape[0] * num_groups, -1).T
    t = (t - t.mean(axis=0)) / np.sqrt(t.var(axis=0) + eps)
    return t.T.reshape(x.shape) * gamma.reshape(_tail(x)) + beta.reshape(_tail(x))


def loop_over_groups(x, num_groups, gamma, beta, eps=1e-5):
    """Slices of channels."""
    size = x.shape[1] // num_groups
    y = np.empty(x.shape)
    axes = tuple(range(1, x.ndim))
    for g in range(num_groups):
        part = x[:, g * size : (g + 1) * size]
        mean, var = part.mean(axes, keepdims=True), part.var(axes, keepdims=True)
        y[:, g * size : (g + 1) * size] = (part - mean) / np.sqrt(var + eps)
    return gamma.reshape(_tail(x)) * y + beta.reshape(_tail(x))


def loop_over_images_and_groups(x, num_groups, gamma, beta, eps=1e-5):
    """Two loops, the affine step inside, in the layout of the group."""
    size = x.shape[1] // num_groups
    y = np.zeros_like(x)
    for i in range(len(x)):
        for first in range(0, x.shape[1], size):
            channels = slice(first, first + size)
            part = x[i, channels]
            shape = (-1,) + (1,) * (part.ndim - 1)
            part = (part - part.mean()) / math.sqrt(part.var() + eps)
            y[i, channels] = gamma[channels].reshape(shape) * part + beta[channels].reshape(shape)
    return y


def split_and_joined(x, num_groups, gamma, beta, eps=1e-5):
    """np.split along the channels and np.concatenate."""
    parts = []
    for part in np.split(x, num_groups, axis=1):
        flat = part.reshape(len(part), -1)
        flat = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + eps)
        parts.append(flat.reshape(part.shape))
    return np.concatenate(parts, axis=1) * gamma.reshape(_tail(x)) + beta.reshape(_tail(x))


def einsum(x, num_groups, gamma, beta, eps=1e-5):
    """Means by einsum, gamma tiled over the positions."""
    n = len(x)
    view = x.reshape(n, num_groups, -1)
    centered = view - np.einsum("ngk->ng", view)[..., None] / view.shape[-1]
    var = np.einsum("ngk,ngk->ng", centered, centered) / view.shape[-1]
    positions = math.prod(x.shape[2:])
    g, b = (np.repeat(p, positions).reshape(num_groups, -1) for p in (gamma, beta))
    return (np.einsum("ngk,ng,gk->ngk", centered, (var + eps) ** -0.5, g) + b).reshape(x.shape)


def statistics_per_channel_first(x, num_groups, gamma, beta, eps=1e-5):
    """Moments of channels of equal size, pooled to those of the group."""
    n, c = x.shape[:2]
    flat = x.reshape(n, c, -1)
    means = flat.mean(2).reshape(n, num_groups, -1)
    variances = flat.var(2).reshape(n, num_groups, -1)
    mean = means.mean(2)
    var = variances.mean(2) + ((means - mean[..., None]) ** 2).mean(2)
    size = c // num_groups
    mean, var = (np.repeat(s, size, axis=1)[..., None] for s in (mean, var))
    y = gamma[:, None] * (flat - mean) / np.sqrt(var + eps) + beta[:, None]
    return y.reshape(x.shape)


# ---------------------------------------------------------------- group_norm_backward


def _parameter_gradients(dy, x_hat):
    axes = (0, *range(2, dy.ndim))
    return np.sum(dy * x_hat, axis=axes), np.sum(dy, axis=axes)


def closed_form_in_sums(dy, x, num_groups, gamma, eps=1e-5):
    """One fraction with sums over a group."""
    rows = x.reshape(x.shape[0] * num_groups, -1)
    m = rows.shape[1]
    std = np.sqrt(rows.var(1, keepdims=True) + eps)
    x_hat = (rows - rows.mean(1, keepdims=True)) / std
    g = (dy * gamma.reshape(_tail(x))).reshape(rows.shape)
    both = g.sum(1, keepdims=True) + x_hat * (g * x_hat).sum(1, keepdims=True)
    return ((m * g - both) / (m * std)).reshape(x.shape), *_parameter_gradients(
        dy, x_hat.reshape(x.shape)
    )


def three_terms_of_the_paper(dy, x, num_groups, gamma, eps=1e-5):
    """dvar and dmean over the axes of a view."""
    n, c = x.shape[:2]
    view = x.reshape(n, num_groups, c // num_groups, *x.shape[2:])
    axes = tuple(range(2, view.ndim))
    m = math.prod(view.shape[2:])
    mean, var = view.mean(axes, keepdims=True), view.var(axes, keepdims=True) + eps
    up = (dy * gamma.reshape(_tail(x))).reshape(view.shape)
    dvar = -0.5 * np.sum(up * (view - mean), axes, keepdims=True) * var**-1.5
    dmean = -np.sum(up, axes, keepdims=True) / np.sqrt(var)
    dx = up / np.sqrt(var) + 2 * (view - mean) * dvar / m + dmean / m
    x_hat = ((view - mean) / np.sqrt(var)).reshape(x.shape)
    return dx.reshape(x.shape), *_parameter_gradients(dy, x_hat)


def node_by_node(dy, x, num_groups, gamma, eps=1e-5):
    """The computational graph, backward, on rows of groups."""
    rows = x.reshape(x.shape[0] * num_groups, -1)
    m = rows.shape[1]
    centered = rows - rows.sum(1, keepdims=True) / m
    std = np.sqrt((centered**2).sum(1, keepdims=True) / m + eps)
    dgamma, dbeta = _parameter_gradients(dy, (centered / std).reshape(x.shape))
    up = (dy * gamma.reshape(_tail(x))).reshape(rows.shape)
    dstd = -(up * centered).sum(1, keepdims=True) / std**2
    dcentered = up / std + dstd / std * centered / m
    return (dcentered - dcentered.mean(1, keepdims=True)).reshape(x.shape), dgamma, dbeta


def loop_over_groups_backward(dy, x, num_groups, gamma, eps=1e-5):
    """Images and slices of channels."""
    size = x.shape[1] // num_groups
    dx, x_hat = np.zeros(x.shape), np.zeros(x.shape)
    up = dy * gamma.reshape(_tail(x))
    for i in range(len(x)):
        for first in range(0, x.shape[1], size):
            part, g = x[i, first : first + size], up[i, first : first + size]
            inv = 1 / math.sqrt(part.var() + eps)
            hat = (part - part.mean()) * inv
            x_hat[i, first : first + size] = hat
            dx[i, first : first + size] = inv * (g - g.mean() - hat * (g * hat).mean())
    dgamma, dbeta = _parameter_gradients(dy, x_hat)
    return [dx, dgamma, dbeta]


def jacobian(dy, x, num_groups, gamma, eps=1e-5):
    """The Jacobian of each group, built and multiplied."""
    rows = x.reshape(x.shape[0] * num_groups, -1)
    ups = (dy * gamma.reshape(_tail(x))).reshape(rows.shape)
    m = rows.shape[1]
    dx, x_hat = np.empty(rows.shape), np.empty(rows.shape)
    for i, row in enumerate(rows):
        std = np.sqrt(row.var() + eps)
        x_hat[i] = (row - row.mean()) / std
        jac = np.eye(m) - 1 / m - np.outer(x_hat[i], x_hat[i]) / m
        dx[i] = ups[i] @ jac / std
    return dx.reshape(x.shape), *_parameter_gradients(dy, x_hat.reshape(x.shape))


def einsum_gradients(dy, x, num_groups, gamma, eps=1e-5):
    """Positions flattened, all sums by einsum, a dict at the end."""
    n, c = x.shape[:2]
    view = x.reshape(n, num_groups, c // num_groups, -1)  # n g c k
    up = dy.reshape(view.shape)
    m = view.shape[2] * view.shape[3]
    centered = view - np.einsum("ngck->ng", view)[..., None, None] / m
    inv = (np.einsum("ngck,ngck->ng", centered, centered) / m + eps)[..., None, None] ** -0.5
    hat = centered * inv
    g = np.einsum("ngck,gc->ngck", up, gamma.reshape(num_groups, -1))
    one = np.einsum("ngck->ng", g)[..., None, None] / m
    two = np.einsum("ngck,ngck->ng", g, hat)[..., None, None] / m
    return {
        "dx": (inv * (g - one - hat * two)).reshape(x.shape),
        "dgamma": np.einsum("ngck,ngck->gc", up, hat).reshape(c),
        "dbeta": np.einsum("ngck->gc", up).reshape(c),
    }


# ---------------------------------------------------------------- groups_for


def by_condition(method, num_channels):
    """A condition."""
    return 1 if method == "layer" else num_channels


def by_size(method, num_channels):
    """C over the size of a group, a float."""
    size = num_channels if method == "layer" else 1
    return num_channels / size


def as_array(method, num_channels):
    """A NumPy integer."""
    return np.int64([1, num_channels][method == "instance"])


# ---------------------------------------------------------------- standardize_weight


def flattened_filters(weight, eps=1e-5):
    """One row per filter."""
    rows = weight.reshape(len(weight), -1)
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + eps)
    return rows.reshape(weight.shape)


def filter_by_filter(weight, eps=1e-5):
    """A list, stacked."""
    return np.stack([(f - f.mean()) / (f.var() + eps) ** 0.5 for f in weight])


def explicit_sums(weight, eps=1e-5):
    """Sums divided by the fan-in."""
    fan_in = math.prod(weight.shape[1:])
    mean = np.einsum("oihw->o", weight) / fan_in
    centered = weight - mean[:, None, None, None]
    var = np.einsum("oihw,oihw->o", centered, centered) / fan_in
    return centered / np.sqrt(var + eps)[:, None, None, None]


def transposed(weight, eps=1e-5):
    """All axes reversed: the outputs come last."""
    t = weight.T
    return ((t - t.mean((0, 1, 2))) / np.sqrt(t.std((0, 1, 2)) ** 2 + eps)).T


STYLES = {
    "group_norm_forward": [
        group_axis,
        rows_of_groups,
        rows_transposed,
        loop_over_groups,
        loop_over_images_and_groups,
        split_and_joined,
        einsum,
        statistics_per_channel_first,
    ],
    "group_norm_backward": [
        closed_form_in_sums,
        three_terms_of_the_paper,
        node_by_node,
        loop_over_groups_backward,
        jacobian,
        einsum_gradients,
    ],
    "groups_for": [by_condition, by_size, as_array],
    "standardize_weight": [flattened_filters, filter_by_filter, explicit_sums, transposed],
    "group_norm_like_torch": [group_axis, rows_of_groups, loop_over_groups],
}
