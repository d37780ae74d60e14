"""Right answers of chapter 09 in the styles that learners write."""

from __future__ import annotations

import math

import numpy as np

# ---------------------------------------------------------------- rms_norm_forward


def explicit_sums(x, gamma, eps=1e-5):
    """A sum divided by D."""
    rms = np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True) / x.shape[-1] + eps)
    return x / rms * gamma


def length_of_the_vector(x, gamma, eps=1e-5):
    """np.linalg.norm, squared again, over D."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return gamma * (x / np.sqrt(length**2 / x.shape[-1] + eps))


def example_by_example(x, gamma, eps=1e-5):
    """A loop over rows, whatever the leading axes."""
    rows = x.reshape(-1, x.shape[-1])
    y = np.zeros(rows.shape)
    for i, row in enumerate(rows):
        rms = math.sqrt(sum(float(v) * float(v) for v in row) / len(row) + eps)
        for j, v in enumerate(row):
            y[i, j] = gamma[j] * v / rms
    return y.reshape(x.shape)


def einsum(x, gamma, eps=1e-5):
    """The squares summed by einsum."""
    inv = (np.einsum("...d,...d->...", x, x) / x.shape[-1] + eps) ** -0.5
    return np.einsum("...d,...,d->...d", x, inv, gamma)


def transposed(x, gamma, eps=1e-5):
    """All axes reversed."""
    return (x.T / np.sqrt((x.T**2).mean(axis=0) + eps)).T * gamma


def variance_and_mean(x, gamma, eps=1e-5):
    """The mean square as variance plus squared mean."""
    square = x.var(-1, keepdims=True) + x.mean(-1, keepdims=True) ** 2
    return gamma * x * (1 / np.sqrt(square + eps))


def apply_along_axis(x, gamma, epsilon=1e-5):
    """NumPy's own loop, another name for eps."""
    return np.apply_along_axis(lambda v: gamma * v / np.sqrt(v @ v / v.size + epsilon), -1, x)


def moved_to_the_front(x, gamma, eps=1e-5):
    """The features on axis 0."""
    front = np.moveaxis(x, -1, 0)
    return gamma * np.moveaxis(front / (np.mean(front**2, axis=0) + eps) ** 0.5, 0, -1)


# ---------------------------------------------------------------- rms_norm_backward


def closed_form_in_sums(dy, x, gamma, eps=1e-5):
    """Sums divided by D."""
    d = x.shape[-1]
    rms = np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    g = gamma * dy
    dx = g / rms - x * (g * x).sum(-1, keepdims=True) / (d * rms**3)
    return dx, (dy * x / rms).reshape(-1, d).sum(axis=0)


def node_by_node(dy, x, gamma, eps=1e-5):
    """The computational graph, backward."""
    d = x.shape[-1]
    square = (x * x).mean(-1, keepdims=True) + eps
    root = np.sqrt(square)
    inverse = 1 / root
    dgamma = dy * x * inverse
    dx_hat = dy * gamma
    dinverse = (dx_hat * x).sum(-1, keepdims=True)
    droot = -dinverse / root**2
    dsquare = droot / (2 * root)
    dx = dx_hat * inverse + dsquare * 2 * x / d
    while dgamma.ndim > 1:
        dgamma = dgamma.sum(axis=0)
    return dx, dgamma


def jacobian(dy, x, gamma, eps=1e-5):
    """The D × D Jacobian of each example."""
    d = x.shape[-1]
    dx, dgamma = np.zeros(x.shape), np.zeros(d)
    for place in np.ndindex(x.shape[:-1]):
        row = x[place]
        rms = np.sqrt(row @ row / d + eps)
        jac = np.eye(d) / rms - np.outer(row, row) / (d * rms**3)
        dx[place] = jac @ (gamma * dy[place])
        dgamma += dy[place] * row / rms
    return dx, dgamma


def einsum_gradients(dy, x, gamma, eps=1e-5):
    """All sums by einsum; a list is returned."""
    d = x.shape[-1]
    inv = (np.einsum("...d,...d->...", x, x) / d + eps)[..., None] ** -0.5
    x_hat = x * inv
    along = np.einsum("...d,...d,d->...", dy, x_hat, gamma)[..., None] / d
    rows = (-1, d)
    return [
        inv * (gamma * dy - x_hat * along),
        np.einsum("nd,nd->d", dy.reshape(rows), x_hat.reshape(rows)),
    ]


def quotient_rule(dy, x, gamma, eps=1e-5):
    """(g · rms² − x · mean(g · x)) / rms³, and a dict."""
    square = np.mean(x * x, axis=-1, keepdims=True) + eps
    g = dy * gamma
    dx = (g * square - x * np.mean(g * x, axis=-1, keepdims=True)) / square**1.5
    axes = tuple(range(dy.ndim - 1))
    return {"dx": dx, "dgamma": np.sum(dy * (x / np.sqrt(square)), axis=axes)}


def columns(dy, x, gamma, eps=1e-5):
    """Examples as columns."""
    d = x.shape[-1]
    t, up = x.reshape(-1, d).T, dy.reshape(-1, d).T
    inv = 1 / np.sqrt((t * t).mean(axis=0) + eps)
    g = gamma[:, None] * up
    dt = inv * g - t * inv**3 * (g * t).mean(axis=0)
    return dt.T.reshape(x.shape), (up * t * inv).sum(axis=1)


