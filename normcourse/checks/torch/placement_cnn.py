"""Chapter 13 in PyTorch: where the norm of a convolutional net stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import gammas
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage

_NOTEBOOK = "13_placement_cnn"
_ORDER = "Convolution, norm, ReLU"
_BIAS = "The redundant bias"
_BLOCK = "The residual branch"
_SKIP = "A clean skip path"

_TRAINING, _INFERENCE = {"mode": "training"}, {"mode": "inference"}


def _convolution(rng: np.random.Generator, out_channels: int, in_channels: int) -> Any:
    return rng.normal(0.0, 0.5, (out_channels, in_channels, 3, 3))


def _norm(rng: np.random.Generator, channels: int) -> Any:
    """Return gamma, beta, mean and variance of a norm, an array of shape (4, C)."""
    beta, mean = rng.normal(0.3, 0.7, (2, channels))
    return np.stack([gammas(rng, channels), beta, mean, rng.uniform(0.5, 3.0, channels)])


# ---------------------------------------------------------------- conv_norm_relu


def _sequence_variant(
    in_channels: int,
    out_channels: int,
    *,
    order: str = "conv norm relu",
    bias: bool = False,
    kernel_size: int = 3,
    padding: int | None = None,
    norm: str = "batch",
    affine: bool = True,
    track: bool = True,
    activation: str = "relu",
    container: str = "sequential",
) -> Any:
    """Return conv, norm and ReLU; the switches change each of them, their order and wrapping."""
    from torch import nn

    same = kernel_size // 2 if padding is None else padding
    norms: dict[str, Callable[[int], nn.Module]] = {
        "batch": lambda c: nn.BatchNorm2d(c, affine=affine, track_running_stats=track),
        "group": lambda c: nn.GroupNorm(1, c),
        "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    }
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "leaky": nn.LeakyReLU,
        "sigmoid": nn.Sigmoid,
    }
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=same, bias=bias)
    width = in_channels if order.startswith("norm") else out_channels
    parts = {"conv": conv, "norm": norms[norm](width), "relu": activations[activation]()}
    sequence = nn.Sequential(*(parts[word] for word in order.split()))
    if container == "sequential":
        return sequence

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = sequence

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    return Block()


def _sequence_reference(in_channels: int, out_channels: int) -> Any:
    from normcourse.modules import ConvNormReLU

    return ConvNormReLU(in_channels, out_channels)


def _sequence_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], out: int, mode: Inputs, **options: Any) -> Case:
        filled = {"convolutions": [_convolution(rng, out, shape[1])], "norms": [_norm(rng, out)]}
        sizes = {"in_channels": shape[1], "out_channels": out}
        x = rng.normal(0.5, 1.0, shape)
        return Case(name, {**sizes, "x": x, **mode, **filled}, **options)

    yield case("two images, one channel to two, training mode", (2, 1, 3, 4), 2, _TRAINING)
    yield Case(
        "what it is made of",
        {"in_channels": 2, "out_channels": 4},
        probe="torch:sequence facts",
        outputs=("kind of module", "shapes of the parameters"),
        about="One weight per kernel entry, a gamma and a beta per channel, and nothing besides.",
    )
    yield case("more channels in than out", (3, 4, 5, 2), 3, _TRAINING)
    yield case("as many channels in as out", (2, 3, 4, 5), 3, _TRAINING)
    yield case("inference mode", (2, 3, 4, 5), 2, _INFERENCE)
    yield case("one image in inference mode", (1, 2, 6, 3), 4, _INFERENCE)
    yield case("maps of one pixel", (4, 3, 1, 1), 2, _TRAINING, stage=Stage.SPECIAL)
    inputs = {
        "in_channels": 2,
        "out_channels": 3,
        "x": rng.normal(0.5, 1.0, (2, 2, 3, 4)),
        "dy": rng.normal(0.0, 1.0, (2, 3, 3, 4)),
        "convolutions": [_convolution(rng, 3, 2)],
        "norms": [_norm(rng, 3)],
    }
    yield Case(
        "the gradient",
        {**inputs, **_TRAINING},
        Stage.GRADIENTS,
        probe="torch:block gradient",
        outputs=("dx", "gradient of the last gamma"),
    )


_CONV_NORM_RELU = Exercise(
    id="conv_norm_relu",
    title="Convolution, norm, ReLU",
    section=_ORDER,
    signature="in_channels, out_channels",
    minutes=5,
    difficulty=1,
    runtime="torch",
    probe="torch:block output",
    hints=(
        "The norm subtracts a mean per channel. Which of the convolution's parameters can then "
        "change nothing?",
        "The norm stands between the two, and the convolution needs no bias. Which padding keeps "
        "H and W with a 3 × 3 kernel? Chapter 13, “The redundant bias”.",
        "`nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)`, then "
        "`nn.BatchNorm2d(out_channels)` and `nn.ReLU()`, in one `nn.Sequential`.",
    ),
    insight=(
        "A new layer of this kind lets through about half of its values, whatever the weights' "
        "scale: gamma = 1 and beta = 0 put zero near the middle of each channel, where ReLU cuts. "
        "Without the norm the scale of the weights would decide."
    ),
    cases=_sequence_cases,
    reference=_sequence_reference,
    variant=_sequence_variant,
    outputs=("y",),
    mistakes=(
        Mistake(
            "norm_after_relu",
            "Your norm stands after the ReLU. Asked for is convolution, norm, ReLU.",
            {"order": "conv relu norm"},
        ),
        Mistake(
            "norm_first",
            "Your norm stands before the convolution, with as many channels as come in. Asked for "
            "is convolution, norm, ReLU.",
            {"order": "norm conv relu"},
        ),
        Mistake(
            "pre_activation",
            "You have norm and ReLU before the convolution: that is pre-activation. Asked for is "
            "convolution, norm, ReLU.",
            {"order": "norm relu conv"},
        ),
        Mistake("relu_missing", "The ReLU is missing.", {"order": "conv norm"}),
        Mistake("norm_missing", "The norm is missing.", {"order": "conv relu"}),
        Mistake(
            "relu_twice",
            "You have a ReLU on both sides of the norm. The one before it is too many.",
            {"order": "conv relu norm relu"},
        ),
        Mistake(
            "bias_kept",
            "Your convolution has a bias, which the norm's mean cancels. Leave it out: "
            "`bias=False`.",
            {"bias": True},
            section=_BIAS,
        ),
        Mistake(
            "no_padding",
            "Your convolution has no padding, so the map shrinks by two. With a 3 × 3 kernel "
            "`padding=1` keeps its size.",
            {"padding": 0},
        ),
        Mistake("kernel_of_one", "Your kernel is 1 × 1. Asked for is 3 × 3.", {"kernel_size": 1}),
        Mistake("kernel_of_five", "Your kernel is 5 × 5. Asked for is 3 × 3.", {"kernel_size": 5}),
        Mistake(
            "group_norm",
            "You normalize each image by itself, over all channels. Asked for is BatchNorm.",
            {"norm": "group"},
        ),
        Mistake(
            "instance_norm",
            "You normalize each channel of each image by itself. Asked for is BatchNorm.",
            {"norm": "instance"},
        ),
        Mistake(
            "no_affine",
            "Your norm has no gamma and beta. They take the place of the bias: leave `affine` on.",
            {"affine": False},
            section=_BIAS,
        ),
        Mistake(
            "no_statistics",
            "Your norm keeps no running statistics, so at inference it depends on the batch.",
            {"track": False},
        ),
        Mistake("gelu", "Your activation is GELU. Asked for is ReLU.", {"activation": "gelu"}),
        Mistake(
            "leaky_relu",
            "Your activation is a leaky ReLU. Asked for is ReLU.",
            {"activation": "leaky"},
        ),
        Mistake(
            "not_a_sequence",
            "You return a module of another kind. Asked for is an nn.Sequential, whose parts can "
            "be taken out by number.",
            {"container": "module"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- residual blocks


def _block_class() -> Any:
    """Return a residual block class whose parts and forward pass are given."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int, how: dict[str, Any]) -> None:
            super().__init__()
            bias, size = how["bias"], how["kernel_size"]
            for name in ("conv1", "conv2"):
                conv = nn.Conv2d(channels, channels, size, padding=size // 2, bias=bias)
                setattr(self, name, conv)
            self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
            if how["shared"]:
                self.norm2 = self.norm1
            if how["skip"] in ("norm", "norm of the sum", "norm and relu"):
                self.norm3 = nn.BatchNorm2d(channels)
            self.how = how
            zeroed = {"last gamma": [self.norm2], "first gamma": [self.norm1], "nothing": []}
            for norm in zeroed[how["zeroed"]]:
                nn.init.zeros_(norm.weight)

        def forward(self, x: Any) -> Any:
            paths: dict[str, Callable[[], Any]] = {
                "x": lambda: x,
                "norm": lambda: self.norm3(x),
                "norm and relu": lambda: self.norm3(x).relu(),
                "relu": lambda: x.relu(),
                "activated": lambda: self.norm1(x).relu(),
                "normalized": lambda: self.norm1(x),
                "missing": lambda: 0.0,
                "norm of the sum": lambda: x,
            }
            skip, h = paths[self.how["skip"]](), self.branch(x)
            if self.how["relu on branch"]:
                h = h.relu()
            y = skip + h
            y = self.norm3(y) if self.how["skip"] == "norm of the sum" else y
            return y.relu() if self.how["relu on sum"] else y

        def branch(self, x: Any) -> Any:
            h = x
            for step in self.how["branch"].split():
                h = h.relu() if step == "relu" else self.get_submodule(step)(h)
            return h

    return Block


_POST_BRANCH = "conv1 norm1 relu conv2 norm2"
_PRE_BRANCH = "norm1 relu conv1 norm2 relu conv2"


def _residual_variant(
    channels: int,
    *,
    branch: str = _POST_BRANCH,
    skip: str = "x",
    relu_on: str = "sum",
    zeroed: str = "last gamma",
    bias: bool = False,
    kernel_size: int = 3,
    shared: bool = False,
) -> Any:
    how = {
        "branch": branch,
        "skip": skip,
        "relu on sum": relu_on == "sum",
        "relu on branch": relu_on == "branch",
        "zeroed": zeroed,
        "bias": bias,
        "kernel_size": kernel_size,
        "shared": shared,
    }
    return _block_class()(channels, how)


def _residual_reference(channels: int) -> Any:
    from normcourse.modules import PostActivationBlock

    return PostActivationBlock(channels)


def _filled_block(rng: np.random.Generator, channels: int) -> Inputs:
    """Return weights for two convolutions and for three norms, one more than is right."""
    return {
        "convolutions": [_convolution(rng, channels, channels) for _ in range(2)],
        "norms": [_norm(rng, channels) for _ in range(3)],
    }


def _residual_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], mode: Inputs, **options: Any) -> Case:
        x = rng.normal(0.3, 1.0, shape)
        filled = _filled_block(rng, shape[1])
        return Case(name, {"channels": shape[1], "x": x, **mode, **filled}, **options)

    def fresh(name: str, shape: tuple[int, ...], mode: Inputs, **options: Any) -> Case:
        whole = case(name, shape, mode, **options)
        inputs = {key: value for key, value in whole.inputs.items() if key != "norms"}
        return Case(name, inputs, **options)

    yield fresh(
        "a new block, whatever its convolutions are",
        (2, 2, 3, 3),
        _TRAINING,
        about="A new block passes relu(x) on: its branch is scaled by the last gamma, which is 0.",
    )
    yield case("training mode", (2, 3, 4, 2), _TRAINING)
    yield case("inference mode", (3, 2, 3, 4), _INFERENCE)
    yield Case(
        "what it is made of",
        {"channels": 3},
        probe="torch:block facts",
        outputs=("shapes of the parameters",),
        about="Two convolutions without bias, two norms with a gamma and a beta per channel.",
    )
    yield case("one channel", (4, 1, 3, 5), _TRAINING)
    yield fresh("a new block in inference mode", (2, 3, 2, 4), _INFERENCE)
    yield case("one image in inference mode", (1, 3, 4, 3), _INFERENCE, stage=Stage.SPECIAL)
    for name, whole in (
        ("the gradient", case("", (2, 3, 3, 4), _TRAINING)),
        ("what a new block learns first", fresh("", (2, 3, 3, 4), _TRAINING)),
    ):
        yield Case(
            name,
            {**whole.inputs, "dy": rng.normal(0.0, 1.0, (2, 3, 3, 4))},
            Stage.GRADIENTS,
            probe="torch:block gradient",
            outputs=("dx", "gradient of the last gamma"),
            about="With the last gamma at 0 only that gamma and its beta learn in the first step.",
        )


