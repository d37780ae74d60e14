"""Right answers of chapter 03 in other styles."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Three = tuple[Array, Array, Array]


def affine_loop(dy: Array, x_hat: Array, gamma: Array) -> Three:
    """Loop over examples and features."""
    dx_hat, dgamma, dbeta = np.zeros(dy.shape), np.zeros(gamma.shape), np.zeros(gamma.shape)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx_hat[i, j] = gamma[j] * dy[i, j]
            dgamma[j] += dy[i, j] * x_hat[i, j]
            dbeta[j] += dy[i, j]
    return dx_hat, dgamma, dbeta


def affine_einsum(dy: Array, x_hat: Array, gamma: Array) -> Three:
    """Three einsums."""
    return (
        np.einsum("nd,d->nd", dy, gamma),
        np.einsum("nd,nd->d", dy, x_hat),
        np.einsum("nd->d", dy),
    )


def affine_by_name(dout: Array, xhat: Array, g: Array) -> dict[str, Array]:
    """A dictionary of the three, arguments of other names."""
    return {
        "dbeta": np.sum(dout, 0),
        "dgamma": np.sum(dout * xhat, 0),
        "dx_hat": dout * g[np.newaxis, :],
    }


def affine_matrices(dy: Array, x_hat: Array, gamma: Array) -> list[Array]:
    """Products with matrices; a list is returned."""
    ones = np.ones(len(dy))
    return [dy @ np.diag(gamma), np.diag(dy.T @ x_hat), ones @ dy]


def affine_keepdims(dy: Array, x_hat: Array, gamma: Array) -> Three:
    """Sums with kept axes, squeezed at the end."""
    dgamma = np.sum(dy * x_hat, axis=0, keepdims=True)
    dbeta = np.sum(dy, axis=0, keepdims=True)
    return gamma.reshape(1, -1) * dy, dgamma[0], dbeta[0]


def affine_fortran(dy: Array, x_hat: Array, gamma: Array) -> Three:
    """Transposed, results in Fortran order."""
    d, h = dy.T, x_hat.T
    return (d * gamma[:, None]).T, (d * h).sum(axis=1), d.sum(axis=-1)


def standardize_paper(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """The three terms of the 2015 paper, with the power −3/2."""
    n = x.shape[0]
    mean, var = x.mean(axis=0), x.var(axis=0)
    dvar = np.sum(dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5, axis=0)
    dmean = np.sum(-dx_hat / np.sqrt(var + eps), axis=0) + dvar * np.mean(-2 * (x - mean), axis=0)
    return dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / n + dmean / n


def standardize_graph(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """The graph, node by node."""
    n, _ = x.shape
    centered = x - x.mean(axis=0)
    var = (centered**2).sum(axis=0) / n
    std = np.sqrt(var + eps)
    inverse = 1.0 / std
    dinverse = np.sum(dx_hat * centered, axis=0)
    dcentered = dx_hat * inverse
    dstd = dinverse * -1.0 / std**2
    dvar = 0.5 * dstd / std
    dsquare = np.ones_like(x) / n * dvar
    dcentered = dcentered + 2 * centered * dsquare
    dmean = -dcentered.sum(axis=0)
    return dcentered + np.ones_like(x) / n * dmean


def standardize_closed_with_n(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """The closed form with sums and one factor 1/N."""
    n = len(x)
    std = np.sqrt(np.var(x, axis=0, keepdims=True) + eps)
    h = (x - np.mean(x, axis=0, keepdims=True)) / std
    return (n * dx_hat - dx_hat.sum(axis=0) - h * (dx_hat * h).sum(axis=0)) / (n * std)


def standardize_jacobian(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """The whole Jacobian, feature by feature."""
    n = len(x)
    dx = np.zeros_like(x)
    for j in range(x.shape[1]):
        std = np.sqrt(x[:, j].var() + eps)
        h = (x[:, j] - x[:, j].mean()) / std
        jacobian = (np.eye(n) - np.full((n, n), 1 / n) - np.outer(h, h) / n) / std
        dx[:, j] = jacobian.T @ dx_hat[:, j]
    return dx


def standardize_einsum(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """Einsum for the inner product, mean removed last."""
    centered = x - x.mean(0)
    inv = (np.einsum("nd,nd->d", centered, centered) / len(x) + eps) ** -0.5
    inner = np.einsum("nd,nd->d", dx_hat, centered) / len(x)
    dx = inv * dx_hat - inv**3 * inner * centered
    return dx - dx.mean(axis=0)


def standardize_rows(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """Transposed in and out."""
    d, t = dx_hat.T, x.T
    t = t - t.mean(axis=1)[:, None]
    s = np.sqrt((t * t).mean(axis=1) + eps)[:, None]
    return ((d - d.mean(axis=1)[:, None] - t / s**2 * (d * t).mean(axis=1)[:, None]) / s).T


def standardize_complex_step(dx_hat: Array, x: Array, eps: float = 1e-5) -> Array:
    """A derivative by complex steps, no formula at all."""
    dx, step = np.zeros(x.shape), 1e-30
    centered = x.astype(float) - x.astype(float).mean(axis=0)
    for place in np.ndindex(*x.shape):
        z = centered.astype(complex)
        z[place] += 1j * step
        c = z - z.sum(axis=0) / len(x)
        y = c / np.sqrt((c * c).sum(axis=0) / len(x) + eps)
        dx[place] = (y.imag * dx_hat).sum() / step
    return dx


def layer_paper(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """The paper's terms, everything written out."""
    dbeta = np.sum(dy, axis=0)
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    dgamma = np.sum(dy * (x - mean) / np.sqrt(var + eps), axis=0)
    return standardize_paper(gamma * dy, x, eps), dgamma, dbeta