# ---------------------------------------------------------------- dynamic_tanh


def plain(x, alpha, gamma, beta):
    """NumPy's tanh."""
    return np.add(np.tanh(x * alpha) * gamma, beta)


def one_exponential(x, alpha, gamma, beta):
    """1 − 2 / (e²ᶻ + 1): where the exponential overflows the quotient is 0."""
    return gamma * (1 - 2 / (np.exp(2 * (alpha * x)) + 1)) + beta


def by_sign(x, alpha, gamma, beta):
    """The exponential of a negative number only."""
    z = alpha * x
    small = np.exp(-2 * np.abs(z))
    return gamma * np.sign(z) * (1 - small) / (1 + small) + beta


def scaled_sigmoid(x, alpha, gamma, beta):
    """2 · sigmoid(2z) − 1."""
    return gamma * (2 / (1 + np.exp(-2 * alpha * x)) - 1) + beta


def value_by_value(x, alpha, gamma, beta):
    """A loop over all places."""
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        j = place[-1]
        y[place] = gamma[j] * math.tanh(alpha * float(x[place])) + beta[j]
    return y


# ---------------------------------------------------------------- qk_norm_scores


def softmax_without_a_shift(q, k, gamma_q, gamma_k, eps=1e-5):
    """The scores are bounded, so their exponentials are."""

    def norm(a, gamma):
        return gamma * a / np.sqrt(np.mean(a**2, axis=-1, keepdims=True) + eps)

    scores = np.matmul(norm(q, gamma_q), np.swapaxes(norm(k, gamma_k), -2, -1))
    e = np.exp(scores / np.sqrt(q.shape[-1]))
    return e / np.sum(e, axis=-1, keepdims=True)


def one_gamma_for_both(q, k, gamma_q, gamma_k, eps=1e-5):
    """The product of the gammas on the keys: nothing else enters."""
    q = q * ((q * q).mean(-1, keepdims=True) + eps) ** -0.5
    k = k * ((k * k).mean(-1, keepdims=True) + eps) ** -0.5 * (gamma_q * gamma_k)
    scores = np.einsum("...qd,...kd->...qk", q, k) * q.shape[-1] ** -0.5
    scores = scores - scores.max(-1)[..., None]
    return np.exp(scores) / np.exp(scores).sum(-1)[..., None]


def cosines(q, k, gamma_q, gamma_k, eps=1e-5):
    """Lengths divided out after the product, by log-sum-exp."""
    d = q.shape[-1]
    size_q = np.sqrt((q**2).sum(-1) / d + eps)[..., :, None]
    size_k = np.sqrt((k**2).sum(-1) / d + eps)[..., None, :]
    scores = (q * gamma_q) @ np.moveaxis(k * gamma_k, -1, -2) / (size_q * size_k * np.sqrt(d))
    return np.exp(scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True)))


def query_by_query(q, k, gamma_q, gamma_k, eps=1e-5):
    """A loop over heads and queries."""
    d = q.shape[-1]
    weights = np.zeros((*q.shape[:-1], k.shape[-2]))
    for place in np.ndindex(q.shape[:-1]):
        keys = k[place[:-1]]
        a = gamma_q * q[place] / np.sqrt(q[place] @ q[place] / d + eps)
        b = gamma_k * keys / np.sqrt((keys * keys).sum(1, keepdims=True) / d + eps)
        e = np.exp(b @ a / math.sqrt(d))
        weights[place] = e / e.sum()
    return weights


# ---------------------------------------------------------------- rms_norm_half


def in_float64(x, gamma, eps=1e-5):
    """Everything in float64, and it stays there."""
    x = x.astype(np.float64)
    return gamma * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


def cast_before_gamma(x, gamma, eps=1e-5):
    """Back to the dtype of x before gamma multiplies, as some language models do."""
    wide = x.astype(np.float32)
    x_hat = wide / np.sqrt(np.square(wide).mean(-1, keepdims=True) + eps)
    return gamma * x_hat.astype(x.dtype)


def mean_in_float32(x, gamma, eps=1e-5):
    """np.multiply and np.mean told to work in float32."""
    square = np.multiply(x, x, dtype=np.float32).mean(axis=-1, keepdims=True)
    return (gamma / np.sqrt(square + eps) * x).astype(x.dtype)


def scaled_with_eps(x, gamma, eps=1e-5):
    """Divided by the largest value first, eps by its square."""
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True).astype(np.float32), 1e-6)
    scaled = x / largest
    return gamma * scaled / np.sqrt((scaled**2).mean(-1, keepdims=True) + eps / largest**2)


STYLES = {
    "rms_norm_forward": [
        explicit_sums,
        length_of_the_vector,
        example_by_example,
        einsum,
        transposed,
        variance_and_mean,
        apply_along_axis,
        moved_to_the_front,
    ],
    "rms_norm_backward": [
        closed_form_in_sums,
        node_by_node,
        jacobian,
        einsum_gradients,
        quotient_rule,
        columns,
    ],
    "dynamic_tanh": [plain, one_exponential, by_sign, scaled_sigmoid, value_by_value],
    "qk_norm_scores": [
        softmax_without_a_shift,
        one_gamma_for_both,
        cosines,
        query_by_query,
    ],
    "rms_norm_half": [in_float64, cast_before_gamma, mean_in_float32, scaled_with_eps],
}