_SKIP_MISTAKES = (
    Mistake(
        "norm_on_the_skip",
        "You normalize the skip path. It should carry x as it came; norms belong into the branch.",
        {"skip": "norm"},
        section=_SKIP,
    ),
    Mistake(
        "norm_and_relu_on_the_skip",
        "Your skip path has a norm and a ReLU. It should carry x as it came.",
        {"skip": "norm and relu"},
        section=_SKIP,
    ),
    Mistake(
        "norm_of_the_sum",
        "You normalize the sum, so the norm stands on the skip path too. Norms belong into the "
        "branch.",
        {"skip": "norm of the sum"},
        section=_SKIP,
    ),
    Mistake(
        "relu_on_the_skip",
        "Your skip path has a ReLU, which loses the sign of x. It should carry x as it came.",
        {"skip": "relu"},
        section=_SKIP,
    ),
    Mistake(
        "skip_missing",
        "The skip path is missing: x is not added.",
        {"skip": "missing"},
        section=_SKIP,
    ),
    Mistake(
        "biases_kept",
        "Your convolutions have biases. A norm that follows cancels them, and beta does their "
        "work: `bias=False`.",
        {"bias": True},
        section=_BIAS,
    ),
    Mistake(
        "one_norm_for_both",
        "You use one norm twice. Each has parameters and running statistics of its own.",
        {"shared": True},
    ),
    Mistake("kernels_of_one", "Your kernels are 1 × 1. Asked for is 3 × 3.", {"kernel_size": 1}),
)

