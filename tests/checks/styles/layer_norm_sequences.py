"""Right answers of chapter 08 in the styles that learners write."""

from __future__ import annotations

import numpy as np

# ---------------------------------------------------------------- layer_norm_rnn_step


def stacked_weights(x, h, w, u, gamma, beta, eps=1e-5):
    """One product of [h, x] with [w, u]."""
    both = np.concatenate([h, x], axis=1) @ np.concatenate([w, u], axis=1).T
    both = both - both.mean(1, keepdims=True)
    return np.tanh(gamma * both / np.sqrt((both**2).mean(1, keepdims=True) + eps) + beta)


def columns(x, h, w, u, gamma, beta, eps=1e-5):
    """Sequences as columns, as on paper."""
    a = w @ h.T + u @ x.T  # (H, B)
    a_hat = (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + eps)
    return np.tanh(gamma[:, None] * a_hat + beta[:, None]).T


def sequence_by_sequence(x, h, w, u, gamma, beta, eps=1e-5):
    """A loop over the batch."""
    new = np.zeros_like(h)
    for b in range(len(x)):
        a = w.dot(h[b]) + u.dot(x[b])
        new[b] = np.tanh(gamma * (a - a.mean()) / np.sqrt(a.var() + eps) + beta)
    return new


def einsum_and_exponentials(x, h, w, u, gamma, beta, eps=1e-5):
    """Products by einsum, the tanh by exponentials."""
    a = np.einsum("bj,ij->bi", h, w) + np.einsum("bj,ij->bi", x, u)
    z = (a - a.mean(-1)[:, None]) * gamma / np.sqrt(a.var(-1) + eps)[:, None] + beta
    return 1 - 2 / (np.exp(2 * z) + 1)


# ---------------------------------------------------------------- padding_leak


def two_loops(norm, x, lengths, fill):
    """Sequence by sequence, position by position."""
    filled = x.copy()
    for b, length in enumerate(lengths):
        filled[b, length:] = fill
    before, after = norm(x), norm(filled)
    leak = 0.0
    for b, length in enumerate(lengths):
        for t in range(length):
            leak = max(leak, np.max(np.abs(after[b, t] - before[b, t])))
    return leak


def boolean_index(norm, x, lengths, fill):
    """The real positions picked out; an empty choice is 0."""
    pad = np.arange(x.shape[1])[None, :] >= np.asarray(lengths)[:, None]
    other = np.array(x)
    other[pad] = fill
    change = np.abs(norm(other) - norm(x))[~pad]
    return float(change.max()) if change.size else 0.0


def masks_multiplied(norm, x, lengths, fill):
    """Masks of 0 and 1; the norm is given the filled copy first."""
    keep = (np.indices(x.shape[:2])[1] < lengths.reshape(-1, 1)).astype(x.dtype)[:, :, None]
    after = norm(x * keep + fill * (1 - keep))
    return np.abs((after - norm(x)) * keep).max(initial=0)


def largest_and_smallest(norm, x, lengths, fill):
    """The larger of the maximum and the negative minimum."""
    real = np.broadcast_to((np.arange(x.shape[1]) < lengths[:, None])[:, :, None], x.shape)
    filled = np.full_like(x, fill)
    np.copyto(filled, x, where=real)
    gap = np.where(real, norm(x) - norm(filled), 0)
    return np.array(max(gap.max(), -gap.min()))


# ---------------------------------------------------------------- causal_layer_norm


def features_only(x, gamma, beta, eps=1e-5):
    """The last axis by its number."""
    mean, std = x.mean(2, keepdims=True), np.sqrt(x.var(2, keepdims=True) + eps)
    return (x - mean) / std * gamma + beta


def rows_of_tokens(x, gamma, beta, eps=1e-5):
    """One row per token."""
    rows = x.reshape(-1, x.shape[-1])
    rows = ((rows.T - rows.mean(1)) / np.sqrt(rows.var(1) + eps)).T
    return (rows * gamma + beta).reshape(x.shape)


def token_by_token(x, gamma, beta, eps=1e-5):
    """One position after the other, as when text is generated."""
    steps = []
    for t in range(x.shape[1]):
        now = x[:, t]
        now = now - now.mean(1, keepdims=True)
        steps.append(gamma * now / ((now**2).mean(1, keepdims=True) + eps) ** 0.5 + beta)
    return np.stack(steps, axis=1)


STYLES = {
    "layer_norm_rnn_step": [
        stacked_weights,
        columns,
        sequence_by_sequence,
        einsum_and_exponentials,
    ],
    "padding_leak": [two_loops, boolean_index, masks_multiplied, largest_and_smallest],
    "causal_layer_norm": [features_only, rows_of_tokens, token_by_token],
}
