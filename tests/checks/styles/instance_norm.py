"""Right answers of chapter 10 in the styles that learners write."""

from __future__ import annotations

import numpy as np

# ---------------------------------------------------------------- instance_norm_forward


def explicit_sums(x, gamma, beta, eps=1e-5):
    """Sums divided by H·W."""
    count = x.shape[2] * x.shape[3]
    mean = np.sum(x, axis=(2, 3), keepdims=True) / count
    var = np.sum((x - mean) ** 2, axis=(2, 3), keepdims=True) / count
    x_hat = (x - mean) * (var + eps) ** -0.5
    return gamma[None, :, None, None] * x_hat + beta[None, :, None, None]


def flattened_maps(x, gamma, beta, eps=1e-5):
    """One row per map."""
    n, c, h, w = x.shape
    rows = x.reshape(n * c, h * w)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1)[:, None] + eps)
    rows = np.tile(gamma, n)[:, None] * rows + np.tile(beta, n)[:, None]
    return rows.reshape(x.shape)


def map_by_map(x, gamma, beta, eps=1e-5):
    """Two loops."""
    y = np.zeros_like(x)
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            part = x[i, c]
            y[i, c] = gamma[c] * (part - part.mean()) / np.sqrt(part.var() + eps) + beta[c]
    return y


def channels_last(x, gamma, beta, eps=1e-5):
    """Transposed so that gamma meets the last axis; the result is a view."""
    t = x.transpose(0, 2, 3, 1)
    t = (t - t.mean(axis=(1, 2), keepdims=True)) / np.sqrt(t.var((1, 2), keepdims=True) + eps)
    return (gamma * t + beta).transpose(0, 3, 1, 2)


def einsum(x, gamma, beta, eps=1e-5):
    """Means by einsum."""
    count = x.shape[2] * x.shape[3]
    centered = x - (np.einsum("nchw->nc", x) / count)[..., None, None]
    var = np.einsum("nchw,nchw->nc", centered, centered) / count
    return np.einsum("nchw,nc->nchw", centered, gamma / np.sqrt(var + eps)) + beta[:, None, None]


def image_by_image_batch_norm(x, gamma, beta, eps=1e-5):
    """BatchNorm of batches of one image."""
    parts = []
    for image in x:
        mean, var = image.mean(axis=(1, 2)), image.var(axis=(1, 2))
        scale = gamma / np.sqrt(var + eps)
        parts.append((image - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None])
    return np.stack(parts)


def std_squared(x, gamma, beta, epsilon=1e-5):
    """The variance by np.std, another name for eps."""
    std = np.sqrt(np.std(x, axis=(-2, -1), keepdims=True) ** 2 + epsilon)
    x_hat = (x - np.average(x, axis=(-2, -1))[:, :, np.newaxis, np.newaxis]) / std
    return x_hat * gamma[:, np.newaxis, np.newaxis] + beta[:, np.newaxis, np.newaxis]


def mean_of_means(x, gamma, beta, eps=1e-5):
    """One axis after the other: rows of equal length."""
    mean = x.mean(axis=3, keepdims=True).mean(axis=2, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=2, keepdims=True).mean(axis=3, keepdims=True)
    g, b = gamma.reshape(-1, 1, 1), beta.reshape(-1, 1, 1)
    return g * (x - mean) / np.sqrt(var + eps) + b


# ---------------------------------------------------------------- adaptive_instance_norm


def one_factor(content, style, eps=1e-5):
    """The quotient of the standard deviations first."""
    axes = (2, 3)
    ratio = np.sqrt((style.var(axes) + eps) / (content.var(axes) + eps))[..., None, None]
    shift = style.mean(axes)[..., None, None]
    return (content - content.mean(axes)[..., None, None]) * ratio + shift


def flattened(content, style, eps=1e-5):
    """Rows of pixels."""
    n, c = content.shape[:2]
    a, b = content.reshape(n, c, -1), style.reshape(n, c, -1)
    a_hat = (a - a.mean(2, keepdims=True)) / np.sqrt(a.var(2, keepdims=True) + eps)
    y = a_hat * np.sqrt(b.var(2, keepdims=True) + eps) + b.mean(2, keepdims=True)
    return y.reshape(content.shape)


def map_by_map_styled(content, style, eps=1e-5):
    """Two loops."""
    y = np.empty(content.shape)
    for i, c in np.ndindex(content.shape[:2]):
        a, b = content[i, c], style[i, c]
        y[i, c] = (a - a.mean()) / (a.var() + eps) ** 0.5 * (b.var() + eps) ** 0.5 + b.mean()
    return y


def as_instance_norm(content, style, epsilon=1e-5):
    """InstanceNorm with gamma and beta from the style."""
    gamma = np.sqrt(np.mean((style - style.mean((2, 3), keepdims=True)) ** 2, (2, 3)) + epsilon)
    beta = style.mean(axis=3).mean(axis=2)
    mean, var = content.mean((2, 3), keepdims=True), content.var((2, 3), keepdims=True)
    x_hat = (content - mean) / np.sqrt(var + epsilon)
    return np.einsum("nc,nchw->nchw", gamma, x_hat) + beta[:, :, None, None]


STYLES = {
    "instance_norm_forward": [
        explicit_sums,
        flattened_maps,
        map_by_map,
        channels_last,
        einsum,
        image_by_image_batch_norm,
        std_squared,
        mean_of_means,
    ],
    "adaptive_instance_norm": [one_factor, flattened, map_by_map_styled, as_instance_norm],
}