def layer_gamma_pulled_out(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """gamma before the bracket, dgamma and dbeta used within it."""
    n = x.shape[0]
    inv_std = 1.0 / np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) * inv_std
    dbeta, dgamma = dy.sum(axis=0), np.sum(x_hat * dy, axis=0)
    return gamma * inv_std / n * (n * dy - x_hat * dgamma - dbeta), dgamma, dbeta


def layer_supplied(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Calls the two supplied functions by keyword."""
    std = np.sqrt(x.var(axis=0) + eps)
    dx_hat, dgamma, dbeta = affine_backward(  # noqa: F821
        dy=dy, x_hat=(x - x.mean(axis=0)) / std, gamma=gamma
    )
    return standardize_backward(dx_hat=dx_hat, x=x, eps=eps), dgamma, dbeta  # noqa: F821


def layer_graph(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Node by node, arrays of ones for the broadcasts."""
    dx = standardize_graph(dy * (np.ones_like(x) * gamma), x, eps)
    h = (x - x.mean(0)) / np.sqrt(x.var(0) + eps)
    return dx, np.ones(len(x)) @ (dy * h), np.ones(len(x)) @ dy


def layer_columns(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> list[Array]:
    """Column by column with explicit Jacobians; a list is returned."""
    dx = standardize_jacobian(dy * gamma, x, eps)
    dgamma = []
    for j in range(x.shape[1]):
        h = (x[:, j] - x[:, j].mean()) / (x[:, j].var() + eps) ** 0.5
        dgamma.append(float(dy[:, j] @ h))
    return [dx, np.array(dgamma), dy.sum(axis=0)]


def layer_einsum(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Einsum throughout, values of a right forward pass kept in a dictionary."""
    centered = x - np.einsum("nd->d", x) / len(x)
    var = np.einsum("nd,nd->d", centered, centered) / len(x)
    cache = {"h": centered / np.sqrt(var + eps), "s": np.sqrt(var + eps)}
    dgamma = np.einsum("nd,nd->d", dy, cache["h"])
    dbeta = np.einsum("nd->d", dy)
    dx = np.einsum("d,nd->nd", gamma / cache["s"], dy - (dbeta + cache["h"] * dgamma) / len(x))
    return dx, dgamma, dbeta


def layer_float64(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Always in float64, whatever comes."""
    return layer_paper(*(np.asarray(a, dtype=np.float64) for a in (dy, x, gamma)), eps)


def maps_axes(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Axes (0, 2, 3) directly, statistics with kept axes."""
    axis = (0, 2, 3)
    g = gamma.reshape(1, -1, 1, 1)
    inv = 1 / np.sqrt(x.var(axis=axis, keepdims=True) + eps)
    h = (x - x.mean(axis=axis, keepdims=True)) * inv
    d = dy * g
    inner = (d * h).mean(axis=axis, keepdims=True)
    dx = inv * (d - d.mean(axis=axis, keepdims=True) - h * inner)
    return dx, (dy * h).sum(axis=axis), dy.sum(axis=axis)


def maps_supplied(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """moveaxis and the supplied function."""
    last = np.moveaxis(x, 1, -1).shape
    rows = [np.moveaxis(a, 1, -1).reshape(-1, x.shape[1]) for a in (dy, x)]
    dx, dgamma, dbeta = batch_norm_backward(*rows, gamma, eps=eps)  # noqa: F821
    return np.moveaxis(dx.reshape(last), -1, 1), dgamma, dbeta


def maps_loop(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """A loop over channels."""
    dx, dgamma, dbeta = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    for c in range(x.shape[1]):
        d, v = dy[:, c], x[:, c]
        std = np.sqrt(v.var() + eps)
        h = (v - v.mean()) / std
        dgamma[c], dbeta[c] = (d * h).sum(), d.sum()
        dx[:, c] = gamma[c] / std * (d - d.mean() - h * (d * h).mean())
    return dx, dgamma, dbeta


def maps_channels_first(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Channels first as rows, swapped back."""
    shape = x.swapaxes(0, 1).shape
    d, v = (a.swapaxes(0, 1).reshape(x.shape[1], -1) for a in (dy, x))
    dx, dgamma, dbeta = layer_gamma_pulled_out(d.T, v.T, gamma, eps)
    return dx.T.reshape(shape).swapaxes(0, 1), dgamma, dbeta


def maps_einsum(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """Einsum over the pooled axes."""
    m = x.size // x.shape[1]
    c = x - (np.einsum("nchw->c", x) / m)[:, None, None]
    inv = (np.einsum("nchw,nchw->c", c, c) / m + eps) ** -0.5
    h = np.einsum("nchw,c->nchw", c, inv)
    dgamma, dbeta = np.einsum("nchw,nchw->c", dy, h), np.einsum("nchw->c", dy)
    inside = dy - (dbeta[:, None, None] + h * dgamma[:, None, None]) / m
    return np.einsum("c,nchw->nchw", gamma * inv, inside), dgamma, dbeta


def maps_paper(dy: Array, x: Array, gamma: Array, eps: float = 1e-5) -> Three:
    """The paper's terms with M = N·H·W."""
    n, c, h, w = x.shape
    m, lift = n * h * w, (1, c, 1, 1)
    mean, var = (f(x, axis=(0, 2, 3)).reshape(lift) for f in (np.mean, np.var))
    d = dy * gamma.reshape(lift)
    dvar = (d * (x - mean)).sum(axis=(0, 2, 3)).reshape(lift) * -0.5 * (var + eps) ** -1.5
    dmean = -d.sum(axis=(0, 2, 3)).reshape(lift) / np.sqrt(var + eps)
    dx = d / np.sqrt(var + eps) + (2 * dvar * (x - mean) + dmean) / m
    return dx, (dy * (x - mean) / np.sqrt(var + eps)).sum((0, 2, 3)), dy.sum((0, 2, 3))


def linear_paper(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> tuple[Array, ...]:
    """The paper's terms for z."""
    dz, dgamma, dbeta = layer_paper(dy, x @ weight, gamma, eps)
    return dz @ weight.T, x.T @ dz, dgamma, dbeta


def linear_gamma_pulled_out(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> tuple[Array, ...]:
    """gamma before the bracket."""
    dz, dgamma, dbeta = layer_gamma_pulled_out(dy, np.dot(x, weight), gamma, eps)
    return np.dot(dz, weight.T), np.dot(x.T, dz), dgamma, dbeta


def linear_einsum(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> tuple[Array, ...]:
    """Einsum throughout."""
    dz, dgamma, dbeta = layer_einsum(dy, np.einsum("ni,io->no", x, weight), gamma, eps)
    dx, dweight = np.einsum("no,io->ni", dz, weight), np.einsum("ni,no->io", x, dz)
    return dx, dweight, dgamma, dbeta


def linear_units(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> tuple[Array, ...]:
    """Unit by unit, gradients added up."""
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    for o in range(len(gamma)):
        z = x @ weight[:, o]
        std = (z.var() + eps) ** 0.5
        h = (z - z.mean()) / std
        d = dy[:, o]
        dgamma[o], dbeta[o] = d @ h, d.sum()
        dz = gamma[o] / std * (d - dbeta[o] / len(d) - h * dgamma[o] / len(d))
        dx += np.outer(dz, weight[:, o])
        dweight[:, o] = x.T @ dz
    return dx, dweight, dgamma, dbeta


def linear_by_name(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> dict[str, Array]:
    """Returned by name."""
    dz, dgamma, dbeta = layer_graph(dy, x @ weight, gamma, eps)
    return {"dweight": x.T @ dz, "dx": (weight @ dz.T).T, "dbeta": dbeta, "dgamma": dgamma}


def linear_projection(
    dy: Array, x: Array, weight: Array, gamma: Array, eps: float = 1e-5
) -> tuple[Array, ...]:
    """Mends dz after the fact: two parts are taken out."""
    z = x @ weight
    std = np.sqrt(z.var(axis=0) + eps)
    z_hat = (z - z.mean(axis=0)) / std
    dz = gamma * dy / std
    dz = dz - dz.mean(axis=0) - z_hat * (dz * z_hat).mean(axis=0)
    return dz @ weight.T, x.T @ dz, (dy * z_hat).sum(axis=0), dy.sum(axis=0)


STYLES = {
    "affine_backward": [
        affine_loop,
        affine_einsum,
        affine_by_name,
        affine_matrices,
        affine_keepdims,
        affine_fortran,
    ],
    "standardize_backward": [
        standardize_paper,
        standardize_graph,
        standardize_closed_with_n,
        standardize_jacobian,
        standardize_einsum,
        standardize_rows,
        standardize_complex_step,
    ],
    "batch_norm_backward": [
        layer_paper,
        layer_gamma_pulled_out,
        layer_supplied,
        layer_graph,
        layer_columns,
        layer_einsum,
        layer_float64,
    ],
    "batch_norm_backward_nchw": [
        maps_axes,
        maps_supplied,
        maps_loop,
        maps_channels_first,
        maps_einsum,
        maps_paper,
    ],
    "normalized_linear_backward": [
        linear_paper,
        linear_gamma_pulled_out,
        linear_einsum,
        linear_units,
        linear_by_name,
        linear_projection,
    ],
}