_RESIDUAL_BLOCK = Exercise(
    id="residual_block",
    title="A residual block that begins as ReLU",
    section=_BLOCK,
    signature="channels",
    outputs=("y",),
    minutes=15,
    difficulty=3,
    runtime="torch",
    probe="torch:block output",
    hints=(
        "Which parameter of the branch, set to 0, makes the branch 0 whatever comes in, and still "
        "gets a gradient?",
        "The last norm's gamma scales all that leaves the branch. ReLU follows the addition; the "
        "skip path meets neither norm nor ReLU before. Chapter 13, “The residual branch”.",
        "`y = relu(x + norm2(conv2(relu(norm1(conv1(x))))))` and, in `__init__`, "
        "`nn.init.zeros_(self.norm2.weight)`.",
    ),
    insight=(
        "In the first step only the last gamma and beta of a branch learn: the gradient of "
        "everything before is multiplied by gamma = 0. From the second step on all of it learns. "
        "A branch whose weights were all 0 would never begin."
    ),
    cases=_residual_cases,
    reference=_residual_reference,
    variant=_residual_variant,
    mistakes=(
        *_SKIP_MISTAKES,
        Mistake(
            "relu_before_the_sum",
            "Your last ReLU stands in the branch, so the block can only add. It follows the "
            "addition.",
            {"relu_on": "branch"},
        ),
        Mistake(
            "last_relu_missing",
            "The ReLU after the addition is missing.",
            {"relu_on": "nothing"},
        ),
        Mistake(
            "gamma_not_zero",
            "Your last gamma begins at 1. Set it to 0, so that a new block passes on relu(x) "
            "whatever its convolutions are.",
            {"zeroed": "nothing"},
        ),
        Mistake(
            "first_gamma_zero",
            "You set the first norm's gamma to 0, and no gradient passes the ReLU behind it: the "
            "branch never begins to learn. Set the last norm's gamma to 0 and no other.",
            {"zeroed": "first gamma"},
        ),
        Mistake(
            "inner_relu_missing",
            "The ReLU between the two convolutions is missing.",
            {"branch": "conv1 norm1 conv2 norm2"},
        ),
        Mistake(
            "norms_after_relu",
            "In your branch the first norm stands after the ReLU. Asked for is convolution, norm, "
            "ReLU.",
            {"branch": "conv1 relu norm1 conv2 norm2"},
            section=_ORDER,
        ),
        Mistake(
            "pre_activation",
            "Your branch is one of pre-activation: norm, ReLU, convolution. Asked for is "
            "convolution, norm, ReLU.",
            {"branch": _PRE_BRANCH},
            section=_ORDER,
        ),
        Mistake(
            "second_norm_unused",
            "Your second convolution is followed by no norm.",
            {"branch": "conv1 norm1 relu conv2"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- drop_redundant_biases


def _drop_variant(
    model: Any,
    *,
    where: str = "flat",
    before: str = "batch norm",
    kinds: str = "linear and conv",
    means: str = "corrected",
    how: str = "removed",
    place: str = "in place",
    none: str = "seen",
) -> Any:
    """Drop biases before norms; the switches look in other places or do other things."""
    import copy

    from torch import nn

    if place == "copy":
        model = copy.deepcopy(model)
    layers: Any = nn.Conv2d if kinds == "conv alone" else (nn.Linear, nn.Conv2d)
    norms: Any = (nn.BatchNorm1d, nn.BatchNorm2d)
    norms = (*norms, nn.GroupNorm) if before == "any norm" else norms
    for layer, follower in _pairs_of_layers(model, where, before):
        if not isinstance(layer, layers) or (layer.bias is None and none == "seen"):
            continue
        if before != "anything" and not isinstance(follower, norms):
            continue
        mean = getattr(follower, "running_mean", None)
        unseen = none == "unseen" and isinstance(follower, norms[:2])
        if means != "kept" and (mean is not None or unseen):
            sign = 1.0 if means == "added" else -1.0
            follower.running_mean.data += sign * layer.bias.data
        if how == "zeroed":
            layer.bias.data.zero_()
        else:
            layer.bias = None
    return model if place == "copy" else None


def _pairs_of_layers(model: Any, where: str, before: str) -> list[tuple[Any, Any]]:
    """Return layers with those that follow them, as the switches see the net."""
    from torch import nn

    def chain(layers: list[Any]) -> list[tuple[Any, Any]]:
        if before == "batch norm further on":
            layers = [m for m in layers if not isinstance(m, nn.ReLU | nn.Dropout | nn.Tanh)]
        return list(zip(layers, [*layers[1:], None], strict=True))

    containers = [m for m in model.modules() if isinstance(m, nn.Sequential)]
    if where == "top level":
        return chain(list(model))
    if where == "within each":
        return [pair for container in containers for pair in chain(list(container))]
    return chain([m for m in model.modules() if not isinstance(m, nn.Sequential)])


def _drop_reference(model: Any) -> Any:
    from normcourse.surgery import drop_redundant_biases

    drop_redundant_biases(model)


def _drop_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, net: list[Any], shape: tuple[int, ...], **options: Any) -> Case:
        return Case(name, {"net": net, "x": rng.normal(0.5, 1.0, shape)}, **options)

    yield case(
        "convolution, norm, ReLU, convolution",
        ["conv 1 2", "norm 2", "relu", "conv 2 1"],
        (2, 1, 3, 2),
    )
    yield case("linear, norm, linear", ["linear 3 4", "norm1d 4", "linear 4 2"], (5, 3))
    yield case(
        "two convolutions with their norms",
        ["conv 2 3", "norm 3", "relu", "conv 3 4", "norm 4"],
        (2, 2, 4, 3),
    )
    yield case(
        "a ReLU between convolution and norm",
        ["conv 2 3", "relu", "norm 3", "conv 3 2", "norm 2"],
        (2, 2, 3, 4),
        about="Behind a ReLU a shift is no shift any more: that bias matters.",
    )
    yield case(
        "dropout between linear layer and norm",
        ["linear 3 4", "dropout", "norm1d 4", "tanh", "linear 4 4", "norm1d 4"],
        (6, 3),
        about="Dropout scales single values, the bias in them too: that bias matters.",
    )
    yield case(
        "nested nets",
        [["conv 2 3", "norm 3", "relu"], [["conv 3 4", "norm 4"], "relu"], "pool", "flatten"],
        (3, 2, 3, 4),
    )
    yield case(
        "a norm at the beginning of the next part",
        [["conv 2 3"], ["norm 3", "relu", ["conv 3 2"]], ["norm 2"]],
        (2, 2, 4, 3),
        about="What follows a layer may stand in another nn.Sequential.",
    )
    yield case(
        "a group norm and a batch norm",
        ["conv 2 4", "group norm 4", "relu", "conv 4 3", "norm 3"],
        (2, 2, 3, 3),
        about="A group pools several channels, so their mean holds other biases as well.",
    )
    yield case(
        "a flattened map",
        ["conv 1 2", "flatten", "norm1d 24", "linear 24 3", "norm1d 3"],
        (4, 1, 3, 4),
        about="Asked for are norms that follow directly.",
    )
    yield case(
        "nothing to drop",
        ["conv without bias 2 3", "norm 3", "relu", "conv 3 2"],
        (2, 2, 3, 4),
        stage=Stage.SPECIAL,
        about="The first convolution has no bias, the second no norm.",
    )
    yield case(
        "norms without statistics, norms without gamma",
        ["conv 2 3", "norm without statistics 3", "relu", "conv 3 2", "norm without affine 2"],
        (3, 2, 4, 3),
        stage=Stage.SPECIAL,
        about="A norm without running statistics has running_mean None.",
    )


_DROP_REDUNDANT_BIASES = Exercise(
    id="drop_redundant_biases",
    title="Biases that nothing feels",
    section=_BIAS,
    signature="model",
    outputs=("biases left", "y in inference mode", "y in training mode"),
    minutes=20,
    difficulty=3,
    runtime="torch",
    probe="torch:drop biases",
    hints=(
        "In training mode the norm subtracts the mean of this batch. What does it subtract at "
        "inference, and does that still hold the bias?",
        "Line up the layers in the order of the forward pass, nested ones too; look at each with "
        "the next. A dropped bias must leave running_mean as well. Chapter 13, “The redundant "
        "bias”.",
        "`layers = [m for m in model.modules() if not isinstance(m, nn.Sequential)]` are in "
        "order. For a layer before a norm: `norm.running_mean -= layer.bias`, under `no_grad`, "
        "then `layer.bias = None`.",
    ),
    insight=(
        "The gradient of such a bias is 0 but for rounding, about 10⁻⁸. Adam divides by the "
        "gradient's size and moves it all the same: in 300 steps of a small net about half as far "
        "as the weights, at random."
    ),
    cases=_drop_cases,
    reference=_drop_reference,
    variant=_drop_variant,
    mistakes=(
        Mistake(
            "running_mean_kept",
            "You leave running_mean as it is. It has learned the bias too, so at inference the "
            "output moves: subtract the bias from it.",
            {"means": "kept"},
        ),
        Mistake(
            "running_mean_wrong_sign",
            "You add the bias to running_mean. The layer's output gets smaller by the bias, so "
            "subtract it.",
            {"means": "added"},
        ),
        Mistake(
            "bias_zeroed",
            "You set the bias to 0 but leave it: it stays a parameter. Assign None.",
            {"how": "zeroed"},
        ),
        Mistake(
            "top_level_alone",
            "You look at the outermost layers alone. Those of nested nets count too.",
            {"where": "top level"},
        ),
        Mistake(
            "within_each_part",
            "You look at neighbours within one nn.Sequential. The norm may be the first layer of "
            "the next part.",
            {"where": "within each"},
        ),
        Mistake(
            "all_biases",
            "You drop every bias. Only a BatchNorm that follows directly cancels one.",
            {"before": "anything"},
        ),
        Mistake(
            "norm_further_on",
            "You drop biases although a ReLU or dropout stands before the norm. There the bias "
            "changes more than the mean.",
            {"before": "batch norm further on"},
        ),
        Mistake(
            "group_norm_too",
            "You drop biases before GroupNorm. It pools several channels, so the difference "
            "between their biases stays.",
            {"before": "any norm"},
        ),
        Mistake(
            "convolutions_alone",
            "You look at convolutions alone. Linear layers before a BatchNorm1d count too.",
            {"kinds": "conv alone"},
        ),
        Mistake(
            "not_in_place",
            "You change a copy. Asked for is a change of the model itself.",
            {"place": "copy"},
        ),
        Mistake(
            "none_not_seen",
            "Some biases and some running means are None, and arithmetic with None fails. Look "
            "before you subtract.",
            {"none": "unseen"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- PreActivationBlock


def _pre_activation_variant(**faults: Any) -> type:
    from torch import nn

    how = {
        "branch": _PRE_BRANCH,
        "skip": "x",
        "relu on sum": False,
        "relu on branch": False,
        "zeroed": "nothing",
        "bias": False,
        "kernel_size": 3,
        "shared": False,
        **{name.replace("_on_", " on "): value for name, value in faults.items()},
    }

    base: type[nn.Module] = _block_class()

    class PreActivationBlock(base):  # type: ignore[misc, valid-type]
        def __init__(self, channels: int) -> None:
            super().__init__(channels, how)

    return PreActivationBlock


def _pre_activation_reference(channels: int) -> Any:
    from normcourse.modules import PreActivationBlock

    return PreActivationBlock(channels, zero_init=False)


def _pre_activation_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], mode: Inputs, **options: Any) -> Case:
        x = rng.normal(0.3, 1.0, shape)
        filled = _filled_block(rng, shape[1])
        return Case(name, {"channels": shape[1], "x": x, **mode, **filled}, **options)

    idle = case("", (2, 2, 2, 3), _TRAINING)
    first, last = idle.inputs["convolutions"]
    yield Case(
        "a last convolution of zeros",
        {**idle.inputs, "convolutions": [first, 0.0 * last]},
        about="The branch is 0 here, and what is left is the skip path: y is x, with its signs.",
    )
    yield case("training mode", (2, 3, 4, 2), _TRAINING)
    yield case("inference mode", (3, 2, 3, 4), _INFERENCE)
    yield Case(
        "what it is made of",
        {"channels": 3},
        probe="torch:block facts",
        outputs=("shapes of the parameters",),
    )
    yield case("one channel", (4, 1, 3, 5), _TRAINING)
    yield case("one image in inference mode", (1, 3, 4, 3), _INFERENCE, stage=Stage.SPECIAL)
    yield Case(
        "the gradient",
        {**case("", (2, 3, 3, 4), _TRAINING).inputs, "dy": rng.normal(0.0, 1.0, (2, 3, 3, 4))},
        Stage.GRADIENTS,
        probe="torch:block gradient",
        outputs=("dx", "gradient of the last gamma"),
    )


_PRE_ACTIVATION_BLOCK = Exercise(
    id="PreActivationBlock",
    title="Find the bugs: a skip path that is not clean",
    section=_SKIP,
    signature="channels",
    outputs=("y",),
    minutes=8,
    difficulty=2,
    kind="repair",
    runtime="torch",
    probe="torch:block output",
    hints=(
        "Suppose the last convolution's weights are all 0. What should the block return, and what "
        "does this one return for a negative x?",
        "Two lines touch the skip path: one overwrites x before the branch begins, one comes after "
        "the addition. Chapter 13, “A clean skip path”.",
        "Keep x: `h = torch.relu(self.norm1(x))` and go on with h; at the end `return x + h`, "
        "without a ReLU.",
    ),
    insight=(
        "There is a third way to break this block without changing a formula: `inplace=True` in a "
        "ReLU that is applied to x itself. It writes into the tensor that the skip path is about "
        "to add."
    ),
    cases=_pre_activation_cases,
    reference=_pre_activation_reference,
    variant=_pre_activation_variant,
    mistakes=(
        Mistake(
            "skip_activated",
            "Your skip path carries relu(norm1(x)). It should carry x as it came: give the "
            "branch's values another name.",
            {"skip": "activated"},
        ),
        Mistake(
            "skip_normalized",
            "Your skip path carries norm1(x). It should carry x as it came: give the branch's "
            "values another name.",
            {"skip": "normalized"},
        ),
        Mistake(
            "relu_on_the_sum",
            "A ReLU still follows the addition. In a pre-activation block nothing does, so that x "
            "can pass with its signs.",
            {"relu_on_sum": True},
        ),
        Mistake(
            "relu_on_the_branch",
            "A ReLU ends your branch, so the block can only add. In pre-activation the last step "
            "is the convolution.",
            {"relu_on_branch": True},
        ),
        *(m for m in _SKIP_MISTAKES if m.id != "biases_kept"),
        Mistake(
            "post_activation",
            "Your branch is one of post-activation: convolution, norm, ReLU. Here norm and ReLU "
            "stand before each convolution.",
            {"branch": _POST_BRANCH},
            section=_ORDER,
        ),
        Mistake(
            "relu_before_norm",
            "In your branch the ReLU stands before the norm. Asked for is norm, ReLU, convolution.",
            {"branch": "relu norm1 conv1 relu norm2 conv2"},
            section=_ORDER,
        ),
        Mistake(
            "inner_relu_missing",
            "The second ReLU, between norm2 and conv2, is missing.",
            {"branch": "norm1 relu conv1 norm2 conv2"},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_CONV_NORM_RELU, _RESIDUAL_BLOCK, _PRE_ACTIVATION_BLOCK, _DROP_REDUNDANT_BIASES)
