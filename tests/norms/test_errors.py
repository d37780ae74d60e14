"""Bad input: every public function says what came, what it expected and how to mend it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from normcourse import norms
from normcourse.norms import METHODS

from .cases import SHAPES, arguments, every_method, first_input, upstream

X2, X3, X4 = np.ones((5, 4)), np.ones((2, 4, 3)), np.ones((2, 4, 3, 5))
ONE, TWO, FOUR = np.ones(1), np.ones(2), np.ones(4)
SQUARE = np.ones((4, 4))


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    """Return the call, to be made inside the test."""
    return lambda: function(*args, **options)


# Each entry: the call, then words that the message must hold: argument, expected, got, fix.
BAD: dict[str, list[tuple[Callable[[], Any], type[Exception], str]]] = {
    "batch_norm": [
        (call(norms.batch_norm, FOUR), ValueError, "x: expected shape (N, C, *) got (4,) x[None]"),
        (call(norms.batch_norm, X2, TWO), ValueError, "gamma: expected shape (4,), got (2,)"),
        (call(norms.batch_norm, X2, FOUR, TWO), ValueError, "beta: expected shape (4,), got (2,)"),
        (call(norms.batch_norm, X2, 1.0), ValueError, "gamma: got (). np.full((4,), value)"),
        (call(norms.batch_norm, X2, eps=-1e-5), ValueError, "eps: expected >= 0, got -1e-05 1e-5"),
        (call(norms.batch_norm, X2, eps=np.nan), ValueError, "eps: got nan"),
        (call(norms.batch_norm, X2, eps="small"), ValueError, "eps: got 'small'"),
        (call(norms.batch_norm, X2 + 1j), TypeError, "x: expected real numbers, got complex128"),
        (call(norms.batch_norm, [["a", "b"]]), TypeError, "x: expected real numbers, got dtype"),
        (call(norms.batch_norm, [[1.0], [2.0, 3.0]]), ValueError, "x: rows of different length"),
        (
            call(norms.batch_norm, X2, running_mean=FOUR),
            ValueError,
            "running_var: got None beside the other statistic. Give both or neither.",
        ),
    ],
    "update_running_stats": [
        (call(norms.update_running_stats, ONE, ONE, [[3.0]]), ValueError, "at least 2 values"),
        (call(norms.update_running_stats, TWO, FOUR, X2), ValueError, "running_mean: (4,), (2,)"),
        (call(norms.update_running_stats, None, FOUR, X2), ValueError, "running_mean: got None"),
        (
            call(norms.update_running_stats, FOUR, FOUR, X2, momentum=1.1),
            ValueError,
            "momentum: expected a number in [0, 1] or None, got 1.1 Keras or Flax use 1 - m",
        ),
        (
            call(norms.update_running_stats, FOUR, FOUR, X2, num_batches_tracked=-1),
            ValueError,
            "num_batches_tracked: expected a whole number >= 0, got -1",
        ),
    ],
    "to_pytorch_momentum": [
        (call(norms.to_pytorch_momentum, 2), ValueError, "momentum: [0, 1], got 2"),
        (call(norms.to_pytorch_momentum, None), ValueError, "momentum: [0, 1], got None"),
    ],
    "merge_moments": [
        (call(norms.merge_moments, [1], X2, X2), ValueError, "counts: expected (5,) got (1,)"),
        (call(norms.merge_moments, ONE, X2, X3), ValueError, "variances: means, (5, 4), (2, 4, 3)"),
        (call(norms.merge_moments, [-1], [[1.0]], [[1.0]]), ValueError, "counts: >= 0, got -1.0"),
    ],
    "stable_variance": [
        (call(norms.stable_variance, iter([])), ValueError, "stream: at least one value, got none"),
        (call(norms.stable_variance, [X2]), ValueError, "chunk: (n,), got (5, 4) chunk.ravel()"),
    ],
    "fold_batch_norm": [
        (
            call(norms.fold_batch_norm, SQUARE, TWO, None, None, FOUR, FOUR),
            ValueError,
            "bias: expected shape (4,), got (2,)",
        ),
        (
            call(norms.fold_batch_norm, SQUARE, None, None, None, None, FOUR),
            ValueError,
            "running_mean: expected shape (4,), got None",
        ),
    ],
    "affine_to_undo": [
        (call(norms.affine_to_undo, TWO, FOUR), ValueError, "var: the shape of mean, (2,), (4,)"),
    ],
    "masked_batch_norm": [
        (
            call(norms.masked_batch_norm, X3, np.ones((2, 4, 3), bool)),
            ValueError,
            "mask: expected shape (2, 4), got (2, 4, 3). Leave out the feature axis.",
        ),
        (
            call(norms.masked_batch_norm, X3, np.full((2, 4), 7)),
            TypeError,
            "mask: expected booleans, got dtype int64 lengths",
        ),
        (call(norms.masked_batch_norm, FOUR, True), ValueError, "x: (*, D) got (4,)"),
    ],
    "ghost_batch_norm": [
        (call(norms.ghost_batch_norm, X2, 0), ValueError, "ghost_size: whole number >= 1, got 0"),
        (
            call(norms.ghost_batch_norm, X2, 2.5),
            ValueError,
            "ghost_size: whole number >= 1, got 2.5",
        ),
        (call(norms.ghost_batch_norm, X2[:0], 2, TWO), ValueError, "gamma: (4,), got (2,)"),
    ],
    "batch_renorm": [
        (call(norms.batch_renorm, X2, TWO, FOUR), ValueError, "running_mean: (4,), got (2,)"),
        (call(norms.batch_renorm, X2, FOUR, FOUR, r_max=0.5), ValueError, "r_max: >= 1, got 0.5"),
        (call(norms.batch_renorm, X2, FOUR, FOUR, d_max=-1), ValueError, "d_max: >= 0, got -1"),
        (call(norms.batch_renorm, X2, FOUR, None), ValueError, "running_var: got None"),
    ],
    "layer_norm": [
        (
            call(norms.layer_norm, X3, normalized_shape=(4,)),
            ValueError,
            "normalized_shape: the last sizes of x, whose shape is (2, 4, 3), got (4,) end",
        ),
        (call(norms.layer_norm, X3, normalized_shape=()), ValueError, "normalized_shape: got ()"),
        (call(norms.layer_norm, X3, normalized_shape=2.5), ValueError, "normalized_shape: 2.5"),
        (call(norms.layer_norm, X3, FOUR), ValueError, "gamma: expected shape (3,), got (4,)"),
        (call(norms.layer_norm, 3.0), ValueError, "x: expected shape (*, D) got ()"),
    ],
    "layer_norm_rnn_step": [
        (
            call(norms.layer_norm_rnn_step, X2, X2, SQUARE, np.ones((2, 4))),
            ValueError,
            "x, h, w, u: expected (B, I), (B, H), (H, H), (H, I), got (5, 4), (2, 4) outputs",
        ),
    ],
    "rms_norm": [
        (call(norms.rms_norm, X3, FOUR), ValueError, "gamma: expected shape (3,), got (4,)"),
        (call(norms.rms_norm, X3, eps=-1), ValueError, "eps: >= 0, got -1"),
    ],
    "scale_norm": [
        (call(norms.scale_norm, X2, FOUR), ValueError, "gamma: expected shape (), got (4,)"),
    ],
    "instance_norm": [
        (call(norms.instance_norm, X2), ValueError, "x: (N, C, *) position axis, got (5, 4)"),
        (call(norms.instance_norm, X3, TWO), ValueError, "gamma: expected shape (4,), got (2,)"),
    ],
    "adaptive_instance_norm": [
        (
            call(norms.adaptive_instance_norm, X3, X3[:1]),
            ValueError,
            "style: expected N and C of content, (2, 4), got (1, 4). np.repeat",
        ),
        (call(norms.adaptive_instance_norm, X3, X2), ValueError, "style: (N, C, *) got (5, 4)"),
    ],
    "conditional_instance_norm": [
        (
            call(norms.conditional_instance_norm, X3, [0, 3], np.ones((3, 4)), np.ones((3, 4))),
            ValueError,
            "labels: expected shape (2,) with values 0 to 2, got shape (2,) with [0, 3]",
        ),
        (
            call(norms.conditional_instance_norm, X3, [0.0, 1.0], SQUARE, SQUARE),
            TypeError,
            "labels: expected whole numbers, got dtype float64",
        ),
        (
            call(norms.conditional_instance_norm, X3, [0, 1], FOUR, FOUR),
            ValueError,
            "gamma: expected shape (S, C), one row per style, got (4,)",
        ),
    ],
    "group_norm": [
        (
            call(norms.group_norm, X3, 3),
            ValueError,
            "num_groups: expected a divisor of the 4 channels, got 3. Choose one of [1, 2, 4].",
        ),
        (call(norms.group_norm, X3, 0), ValueError, "num_groups: whole number >= 1, got 0"),
        (call(norms.group_norm, X3, True), ValueError, "num_groups: whole number >= 1, got True"),
        (call(norms.group_norm, X3, 2, np.ones(2)), ValueError, "gamma: (4,), got (2,)"),
    ],
    "groups_for": [
        (call(norms.groups_for, "batch", 4), ValueError, "method: ['instance', 'layer'] 'batch'"),
        (call(norms.groups_for, "layer", 0), ValueError, "num_channels: >= 1, got 0"),
    ],
    "weight_norm": [
        (call(norms.weight_norm, SQUARE, TWO), ValueError, "g: expected shape (4,), got (2,)"),
        (
            call(norms.weight_norm, SQUARE, FOUR, output_axis=2),
            ValueError,
            "output_axis: expected an axis of v, whose shape is (4, 4), got 2",
        ),
    ],
    "standardize_weight": [
        (call(norms.standardize_weight, FOUR), ValueError, "weight: (O, *) got (4,)"),
    ],
    "spectral_norm": [
        (call(norms.spectral_norm, SQUARE, FOUR), ValueError, "v: got None beside the other"),
        (call(norms.spectral_norm, SQUARE, TWO, FOUR), ValueError, "u: (4,), got (2,)"),
    ],
    "power_iteration": [
        (call(norms.power_iteration, SQUARE, TWO), ValueError, "v: (4,), got (2,)"),
        (
            call(norms.power_iteration, SQUARE, FOUR, num_iterations=0),
            ValueError,
            "num_iterations: whole number >= 1, got 0",
        ),
    ],
    "local_response_norm": [
        (call(norms.local_response_norm, X4, 0), ValueError, "size: whole number >= 1, got 0"),
        (call(norms.local_response_norm, X4, 3, k=-1), ValueError, "k: >= 0, got -1"),
        (call(norms.local_response_norm, FOUR, 3), ValueError, "x: (N, C, *) got (4,)"),
    ],
    "local_contrast_norm": [
        (call(norms.local_contrast_norm, X4, 4), ValueError, "size: odd number, got 4. Use 5."),
        (call(norms.local_contrast_norm, X3, 3), ValueError, "x: (N, C, H, W), got (2, 4, 3)"),
        (call(norms.local_contrast_norm, X4[None], 3), ValueError, "x: (N, C, H, W), got (1, 2,"),
    ],
    "divisive_normalize": [
        (call(norms.divisive_normalize, -FOUR, SQUARE, 1), ValueError, "drive: >= 0, got -1.0"),
        (call(norms.divisive_normalize, FOUR, -SQUARE, 1), ValueError, "pool: >= 0, got -1.0"),
        (call(norms.divisive_normalize, FOUR, SQUARE, -1), ValueError, "sigma: >= 0, got -1"),
        (call(norms.divisive_normalize, FOUR, X2, 1), ValueError, "pool: (4, 4), got (5, 4)"),
        (
            call(norms.divisive_normalize, FOUR, SQUARE, 1, exponent=0),
            ValueError,
            "exponent: expected a number > 0, got 0",
        ),
    ],
    "divisive_normalize_backward": [
        (
            call(norms.divisive_normalize_backward, FOUR, FOUR, SQUARE, 1, exponent=0.5),
            ValueError,
            "exponent: expected a finite number >= 1, got 0.5",
        ),
    ],
    "divisive_norm_general": [
        (
            call(norms.divisive_norm_general, FOUR, SQUARE, X2, constant=1),
            ValueError,
            "center: expected shape (4, 4), got (5, 4)",
        ),
        (
            call(norms.divisive_norm_general, FOUR, -SQUARE, constant=1),
            ValueError,
            "pool: expected weights >= 0, got -1.0",
        ),
        (
            call(norms.divisive_norm_general, FOUR, SQUARE, constant=-1),
            ValueError,
            "constant: >= 0, got -1",
        ),
    ],
    "window_pool": [
        (call(norms.window_pool, 0, 3), ValueError, "num_channels: >= 1, got 0"),
        (call(norms.window_pool, 3, 0), ValueError, "size: >= 1, got 0"),
    ],
    "whiten": [
        (call(norms.whiten, X3), ValueError, "x: expected shape (N, D), got (2, 4, 3)"),
        (call(norms.whiten, X2, method="svd"), ValueError, "method: ['pca', 'zca'], got 'svd'"),
    ],
    "decorrelated_batch_norm": [
        (
            call(norms.decorrelated_batch_norm, X2, running_mean=FOUR),
            ValueError,
            "running_cov: got None beside the other statistic",
        ),
        (
            call(norms.decorrelated_batch_norm, X2, running_mean=FOUR, running_cov=FOUR),
            ValueError,
            "running_cov: expected shape (4, 4), got (4,)",
        ),
    ],
    "dynamic_tanh": [
        (call(norms.dynamic_tanh, X2, FOUR), ValueError, "alpha: expected shape (), got (4,)"),
        (call(norms.dynamic_tanh, X2, None), ValueError, "alpha: got None"),
    ],
    "qk_norm_scores": [
        (call(norms.qk_norm_scores, X2, X3), ValueError, "q, k: (5, 4) and (2, 4, 3)"),
        (call(norms.qk_norm_scores, X2, X2[:0]), ValueError, "k: at least one key, got (0, 4)"),
        (call(norms.qk_norm_scores, X2, X2, TWO), ValueError, "gamma_q: (4,), got (2,)"),
    ],
    "qk_norm_scores_backward": [
        (
            call(norms.qk_norm_scores_backward, X2, X2, X2),
            ValueError,
            "dy: expected shape (*, Tq, Tk) = (5, 5), got (5, 4)",
        ),
    ],
    "deep_norm": [
        (call(norms.deep_norm, X2, abs, abs, alpha=-1), ValueError, "alpha: >= 0, got -1"),
    ],
    "deep_norm_constants": [
        (call(norms.deep_norm_constants, 0), ValueError, "num_layers: >= 1, got 0"),
    ],
    "post_norm": [
        (call(norms.post_norm, X2, lambda x: x[0], abs), ValueError, "f: keep (5, 4), got (4,)"),
    ],
    "pre_norm": [
        (call(norms.pre_norm, X2, abs, lambda x: x[0]), ValueError, "norm: keep (5, 4), got (4,)"),
    ],
    "res_post_norm": [
        (call(norms.res_post_norm, X2, np.sum, abs), ValueError, "f: keep (5, 4), got ()"),
    ],
    "sandwich_norm": [
        (call(norms.sandwich_norm, X2, abs, abs, np.sum), ValueError, "norm_out: keep (5, 4)"),
    ],
    "pre_norm_stack": [
        (call(norms.pre_norm_stack, X2, [(abs, abs)], np.sum), ValueError, "final_norm: (5, 4)"),
    ],
}


def bad_calls() -> list[Any]:
    return [
        pytest.param(*entry, id=f"{name}-{i}")
        for name, entries in BAD.items()
        for i, entry in enumerate(entries)
    ]


@pytest.mark.parametrize(("bad", "kind", "words"), bad_calls())
def test_message(bad: Callable[[], Any], kind: type[Exception], words: str) -> None:
    """All the words are in the message, in that order."""
    with pytest.raises(kind) as caught:
        bad()
    rest = str(caught.value)
    for word in words.split():
        assert word in rest, f"{word!r} missing in: {caught.value}"
        rest = rest[rest.index(word) + len(word) :]
    if kind is ValueError:
        assert "got" in str(caught.value) or "values" in str(caught.value)


def test_every_public_function_has_a_bad_call() -> None:
    functions = {
        name
        for name in norms.__all__
        if callable(getattr(norms, name)) and not inspect.isclass(getattr(norms, name))
    }
    gradients = {name for name in functions if name.endswith("_backward")}
    assert functions - gradients <= set(BAD)


@every_method()
def test_wrong_gradient_shape(method: Any) -> None:
    drawn = arguments(method, SHAPES[method.layout][-1])
    accepted = inspect.signature(method.backward).parameters
    given = {name: value for name, value in drawn.items() if name in accepted}
    dy = upstream(method.forward(**drawn))
    with pytest.raises(ValueError, match="gradient has the shape of what it is the gradient of"):
        method.backward(dy[..., :-1], **given)
    name = next(iter(accepted))
    with pytest.raises(TypeError, match=f"{name}: expected real numbers, got dtype complex128"):
        method.backward(dy + 1j, **given)


@every_method()
def test_complex_input_and_negative_eps(method: Any) -> None:
    drawn = arguments(method, SHAPES[method.layout][-1])
    x = first_input(method)
    with pytest.raises(TypeError, match=f"{x}: expected real numbers, got dtype complex128"):
        method.forward(**{**drawn, x: drawn[x] + 1j})
    if "eps" in inspect.signature(method.forward).parameters:
        for function in (method.forward, method.backward):
            accepted = inspect.signature(function).parameters
            given = {name: value for name, value in drawn.items() if name in accepted}
            if function is method.backward:
                given[next(iter(accepted))] = method.forward(**drawn)
            with pytest.raises(ValueError, match=r"eps: expected a finite number >= 0, got -0\.1"):
                function(**given, eps=-0.1)


def test_every_method_is_tested_for_its_parameters_shapes() -> None:
    """A parameter of the wrong size never broadcasts silently."""
    for method in METHODS.values():
        drawn = arguments(method, SHAPES[method.layout][-1])
        for name in set(method.parameters) - {first_input(method)}:
            wrong = np.ones((*np.shape(drawn[name]), 2))
            with pytest.raises(ValueError, match=r"expected .*got") as caught:
                method.forward(**{**drawn, name: wrong})
            assert str(caught.value).startswith((name, "labels")), caught.value
