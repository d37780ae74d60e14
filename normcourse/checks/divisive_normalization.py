"""Chapter 12: local response normalization and divisive normalization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.norms.divisive import divisive_normalize
from normcourse.norms.local_response_norm import local_response_norm

_NOTEBOOK = "12_divisive_normalization"
_LOCAL = "A window of channels"
_CANONICAL = "The canonical formula"

# ---------------------------------------------------------------- local_response_norm


def _local_reference(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    return local_response_norm(x, size, alpha=alpha, beta=beta, k=k)


def _window(window: str, size: int, count: int) -> tuple[int, int]:
    """Return how many channels before and behind its own a right or wrong window holds."""
    return {
        "torch": (size // 2, (size - 1) // 2),
        "onnx": ((size - 1) // 2, size // 2),
        "both_halves": (size // 2, size // 2),
        "radius": (size, size),
        "behind": (0, size - 1),
        "before": (size - 1, 0),
        "all": (count, count),
    }[window]


def _local_variant(
    x: Any,
    size: int,
    alpha: float | None = None,
    beta: float | None = None,
    k: float | None = None,
    *,
    window: str = "torch",
    border: str = "zeros",
    divide_by: str = "size",
    values: str = "squares",
    power: str = "beta",
    constant: str = "inside",
    use_alpha: bool = True,
    own: bool = True,
    along: str = "channels",
    numerator: str = "x",
    default_alpha: float = 1e-4,
    default_beta: float = 0.75,
    default_k: float = 1.0,
) -> Any:
    """Return each value over a power of its neighbours' squares, right or wrong.

    Args:
        x: array of shape (N, C, *).
        size: channels in the window.
        alpha, beta, k: constants, with their defaults.
        window: "torch", "onnx", "both_halves", "radius", "behind", "before" or "all".
        border: what lies beyond the ends: "zeros", "wrap" or "edge".
        divide_by: "size", "nothing" or "present" (the channels that exist).
        values: "squares", "absolute" or "signed".
        power: "beta", "root", "none" or "times" (multiplied instead of divided).
        constant: k "inside" the power, "outside" it or "nowhere".
        use_alpha: False leaves alpha out.
        own: False leaves the channel's own square out.
        along: "channels" or "positions" (the last axis).
        numerator: "x" or "squares".
        default_alpha, default_beta, default_k: used where none is given.
    """
    alpha = default_alpha if alpha is None else alpha
    beta = default_beta if beta is None else beta
    k = default_k if k is None else k
    axis = 1 if along == "channels" else x.ndim - 1
    moved = np.moveaxis(x, axis, 0)
    count = len(moved)
    powers = {"absolute": np.abs(moved), "signed": moved}.get(values, moved * moved)
    before, behind = _window(window, size, count)
    pooled = np.zeros_like(powers)
    for c in range(count):
        places = [j for j in range(c - before, c + behind + 1) if own or j != c]
        inside = [j for j in places if 0 <= j < count]
        taken = {
            "zeros": inside,
            "wrap": [j % count for j in places],
            "edge": [min(max(j, 0), count - 1) for j in places],
        }[border]
        total = powers[taken].sum(axis=0)
        present = max(len(inside), 1)
        pooled[c] = total / {"size": size, "present": present}.get(divide_by, 1)
    scaled = alpha * pooled if use_alpha else pooled
    divisor = scaled + (k if constant == "inside" else 0.0)
    exponent = {"root": 0.5, "none": 1.0, "times": -beta}.get(power, beta)
    divisor = divisor**exponent + (k if constant == "outside" else 0.0)
    top = moved * moved if numerator == "squares" else moved
    return np.moveaxis(top / divisor, 0, axis)


def _local_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], size: int, **constants: float) -> Inputs:
        return {"x": rng.normal(0.5, 2.0, shape), "size": size, **constants}

    strong = {"alpha": 1.5, "beta": 0.6, "k": 0.7}
    small = np.array([[1.0, 2.0, 3.0, 0.0, 4.0]]).reshape(1, 5, 1, 1)
    yield Case(
        "five channels, a window of three",
        {"x": small, "size": 3, "alpha": 3.0, "beta": 1.0, "k": 1.0},
        about="The divisors are 1 + 1 + 4, 1 + 1 + 4 + 9, and so on: beyond the ends there is 0.",
    )
    yield Case("images", draw((2, 6, 3, 4), 3, **strong))
    yield Case(
        "an even window",
        draw((2, 7, 2, 3), 4, **strong),
        about="The longer half of an even window lies before the channel: c − 2 … c + 1.",
    )
    yield Case(
        "a window of two",
        draw((3, 5, 2, 2), 2, **strong),
        about="The longer half of an even window lies before the channel: c − 1 and c.",
    )
    yield Case("a window of one channel", draw((2, 4, 3, 2), 1, **strong))
    yield Case(
        "a window wider than all channels",
        draw((2, 3, 2, 4), 9, **strong),
        about="All channels are in every window; alpha is still divided by its size.",
    )
    far = draw((2, 6, 3, 2), 5)
    far["x"] = 60.0 * far["x"]
    yield Case(
        "all constants left to their defaults",
        far,
        about="The defaults are alpha = 1e-4, beta = 0.75, k = 1.",
    )
    yield Case("sequences", draw((2, 6, 5), 3, **strong))
    yield Case(
        "no positions at all",
        draw((3, 6), 4, **strong),
        about="Any number of position axes is allowed, none among them.",
    )
    zeros = draw((1, 4, 2, 3), 3, **strong)
    zeros["x"][:, 1:] = 0.0
    yield Case("channels of zeros", zeros, Stage.SPECIAL)
    yield Case(
        "an input that must not be written to",
        draw((2, 5, 2, 3), 3, **strong),
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32(draw((2, 6, 4, 3), 5, **strong)), Stage.NUMERICS)


def _changes_x(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    y = _local_reference(x, size, alpha, beta, k)
    x *= x
    return y


def _other_default(name: str, value: float, right: str, whose: str) -> Mistake:
    return Mistake(
        f"default_{name}_{value:g}",
        f"Your default is {name}={value:g}{whose}. The exercise asks for {name}={right}.",
        {f"default_{name}": value},
    )


_LOCAL_RESPONSE_NORM = Exercise(
    id="local_response_norm",
    title="Local response normalization",
    section=_LOCAL,
    signature="x, size, alpha=1e-4, beta=0.75, k=1.0",
    minutes=12,
    difficulty=3,
    hints=(
        "Channel 0 has no neighbour before it. What does the window hold there, and by what is "
        "alpha divided?",
        "Add up the squares from c − size // 2 to c + (size − 1) // 2, as far as they exist; the "
        "divisor is (k + alpha / size · sum) to the power beta. Chapter 12, “A window of "
        "channels”.",
        "Pad x² with size // 2 channels of zeros before and (size − 1) // 2 behind: "
        "`total = sum(padded[:, i:i + c] for i in range(size))`; then "
        "x / (k + alpha / size · total) ** beta.",
    ),
    insight=(
        "With AlexNet's numbers, k = 2 and alpha = 1e-4 not divided by the size 5, five "
        "activations of 10 change the divisor by 1.9 %. LRN hardly normalizes before activations "
        "come near 100."
    ),
    cases=_local_cases,
    reference=_local_reference,
    variant=_local_variant,
    mistakes=(
        Mistake(
            "alpha_not_divided",
            "You do not divide alpha by the size of the window, as in the original paper. Here, as "
            "in PyTorch, it is alpha / size.",
            {"divide_by": "nothing"},
        ),
        Mistake(
            "mean_of_the_present",
            "At the ends you divide by the number of channels that exist. alpha is divided by size "
            "everywhere; missing channels count as 0.",
            {"divide_by": "present"},
        ),
        Mistake(
            "longer_half_behind",
            "In an even window you put the longer half behind the channel, as ONNX does. Here it "
            "lies before: c − size // 2 … c + (size − 1) // 2.",
            {"window": "onnx"},
        ),
        Mistake(
            "one_channel_too_many",
            "Your window has size // 2 channels on either side, one too many when size is even. "
            "Behind the channel there are (size − 1) // 2.",
            {"window": "both_halves"},
        ),
        Mistake(
            "size_is_radius",
            "You take size for the number of neighbours on either side. It is the width of the "
            "whole window.",
            {"window": "radius"},
        ),
        Mistake(
            "window_behind",
            "Your window begins at the channel itself. It lies around it: c − size // 2 … "
            "c + (size − 1) // 2.",
            {"window": "behind"},
        ),
        Mistake(
            "window_before",
            "Your window ends at the channel itself. It lies around it: c − size // 2 … "
            "c + (size − 1) // 2.",
            {"window": "before"},
        ),
        Mistake(
            "all_channels",
            "You add up all channels. Only those within the window count.",
            {"window": "all"},
        ),
        Mistake(
            "wraps_around",
            "At the ends your window goes on at the other end. Beyond the ends there is 0.",
            {"border": "wrap"},
        ),
        Mistake(
            "ends_repeated",
            "At the ends you repeat the last channel. Beyond the ends there is 0.",
            {"border": "edge"},
        ),
        Mistake(
            "own_channel_left_out",
            "You leave the channel's own square out. It belongs to its window.",
            {"own": False},
        ),
        Mistake(
            "over_positions",
            "Your window runs over the last axis, the width. It runs over the channels, at each "
            "position alone.",
            {"along": "positions"},
        ),
        Mistake(
            "absolute_values",
            "You add up absolute values. Add up squares.",
            {"values": "absolute"},
        ),
        Mistake(
            "not_squared",
            "You add up the values themselves, so that signs cancel. Add up squares.",
            {"values": "signed"},
        ),
        Mistake(
            "beta_missing",
            "You divide by the sum itself. It is raised to the power beta first.",
            {"power": "none"},
        ),
        Mistake(
            "root_for_beta",
            "You take the square root. The exponent is beta.",
            {"power": "root"},
        ),
        Mistake(
            "multiplied",
            "You multiply by the power. Divide by it: strong neighbours make a channel weaker.",
            {"power": "times"},
        ),
        Mistake(
            "k_missing",
            "You leave k out. It is added to the scaled sum, before the power.",
            {"constant": "nowhere"},
        ),
        Mistake(
            "k_outside_power",
            "You add k after the power. It is added before: (k + alpha / size · sum) ** beta.",
            {"constant": "outside"},
        ),
        Mistake(
            "alpha_missing",
            "You leave alpha out. It weighs the sum of squares.",
            {"use_alpha": False},
        ),
        Mistake(
            "numerator_squared",
            "You divide x². Divide x.",
            {"numerator": "squares"},
        ),
        _other_default("alpha", 1.0, "1e-4", ""),
        _other_default("beta", 0.5, "0.75", ""),
        _other_default("k", 2.0, "1.0", ", AlexNet's"),
        Mistake(
            "changes_x", "Your function changes its argument x.", wrong=_changes_x, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- divisive_normalize


def _divisive_reference(
    drive: Any, pool: Any, sigma: float, exponent: float = 2.0, gain: float = 1.0
) -> Any:
    return divisive_normalize(drive, pool, sigma, exponent=exponent, gain=gain)


def _divisive_variant(
    drive: Any,
    pool: Any,
    sigma: float,
    exponent: float | None = None,
    gain: float | None = None,
    *,
    sigma_power: str = "powered",
    neighbours: str = "rows",
    pooled: str = "powered",
    top: str = "powered",
    root: str = "none",
    gain_place: str = "outside",
    default_exponent: float = 2.0,
    default_gain: float = 1.0,
) -> Any:
    """Return drives over pooled drives, right or wrong as the switches say.

    Args:
        drive: values >= 0, (*, D).
        pool: weights, (D, D).
        sigma: semi-saturation constant.
        exponent, gain: with their defaults.
        sigma_power: sigma "powered", "linear", "squared" or "nowhere".
        neighbours: weights along "rows" or "columns" of pool, "normalized" rows, without the
            "others" or the "self", "ones" or "mean" of all.
        pooled: drives "powered" before they are pooled, "after", "with_sigma" or "linear".
        top: numerator "powered" or "linear".
        root: of the "quotient", of the "divisor", or "none".
        gain_place: "outside", "inside" the power, "nowhere" or "divides".
        default_exponent, default_gain: used where none is given.
    """
    n = default_exponent if exponent is None else exponent
    gain = default_gain if gain is None else gain
    size = len(pool)
    weights = {
        "rows": pool,
        "columns": pool.T,
        "normalized": pool / pool.sum(axis=1, keepdims=True),
        "others": pool * np.eye(size),
        "self": pool * (1 - np.eye(size)),
        "ones": np.ones_like(pool),
        "mean": np.full_like(pool, 1 / size),
    }[neighbours]
    inner = drive**n if pooled == "powered" else drive
    total = inner @ weights.T
    total = total**n if pooled == "after" else total
    constant = {"powered": sigma**n, "linear": sigma, "squared": sigma**2}.get(sigma_power, 0.0)
    divisor = (sigma + total) ** n if pooled == "with_sigma" else constant + total
    divisor = divisor ** (1 / n) if root == "divisor" else divisor
    upper = drive * gain if gain_place == "inside" else drive
    y = (upper if top == "linear" else upper**n) / divisor
    y = y ** (1 / n) if root == "quotient" else y
    return {"outside": gain * y, "divides": y / gain}.get(gain_place, y)


def _divisive_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], sigma: float, exponent: float, gain: float) -> Inputs:
        size = shape[-1]
        drive = rng.uniform(0.2, 3.0, shape)
        pool = rng.uniform(0.1, 1.2, (size, size))
        values = {"drive": drive, "pool": pool, "sigma": sigma, "exponent": exponent, "gain": gain}
        return values

    pair = {"drive": np.array([3.0, 1.0]), "pool": np.array([[1.0, 0.0], [2.0, 1.0]])}
    yield Case("two neurons, the first inhibits the second", {**pair, "sigma": 2.0})
    yield Case("another exponent and a gain", draw((5,), 1.5, 3.0, 2.5))
    yield Case("a fractional exponent", draw((4,), 0.6, 1.4, 0.8))
    yield Case("several patterns", draw((3, 5), 1.7, 2.5, 1.6))
    yield Case("two leading axes", draw((2, 3, 4), 0.8, 2.2, 3.0))
    yield Case("as many patterns as neurons", draw((4, 4), 1.3, 3.0, 0.7))
    defaults = draw((2, 5), 1.2, 2.0, 1.0)
    del defaults["exponent"], defaults["gain"]
    yield Case(
        "exponent and gain left to their defaults",
        defaults,
        about="The defaults are exponent = 2 and gain = 1.",
    )
    own = draw((4, 1), 1.7, 3.0, 1.4)
    own["pool"] = np.array([[1.0]])
    own["drive"][0] = 1.7
    yield Case(
        "one neuron alone",
        own,
        about="At drive = sigma a neuron pooled with weight 1 answers half its gain.",
    )
    silent = draw((2, 3), 0.5, 2.0, 1.5)
    silent["drive"][0] = 0.0
    silent["drive"][1, 2] = 0.0
    yield Case("silent neurons", silent, Stage.SPECIAL, about="No drive, no answer: 0 over sigmaⁿ.")
    yield Case(
        "inputs that must not be written to",
        draw((3, 4), 1.1, 2.0, 2.0),
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32(draw((3, 6), 0.9, 2.5, 1.8)), Stage.NUMERICS)


def _pool_from_the_left(
    drive: Any, pool: Any, sigma: float, exponent: float = 2.0, gain: float = 1.0
) -> Any:
    powered = drive**exponent
    return gain * powered / (sigma**exponent + pool @ powered)


def _changes_drive(
    drive: Any, pool: Any, sigma: float, exponent: float = 2.0, gain: float = 1.0
) -> Any:
    y = _divisive_reference(drive, pool, sigma, exponent, gain)
    drive *= drive
    return y


_DIVISIVE_NORMALIZE = Exercise(
    id="divisive_normalize",
    title="Divisive normalization of a population",
    section=_CANONICAL,
    signature="drive, pool, sigma, exponent=2.0, gain=1.0",
    minutes=8,
    difficulty=2,
    hints=(
        "Three things are raised to the exponent. Two are drives, above and below; what is the "
        "third?",
        "Raise first, then pool: neuron i adds up pool[i, j] · drive[j]ⁿ over its neighbours j, "
        "for every leading axis. Chapter 12, “The canonical formula”.",
        "`powered = drive ** exponent`; the pooled neighbours are `powered @ pool.T`; "
        "gain · powered / (sigma ** exponent + pooled).",
    ),
    insight=(
        "Pool every neuron with weight 1/D, take sigma² = eps and exponent 2, and y is exactly the "
        "square of RMSNorm. The layer of today's language models is a formula for neurons of the "
        "visual cortex from 1992, up to a root."
    ),
    cases=_divisive_cases,
    reference=_divisive_reference,
    variant=_divisive_variant,
    mistakes=(
        Mistake(
            "sigma_not_raised",
            "You add sigma. It is raised to the exponent as the drives are: sigmaⁿ.",
            {"sigma_power": "linear"},
        ),
        Mistake(
            "sigma_squared",
            "You add sigma². Its exponent is the same as that of the drives: sigmaⁿ.",
            {"sigma_power": "squared"},
        ),
        Mistake(
            "sigma_missing",
            "You leave sigma out. sigmaⁿ is part of the divisor.",
            {"sigma_power": "nowhere"},
        ),
        Mistake(
            "pool_transposed",
            "You pool with the columns of pool. Row i says how much each neighbour j counts for "
            "neuron i.",
            {"neighbours": "columns"},
        ),
        Mistake(
            "pool_rows_normalized",
            "You divide the weights of each row by their sum. Take pool as it is.",
            {"neighbours": "normalized"},
        ),
        Mistake(
            "only_itself",
            "You divide by the neuron's own drive only. Its neighbours count too, with the weights "
            "of its row.",
            {"neighbours": "others"},
        ),
        Mistake(
            "itself_left_out",
            "You leave the neuron itself out of its pool. pool[i, i] counts as well.",
            {"neighbours": "self"},
        ),
        Mistake(
            "pool_ignored",
            "You add up all drives alike. Each neighbour counts with its weight in pool.",
            {"neighbours": "ones"},
        ),
        Mistake(
            "pool_replaced_by_mean",
            "You take the mean of all drives. Each neighbour counts with its weight in pool.",
            {"neighbours": "mean"},
        ),
        Mistake(
            "raised_after_pooling",
            "You pool the drives and raise their sum. Raise each drive first, then pool.",
            {"pooled": "after"},
        ),
        Mistake(
            "divisor_raised",
            "You add sigma and the pooled drives and raise their sum. Raise each of them first.",
            {"pooled": "with_sigma"},
        ),
        Mistake(
            "pooled_drives_not_raised",
            "You pool the drives as they are. They are raised to the exponent first.",
            {"pooled": "linear"},
        ),
        Mistake(
            "numerator_not_raised",
            "Your numerator is the drive itself. It is raised to the exponent.",
            {"top": "linear"},
        ),
        Mistake(
            "root_of_the_quotient",
            "You take the root of the whole quotient. The canonical formula takes none.",
            {"root": "quotient"},
        ),
        Mistake(
            "root_of_the_divisor",
            "You take the root of the divisor, as RMSNorm does. The canonical formula takes none.",
            {"root": "divisor"},
        ),
        Mistake(
            "gain_inside",
            "You raise the gain to the exponent too. It multiplies the quotient.",
            {"gain_place": "inside"},
        ),
        Mistake(
            "gain_missing",
            "You leave the gain out. It multiplies the quotient.",
            {"gain_place": "nowhere"},
        ),
        Mistake(
            "divided_by_gain",
            "You divide by the gain. It multiplies the quotient.",
            {"gain_place": "divides"},
        ),
        Mistake(
            "default_exponent_1",
            "Your default is exponent=1. The exercise asks for exponent=2.",
            {"default_exponent": 1.0},
        ),
        Mistake(
            "pool_from_the_left",
            "`pool @ drive` sums over the first axis, which are the neurons only when there are no "
            "others. Sum over the last: `drive @ pool.T`.",
            wrong=_pool_from_the_left,
        ),
        Mistake(
            "changes_drive",
            "Your function changes its argument drive.",
            wrong=_changes_drive,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_LOCAL_RESPONSE_NORM, _DIVISIVE_NORMALIZE)
