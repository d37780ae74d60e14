"""Right answers of chapter 02 in the styles that learners write."""

from __future__ import annotations

import numpy as np


def two_decimals_more():
    """Numbers with five digits."""
    return [-1.34164, -0.44721, 0.44721, 1.34164]


def as_array():
    """A NumPy array, computed."""
    x = np.arange(2, 9, 2)
    return (x - x.mean()) / x.std()


def as_tuple():
    """A tuple."""
    return (-1.342, -0.447, 0.447, 1.342)


def explicit_sums(x, gamma, beta, eps=1e-5):
    """Sums divided by N."""
    n = x.shape[0]
    mean = np.sum(x, axis=0) / n
    var = np.sum((x - mean) ** 2, axis=0) / n
    return gamma * ((x - mean) / np.sqrt(var + eps)) + beta


def column_by_column(x, gamma, beta, eps=1e-5):
    """A slow loop over features and rows."""
    y = np.empty(x.shape)
    for j in range(x.shape[1]):
        mean = sum(x[i, j] for i in range(len(x))) / len(x)
        var = sum((x[i, j] - mean) ** 2 for i in range(len(x))) / len(x)
        for i in range(len(x)):
            y[i, j] = gamma[j] * (x[i, j] - mean) / (var + eps) ** 0.5 + beta[j]
    return y


def transposed(x, gamma, beta, eps=1e-5):
    """Rows are features."""
    t = x.T
    t = (t - t.mean(axis=1)[:, None]) / np.sqrt(t.var(axis=1) + eps)[:, None]
    return (t * gamma[:, None] + beta[:, None]).T


def einsum(x, gamma, beta, eps=1e-5):
    """Means by einsum."""
    mean = np.einsum("nd->d", x) / len(x)
    centered = x - mean
    var = np.einsum("nd,nd->d", centered, centered) / len(x)
    return np.einsum("d,nd->nd", gamma / np.sqrt(var + eps), centered) + beta


def scale_and_shift_folded(x, gamma, beta, eps=1e-5):
    """One multiplication and one addition per value; the mean subtracted first."""
    mean, var = np.mean(x, 0), np.var(x, 0)
    return (x - mean) * (gamma * (var + eps) ** -0.5) + beta


def std_squared(x, gamma, beta, epsilon=1e-5):
    """The variance by np.std, another name for eps."""
    x_hat = (x - np.average(x, axis=0)) / np.sqrt(np.std(x, axis=0) ** 2 + epsilon)
    return np.add(np.multiply(gamma, x_hat), beta)


def welford(x, gamma, beta, eps=1e-5):
    """Running mean and sum of squares, row by row."""
    mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for n, row in enumerate(x.astype(np.float64), 1):
        delta = row - mean
        mean = mean + delta / n
        squares = squares + delta * (row - mean)
    return gamma * (x - mean) / np.sqrt(squares / len(x) + eps) + beta


def with_prints_and_fortran_order(x, gamma, beta, eps=1e-5):
    """Prints left in, and an output that lies column by column."""
    print("mean", x.mean(axis=0))
    return np.asfortranarray(gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta)


def star_arguments(*args, **kwargs):
    """Any number of arguments."""
    return explicit_sums(*args, **kwargs)


def tuple_axis(x, gamma, beta, eps=1e-5):
    """Three axes at once."""
    mean = np.mean(x, axis=(0, 2, 3), keepdims=True)
    var = np.mean((x - mean) ** 2, axis=(0, 2, 3), keepdims=True)
    return gamma[None, :, None, None] * (x - mean) / np.sqrt(var + eps) + beta[None, :, None, None]


def channels_last_rows(x, gamma, beta, eps=1e-5):
    """Transpose, reshape, normalize rows, and back: the result is a view."""
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, c)
    y = gamma * (rows - rows.mean(0)) / np.sqrt(rows.var(0) + eps) + beta
    return y.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def channel_loop(x, gamma, beta, eps=1e-5):
    """One channel after the other."""
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        part = x[:, c]
        y[:, c] = gamma[c] * (part - part.mean()) / np.sqrt(part.var() + eps) + beta[c]
    return y


def moveaxis(x, gamma, beta, eps=1e-5):
    """Channels moved to the front and flattened."""
    front = np.moveaxis(x, 1, 0)
    flat = front.reshape(len(front), -1)
    mean, var = flat.mean(1, keepdims=True), flat.var(1, keepdims=True)
    flat = gamma[:, None] * (flat - mean) / np.sqrt(var + eps) + beta[:, None]
    return np.moveaxis(flat.reshape(front.shape), 0, 1)


def einsum_maps(x, gamma, beta, eps=1e-5):
    """Means by einsum over three letters."""
    count = x.shape[0] * x.shape[2] * x.shape[3]
    centered = x - (np.einsum("nchw->c", x) / count)[:, None, None]
    var = np.einsum("nchw,nchw->c", centered, centered) / count
    return np.einsum("nchw,c->nchw", centered, gamma / np.sqrt(var + eps)) + beta[:, None, None]


def mean_of_means(x, gamma, beta, eps=1e-5):
    """Images of equal size: the mean of the image means is the mean."""
    mean = x.mean(axis=(2, 3)).mean(axis=0).reshape(1, -1, 1, 1)
    var = ((x - mean) ** 2).mean(axis=3).mean(axis=2).mean(axis=0).reshape(1, -1, 1, 1)
    return gamma.reshape(1, -1, 1, 1) * (x - mean) / np.sqrt(var + eps) + beta.reshape(1, -1, 1, 1)


def swapaxes_list(x, gamma, beta, eps=1e-5):
    """Channels swapped to the end, stacked from a list."""
    last = np.swapaxes(x, 1, 3)
    parts = []
    for c in range(last.shape[-1]):
        values = last[..., c]
        parts.append(gamma[c] * (values - values.mean()) / (values.var() + eps) ** 0.5 + beta[c])
    return np.swapaxes(np.stack(parts, axis=-1), 1, 3)


def as_list_of_two(mean, var, eps=1e-5):
    """A list in place of a tuple."""
    return [np.sqrt(var + eps), mean]


def power_one_half(mean, var, eps=1e-5):
    """The root as a power; names of the variables differ."""
    scale = (var + eps) ** 0.5
    return scale, 1.0 * mean


def as_dict(mean, var, eps=1e-5):
    """Named results."""
    return {"beta": mean + 0.0, "gamma": np.power(eps + var, 0.5)}


STYLES = {
    "normalized_example": [two_decimals_more, as_array, as_tuple],
    "batch_norm_forward": [
        explicit_sums,
        column_by_column,
        transposed,
        einsum,
        scale_and_shift_folded,
        std_squared,
        welford,
        with_prints_and_fortran_order,
        star_arguments,
    ],
    "batch_norm_forward_nchw": [
        tuple_axis,
        channels_last_rows,
        channel_loop,
        moveaxis,
        einsum_maps,
        mean_of_means,
        swapaxes_list,
    ],
    "affine_to_undo": [as_list_of_two, power_one_half, as_dict],
}
