"""Chapter 04 in PyTorch: two modes, one layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, gammas
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.torch.layer_variants import Choices, channel_norm
from normcourse.checks.variants import default_eps_mistakes

_NOTEBOOK = "04_batch_norm_inference"
_RUNNING = "Running statistics"
_BUGS = "Train and eval bugs"
_MODULE = "The layer as a module"

_STATISTICS = ("running_mean", "running_var")

# ---------------------------------------------------------------- evaluate


def _evaluate_variant(
    model: Any, x: Any, *, mode: str = "eval", grad: str = "off", restore: str = "each"
) -> Any:
    """Predict with a model; the switches leave out what learners leave out."""
    import torch

    modes = {module: module.training for module in model.modules()}
    was_training = model.training
    if mode == "eval":
        model.eval()
    elif mode == "train":
        model.train()
    if grad == "left off":
        torch.set_grad_enabled(False)
    if grad == "parameters off":
        for parameter in model.parameters():
            parameter.requires_grad = False
    with torch.set_grad_enabled(grad == "on" and torch.is_grad_enabled()):
        y = model(x)
    if restore == "each":
        for module, training in modes.items():
            module.training = training
    elif restore == "whole":
        model.train(was_training)
    elif restore == "train":
        model.train()
    return y


def _evaluate_reference(model: Any, x: Any) -> Any:
    return _evaluate_variant(model, x)


_EVALUATE_OUTPUTS = (
    "y",
    "modes",
    "buffers as before",
    "y holds on to a graph",
    "gradients are recorded afterwards",
    "parameters can be trained",
)


def _evaluate_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, net: list[Any], x: Any, **options: Any) -> Case:
        modes = options.pop("modes", {"": "training"})
        gradients = options.pop("gradients", True)
        inputs = {"net": net, "modes": modes, "gradients": gradients, "x": x}
        return Case(name, inputs, **options)

    table = ["linear 3 4", "norm1d 4", "relu", "linear 4 2"]
    x = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]])
    yield case("a net with BatchNorm that is being trained", table, x)
    yield case(
        "a net with dropout",
        ["linear 3 5", "tanh", "dropout", "linear 5 2"],
        rng.normal(0.5, 1.0, (4, 3)),
    )
    yield case(
        "a net that is in inference mode already",
        table,
        rng.normal(0.5, 1.0, (5, 3)),
        modes={"": "inference"},
        about="Afterwards the model must be in the mode in which it came, not in training mode.",
    )
    yield case(
        "a net whose BatchNorm is frozen while the rest is trained",
        table,
        rng.normal(0.5, 1.0, (3, 3)),
        modes={"": "training", "1": "inference"},
        about="Each module has a mode of its own; one was put into inference mode on purpose.",
    )
    yield case(
        "a nested net on images",
        ["conv 2 3", ["norm 3", "relu", ["conv 3 2", "norm 2"]], "pool", "flatten", "linear 2 4"],
        rng.normal(0.0, 1.0, (2, 2, 4, 3)),
        modes={"": "training", "1.2": "inference"},
    )
    yield case(
        "one example",
        table,
        rng.normal(0.5, 1.0, (1, 3)),
        stage=Stage.SPECIAL,
        about="BatchNorm in training mode refuses a single row; in inference mode it takes it.",
    )
    yield case(
        "called where gradients are off",
        table,
        rng.normal(0.5, 1.0, (4, 3)),
        gradients=False,
        stage=Stage.SPECIAL,
        about="Gradients were not recorded before the call, and are not afterwards.",
    )


_EVALUATE = Exercise(
    id="evaluate",
    title="Predict, and leave no trace",
    section=_BUGS,
    signature="model, x",
    outputs=_EVALUATE_OUTPUTS,
    minutes=8,
    difficulty=2,
    runtime="torch",
    probe="torch:evaluate",
    hints=(
        "Which two switches does PyTorch have, one for how layers behave and one for the graph? "
        "Which of them does BatchNorm look at?",
        "`eval()` changes modes, `no_grad()` does not. Remember the mode of every module before, "
        "not of the model alone. Chapter 04, “Train and eval bugs”.",
        "`modes = {m: m.training for m in model.modules()}`, then `model.eval()`, predict under "
        "`torch.no_grad()`, and set each `m.training` back.",
    ),
    insight=(
        "`model.train(was_training)` is what most libraries do here, and it wakes every layer that "
        "somebody had frozen. Fine-tuning code that freezes BatchNorm and validates once per epoch "
        "trains the running statistics from epoch two on."
    ),
    cases=_evaluate_cases,
    reference=_evaluate_reference,
    variant=_evaluate_variant,
    mistakes=(
        Mistake(
            "eval_forgotten",
            "You do not call `model.eval()`: BatchNorm uses and updates batch statistics, dropout "
            "drops. `no_grad` changes no mode.",
            {"mode": "as it is"},
        ),
        Mistake(
            "training_mode",
            "You put the model into training mode to predict. Inference mode is `model.eval()`.",
            {"mode": "train"},
        ),
        Mistake(
            "no_grad_forgotten",
            "Your prediction holds on to the graph of the whole model. Predict under "
            "`torch.no_grad()`.",
            {"grad": "on"},
        ),
        Mistake(
            "grad_left_off",
            "You switch gradients off and leave them off. Use `with torch.no_grad():`, which puts "
            "things back.",
            {"grad": "left off"},
        ),
        Mistake(
            "parameters_frozen",
            "You set `requires_grad` of the parameters to False and leave it so: the model no "
            "longer trains.",
            {"grad": "parameters off"},
        ),
        Mistake(
            "mode_not_restored",
            "You leave the model in inference mode. Put every module back into the mode in which "
            "it came.",
            {"restore": "nothing"},
        ),
        Mistake(
            "always_back_to_training",
            "You always put the model into training mode afterwards. It may have come in inference "
            "mode.",
            {"restore": "train"},
        ),
        Mistake(
            "frozen_layers_awake",
            "You remember the mode of the whole model alone, so `train()` also wakes layers that "
            "were frozen. Every module has a mode.",
            {"restore": "whole"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- train_and_validate


def _validate_variant(
    model: Any,
    optimizer: Any,
    train_batches: Any,
    val_batches: Any,
    epochs: int,
    *,
    trains_in: str = "training",
    validates_in: str = "inference",
    loss: str = "mean",
    zero_grad: str = "each step",
    validates: str = "each epoch",
) -> list[float]:
    """Train and validate; the switches say in which mode and how losses add up."""
    import torch
    from torch.nn import functional

    losses: list[float] = []
    for epoch in range(epochs):
        if trains_in == "training" or (trains_in == "training at first" and epoch == 0):
            model.train()
        elif trains_in == "inference":
            model.eval()
        for x, target in train_batches:
            if zero_grad == "each step":
                optimizer.zero_grad()
            error: Any = functional.mse_loss(model(x), target)
            error.backward()
            optimizer.step()
        if validates == "at the end" and epoch < epochs - 1:
            continue
        model.train(validates_in == "training")
        with torch.no_grad():
            total = sum(functional.mse_loss(model(x), y).item() for x, y in val_batches)
        losses.append(total / (len(val_batches) if loss == "mean" else 1))
    return losses


def _validate_reference(
    model: Any, optimizer: Any, train_batches: Any, val_batches: Any, epochs: int
) -> Any:
    return _validate_variant(model, optimizer, train_batches, val_batches, epochs)


def _batches(rng: np.random.Generator, name: str, sizes: tuple[int, ...]) -> Inputs:
    """Return lists of inputs (n, 3) and targets (n, 1), a pair per size."""
    return {
        f"{name}_x": [rng.normal(1.0, 2.0, (n, 3)) for n in sizes],
        f"{name}_y": [rng.normal(0.0, 1.0, (n, 1)) for n in sizes],
    }


def _validate_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(
        name: str, net: list[Any], epochs: int, train: tuple[int, ...], val: tuple[int, ...]
    ) -> Case:
        data = {**_batches(rng, "train", train), **_batches(rng, "val", val)}
        return Case(name, {"net": net, **data, "epochs": epochs, "lr": 0.02})

    norm = ["linear 3 4", "norm1d 4", "tanh", "linear 4 1"]
    yield case("one epoch, one batch", norm, 1, (4,), (3,))
    yield case("one epoch, validation batches of other sizes", norm, 1, (4, 5), (3, 6))
    yield case("three epochs", norm, 3, (5, 4), (3,))
    yield case(
        "two BatchNorms", ["norm1d 3", "linear 3 4", "norm1d 4", "linear 4 1"], 2, (5, 3), (4,)
    )
    dropout = ["linear 3 6", "dropout", "tanh", "linear 6 1"]
    yield case("dropout in place of BatchNorm", dropout, 2, (4, 4), (5,))
    yield case("a validation batch of one", norm, 2, (5, 4), (1, 1))


_TRAIN_AND_VALIDATE = Exercise(
    id="train_and_validate",
    title="Find the bug: losses that depend on the validation batches",
    section=_BUGS,
    signature="model, optimizer, train_batches, val_batches, epochs",
    outputs=("losses", "weights", "statistics"),
    minutes=8,
    difficulty=2,
    kind="repair",
    runtime="torch",
    probe="torch:train and validate",
    hints=(
        "Which of the model's numbers change during validation, although no optimizer steps?",
        "`no_grad` stops gradients, not the running statistics. And a mode, once set, stays until "
        "somebody sets the other. Chapter 04, “Train and eval bugs”.",
        "`model.train()` at the start of every epoch, `model.eval()` before every validation.",
    ),
    insight=(
        "Half of this repair is worse than none: `eval()` before validation without `train()` in "
        "the next epoch trains with running statistics that no longer move. The loss still falls, "
        "and nothing complains."
    ),
    cases=_validate_cases,
    reference=_validate_reference,
    variant=_validate_variant,
    mistakes=(
        Mistake(
            "validates_in_training_mode",
            "You validate in training mode: each loss comes from batch statistics, and validation "
            "data enter the running ones. `no_grad` changes no mode.",
            {"validates_in": "training"},
        ),
        Mistake(
            "eval_never_undone",
            "After the first validation the model stays in inference mode, so from the second "
            "epoch on it trains with frozen statistics. Call `train()` in every epoch.",
            {"trains_in": "training at first"},
        ),
        Mistake(
            "trains_in_inference_mode",
            "You train in inference mode: BatchNorm then uses its running statistics and never "
            "updates them.",
            {"trains_in": "inference"},
        ),
        Mistake(
            "losses_summed",
            "You return sums over the validation batches. Asked for is their mean.",
            {"loss": "sum"},
        ),
        Mistake(
            "gradients_pile_up",
            "You no longer set the gradients to zero before each step, so they add up.",
            {"zero_grad": "never"},
        ),
        Mistake(
            "validates_once",
            "You validate once, at the end. Asked for is one loss per epoch.",
            {"validates": "at the end"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- RunningNorm and BatchNorm


def _batch_norm_variant(**faults: Any) -> type:
    return channel_norm(Choices(**faults))


def _running_norm_variant(**faults: Any) -> type:
    return channel_norm(Choices(**{"affine": "absent", "counts": "absent", **faults}))


def _batch_norm_reference(*arguments: Any) -> Any:
    from normcourse.modules import BatchNorm

    return BatchNorm(*arguments)


def _running_norm_reference(num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> Any:
    from normcourse.modules import BatchNorm

    return BatchNorm(num_features, eps, momentum, affine=False)


_STATISTICS_MISTAKES = (
    Mistake(
        "divides_by_n_minus_1",
        "You normalize with the variance that divides by n − 1. BatchNorm normalizes with the "
        "biased one; only running_var takes the other.",
        {"ddof": 1},
        section=_RUNNING,
    ),
    Mistake(
        "eps_outside_root",
        "You add eps to the standard deviation. It belongs inside the root: sqrt(var + eps).",
        {"eps_place": "outside"},
    ),
    Mistake(
        "eps_missing",
        "You leave eps out. Divide by sqrt(var + eps).",
        {"eps_place": "nowhere"},
    ),
    Mistake(
        "one_pass_variance",
        "Your variance is mean(x²) − mean(x)², which cancels where the mean is large. Subtract "
        "the mean first, then square.",
        {"one_pass": True},
    ),
    Mistake(
        "statistics_detached",
        "You cut mean and variance off the graph, so the gradient takes them for constants. Only "
        "the running statistics stand outside the graph.",
        {"follow": "none"},
    ),
    Mistake(
        "variance_detached",
        "You cut the variance off the graph, so the gradient takes it for a constant. Only the "
        "running statistics stand outside the graph.",
        {"follow": "mean"},
    ),
    Mistake(
        "mode_from_gradients",
        "You ask whether gradients are recorded. The mode is `self.training`: `no_grad` and "
        "`eval()` are two different switches.",
        {"mode": "gradients"},
        section=_BUGS,
    ),
    Mistake(
        "batch_statistics_in_inference",
        "In inference mode you normalize with the batch's own statistics. Use running_mean and "
        "running_var.",
        {"mode": "batch"},
        section=_BUGS,
    ),
    Mistake(
        "running_statistics_in_training",
        "In training mode you normalize with the running statistics. Use the batch's own.",
        {"mode": "running"},
        section=_BUGS,
    ),
    Mistake(
        "updates_in_inference",
        "Your running statistics move in inference mode too. Evaluation must leave them alone.",
        {"updates": "always"},
        section=_BUGS,
    ),
    Mistake(
        "never_updates",
        "Your running statistics stay as they were. Each training batch moves them by momentum.",
        {"updates": "never"},
        section=_RUNNING,
    ),
    Mistake(
        "running_var_never_updated",
        "You update running_mean but not running_var.",
        {"stored": "nothing"},
        section=_RUNNING,
    ),
    Mistake(
        "running_var_biased",
        "You store the biased variance. running_var takes the one that divides by n − 1, as "
        "PyTorch's does.",
        {"stored": "biased"},
        section=_RUNNING,
    ),
    Mistake(
        "running_var_with_eps",
        "You store the variance with eps already added. eps belongs to the division alone.",
        {"stored": "with eps"},
        section=_RUNNING,
    ),
    Mistake(
        "running_var_is_std",
        "You store the standard deviation in running_var. It holds a variance.",
        {"stored": "std"},
        section=_RUNNING,
    ),
    Mistake(
        "momentum_complement",
        "Your momentum weighs the old value. In PyTorch's convention it weighs the new batch: "
        "0.9 · old + 0.1 · new.",
        {"weight": "complement"},
        section=_RUNNING,
    ),
    Mistake(
        "momentum_ignored",
        "Your running statistics always move by 0.1. Use the momentum that was given.",
        {"weight": "tenth"},
        section=_RUNNING,
    ),
    Mistake(
        "cumulative_average",
        "Your running statistics are the average over all batches so far, which torch keeps for "
        "momentum=None. Move them by momentum: (1 − momentum) · old + momentum · new.",
        {"weight": "cumulative"},
        section=_RUNNING,
    ),
    Mistake(
        "old_not_reduced",
        "You add momentum · new to the old running statistics. The old ones keep the share "
        "1 − momentum only.",
        {"old": "whole"},
        section=_RUNNING,
    ),
    Mistake(
        "overwritten",
        "Your running statistics are those of the last batch. Mix them with the old ones by "
        "momentum.",
        {"weight": "one"},
        section=_RUNNING,
    ),
    Mistake(
        "graph_kept",
        "Your running statistics keep the graph of every batch: memory grows, and a trained model "
        "cannot be copied. Update them under `no_grad` or from `detach()`.",
        {"graph": "kept"},
    ),
    Mistake(
        "not_registered",
        "Your running statistics are plain tensors: `state_dict` and `to` do not see them. Use "
        "`self.register_buffer`.",
        {"kept_as": "plain"},
    ),
    Mistake(
        "statistics_are_parameters",
        "Your running statistics are parameters, which optimizers and weight decay get hold of. "
        "Use `self.register_buffer`.",
        {"kept_as": "parameters"},
    ),
)
_CHANGES_X = Mistake(
    "changes_x",
    "Your layer changes its input x.",
    {"in_place": True},
    named_by="judge",
)


def _default_momentum(value: float) -> Mistake:
    return Mistake(
        f"default_momentum_{value:g}",
        f"Your default is momentum={value:g}. The exercise asks for 0.1, PyTorch's default.",
        {"default_momentum": value},
        section=_RUNNING,
    )


def _running_norm_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, x: Any, probe: str = "output", **options: Any) -> Case:
        keys = ("mode", "eps", "momentum", "batches", "gradients", "dy", *_STATISTICS)
        given = {key: options.pop(key) for key in keys if key in options}
        inputs = {"num_features": x.shape[1], "x": x, "mode": "training", **given}
        outputs = {"output": ("y",), "state": _STATISTICS, "gradient": ("dx",)}.get(probe)
        options = {"probe": f"torch:layer {probe}", "outputs": outputs or (), **options}
        return Case(name, inputs, **options)

    x = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0], [9.0, 60.0]])
    given: Inputs = {
        "running_mean": np.array([1.0, -2.0, 0.5]),
        "running_var": np.array([0.5, 4.0, 2.0]),
    }
    yield case("four rows in training mode", x)
    yield case("small spread and a large eps", rng.normal(2.0, 0.4, (5, 3)), eps=0.3, momentum=0.1)
    yield case("running statistics after one batch", rng.normal(1.0, 2.0, (4, 3)), "state", **given)
    yield case(
        "running statistics after three batches, momentum 0.3",
        rng.normal(1.0, 2.0, (4, 3)),
        "state",
        batches=[rng.normal(2.0, 1.0, (n, 3)) for n in (3, 5)],
        eps=1e-5,
        momentum=0.3,
    )
    yield case(
        "inference mode",
        rng.normal(1.0, 2.0, (6, 3)),
        mode="inference",
        gradients=False,
        **given,
    )
    yield case(
        "inference mode while gradients are recorded",
        rng.normal(1.0, 2.0, (5, 3)),
        mode="inference",
        about="eval() is one switch, no_grad() another: the layer looks at its mode alone.",
        **given,
    )
    yield case(
        "training mode while gradients are off",
        rng.normal(1.0, 2.0, (5, 3)),
        "state",
        gradients=False,
        about="eval() is one switch, no_grad() another: the layer looks at its mode alone.",
        **given,
    )
    yield case(
        "inference leaves the statistics alone",
        rng.normal(1.0, 2.0, (5, 3)),
        "state",
        mode="inference",
        **given,
    )
    yield case(
        "two training batches, then inference",
        rng.normal(1.0, 2.0, (3, 2)),
        batches=[rng.normal(3.0, 2.0, (n, 2)) for n in (5, 4)],
        mode="inference",
    )
    yield case(
        "what is saved and what is trained",
        x,
        "saves",
        outputs=("statistics are saved", "statistics are parameters"),
        about="What is neither parameter nor buffer is lost when a model is saved or moved.",
    )
    yield case(
        "a layer that has been trained is copied",
        rng.normal(1.0, 2.0, (4, 3)),
        "copies",
        outputs=("statistics carry a gradient", "can be copied"),
        stage=Stage.SPECIAL,
        about="Running statistics that keep the graph of past batches cannot be copied, and they "
        "grow.",
    )
    yield case(
        "the gradient in training mode",
        rng.normal(1.0, 2.0, (4, 3)),
        "gradient",
        dy=rng.normal(0.0, 1.0, (4, 3)),
        stage=Stage.GRADIENTS,
        about="Mean and variance depend on x, and the gradient goes through both.",
    )
    yield case(
        "float32, a mean two thousand times the spread",
        rng.normal(2e3, 1.0, (16, 2)).astype(np.float32),
        stage=Stage.NUMERICS,
        tolerance=1e-2,
        about="Subtract the mean before you square.",
    )


_RUNNING_NORM = Exercise(
    id="RunningNorm",
    title="Find the bugs: running statistics that go astray",
    section=_BUGS,
    signature="num_features, eps=1e-5, momentum=0.1",
    outputs=("y",),
    minutes=12,
    difficulty=3,
    kind="repair",
    runtime="torch",
    probe="torch:layer output",
    hints=(
        "There are three bugs. Is the layer's mode the same thing as whether gradients are "
        "recorded? What does `state_dict()` hold? What does running_mean remember?",
        "`self.training` is the mode; `register_buffer` makes a tensor part of the module; the "
        "update belongs outside the graph, the statistics themselves inside. Chapter 04, “Train "
        "and eval bugs”.",
        "Register both buffers in `__init__`; test `self.training`; wrap only the two update lines "
        "in `with torch.no_grad():`.",
    ),
    insight=(
        "All three were found in published course material and none breaks a training run. A test "
        "for each is one line: predict with gradients on, look into `state_dict()`, call "
        "`copy.deepcopy` after a step."
    ),
    cases=_running_norm_cases,
    reference=_running_norm_reference,
    variant=_running_norm_variant,
    mistakes=_STATISTICS_MISTAKES,
    notebook=_NOTEBOOK,
)


def _batch_norm_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, x: Any, probe: str = "output", **options: Any) -> Case:
        channels = x.shape[1]
        own = Case.__dataclass_fields__
        given = {key: options.pop(key) for key in list(options) if key not in own}
        inputs = {"num_features": channels, "x": x, "mode": "training", **given}
        outputs = {
            "output": ("y",),
            "state": _STATISTICS,
            "gradient": ("dx", "dweight", "dbias"),
            "count": ("num_batches_tracked",),
            "loads": ("y",),
        }.get(probe)
        options = {"probe": f"torch:layer {probe}", "outputs": outputs or (), **options}
        return Case(name, inputs, **options)

    def affine(channels: int) -> Inputs:
        return {
            "weight": gammas(rng, channels),
            "bias": np.round(rng.uniform(0.4, 1.9, channels), 2),
        }

    def statistics(channels: int) -> Inputs:
        return {
            "running_mean": np.round(rng.normal(0.0, 2.0, channels), 2),
            "running_var": np.round(rng.uniform(0.3, 3.0, channels), 2),
        }

    def maps(*shape: int, spread: float = 2.0) -> Any:
        per_channel = rng.normal(1.5, 3.0, (1, shape[1], *(1,) * (len(shape) - 2)))
        return per_channel + rng.normal(0.0, spread, shape)

    x = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0], [9.0, 60.0]])
    yield case("a fresh layer, four rows in training mode", x)
    yield case(
        "what a fresh layer saves and trains",
        maps(2, 3),
        "state dict",
        outputs=("state_dict", "parameters"),
        about="The names and shapes are those of nn.BatchNorm2d, so that its weights fit.",
    )
    yield case("maps, a weight and a bias per channel", maps(4, 3, 2, 5), **affine(3))
    yield case(
        "small spread and a large eps",
        maps(5, 2, 3, spread=0.4),
        **affine(2),
        eps=0.3,
        momentum=0.1,
    )
    yield case(
        "eps left to its default",
        maps(6, 3, spread=2e-3),
        **affine(3),
        about="The default of eps is 1e-5.",
    )
    yield case("batch, channels, height and width all equal", maps(3, 3, 3, 3), **affine(3))
    yield case(
        "running statistics after one batch, momentum left to its default",
        maps(2, 3, 2),
        "state",
        **statistics(3),
        about="The default of momentum is 0.1, the weight of the new batch.",
    )
    yield case(
        "running statistics after three batches, momentum 0.3",
        maps(2, 3, 3),
        "state",
        batches=[maps(3, 3, 2), maps(2, 3, 2)],
        eps=0.2,
        momentum=0.3,
    )
    yield case(
        "how many training batches were seen",
        maps(3, 2),
        "count",
        batches=[maps(3, 2), maps(5, 2), maps(4, 2)],
        mode="inference",
        about="num_batches_tracked goes up by one per training batch and stays in inference mode.",
    )
    yield case(
        "inference mode",
        maps(2, 3, 2, 2),
        mode="inference",
        gradients=False,
        **affine(3),
        **statistics(3),
        eps=0.3,
        momentum=0.1,
    )
    yield case(
        "inference mode while gradients are recorded",
        maps(5, 3),
        mode="inference",
        **affine(3),
        **statistics(3),
        about="eval() is one switch, no_grad() another: the layer looks at its mode alone.",
    )
    yield case(
        "training mode while gradients are off",
        maps(5, 3),
        gradients=False,
        **affine(3),
        **statistics(3),
        about="eval() is one switch, no_grad() another: the layer looks at its mode alone.",
    )
    yield case(
        "inference leaves the statistics alone",
        maps(3, 2, 4),
        "state",
        mode="inference",
        **statistics(2),
    )
    yield case(
        "two training batches, then inference on another size",
        maps(3, 2, 2),
        batches=[maps(4, 2, 3), maps(2, 2, 3)],
        mode="inference",
        **affine(2),
    )
    yield case(
        "the weights of an nn.BatchNorm2d",
        maps(2, 3, 2, 4),
        "loads",
        **affine(3),
        **statistics(3),
    )
    yield case(
        "one value per channel in training mode",
        maps(1, 3),
        stage=Stage.SPECIAL,
        raises="ValueError",
        about="The variance of one value is 0, and y would be the bias whatever came in.",
    )
    constant = maps(4, 3, 2)
    constant[:, 1] = 7.0
    yield case(
        "a channel that never changes",
        constant,
        **affine(3),
        stage=Stage.SPECIAL,
        about="A constant channel has variance 0; eps keeps the division finite.",
    )
    yield case("one image", maps(1, 3, 2, 4), **affine(3), stage=Stage.SPECIAL)
    yield case("volumes, five axes", maps(2, 3, 2, 2, 3), **affine(3), stage=Stage.SPECIAL)
    yield case(
        "a layer that has been trained is copied",
        maps(4, 3),
        "copies",
        outputs=("statistics carry a gradient", "can be copied"),
        stage=Stage.SPECIAL,
        about="Running statistics that keep the graph of past batches cannot be copied, and they "
        "grow.",
    )
    for mode in ("training", "inference"):
        yield case(
            f"the gradients in {mode} mode",
            maps(3, 2, 4),
            "gradient",
            dy=rng.normal(0.0, 1.0, (3, 2, 4)),
            mode=mode,
            **affine(2),
            **statistics(2),
            stage=Stage.GRADIENTS,
        )
    yield case(
        "float32, a mean two thousand times the spread",
        as_float32({"x": 2e3 + rng.normal(0.0, 1.0, (8, 2, 4))})["x"],
        **as_float32(affine(2)),
        stage=Stage.NUMERICS,
        tolerance=2e-2,
        about="Subtract the mean before you square.",
    )


_BATCH_NORM = Exercise(
    id="BatchNorm",
    title="BatchNorm as a module",
    section=_MODULE,
    signature="num_features, eps=1e-5, momentum=0.1",
    outputs=("y",),
    minutes=30,
    difficulty=4,
    kind="class",
    runtime="torch",
    probe="torch:layer output",
    hints=(
        "PyTorch has a way for what is trained, one for what is saved but not trained, and one "
        "for plain numbers. Which is which here?",
        "Parameters weight and bias, buffers running_mean, running_var, num_batches_tracked. "
        "`self.training` chooses the statistics; the update stands outside the graph. Chapter 04, "
        "“The layer as a module”.",
        "Pool `(0, *range(2, x.ndim))`. In training: raise for one value, normalize with "
        "`unbiased=False`, update under `torch.no_grad()` with the unbiased variance. Shape "
        "parameters by `.view(1, -1, *(1,) * (x.ndim - 2))`.",
    ),
    insight=(
        "Sixteen wrong versions of this class were tried on checks in the style of four public "
        "projects; the best caught four. None saw the biased running_var, the detached statistics "
        "or the buffers that were never registered."
    ),
    cases=_batch_norm_cases,
    reference=_batch_norm_reference,
    variant=_batch_norm_variant,
    mistakes=(
        Mistake(
            "affine_ignored",
            "You have weight and bias but do not apply them: y = weight · x_hat + bias.",
            {"affine": "ignored"},
        ),
        Mistake(
            "affine_missing",
            "Your layer has no weight and bias. It has one of each per channel, starting at 1 and "
            "0.",
            {"affine": "absent"},
        ),
        Mistake(
            "one_weight_for_all",
            "Your weight and bias are one number each. There is one of each per channel.",
            {"affine": "one for all"},
        ),
        Mistake(
            "per_image",
            "You pool the positions of each example alone. BatchNorm pools the batch too: all axes "
            "but the channels.",
            {"pool": "positions"},
        ),
        Mistake(
            "per_position",
            "You pool the batch at each position alone. BatchNorm pools the positions too: all "
            "axes but the channels.",
            {"pool": "batch"},
        ),
        Mistake(
            "maps_alone",
            "Your layer takes four axes only. Input is (N, C, *): a table has no position axes, a "
            "volume has three.",
            {"rank": "maps"},
        ),
        *_STATISTICS_MISTAKES,
        Mistake(
            "debiased",
            "In inference you divide the running statistics by 1 − (1 − momentum)^t, as if they "
            "had begun at 0. running_var begins at 1: use them as they are.",
            {"inference": "debiased"},
            section=_RUNNING,
        ),
        Mistake(
            "no_counter",
            "Your layer lacks the buffer num_batches_tracked, so weights of nn.BatchNorm2d do not "
            "load.",
            {"counts": "absent"},
        ),
        Mistake(
            "counter_stands_still",
            "Your num_batches_tracked stays 0. It goes up by one per training batch.",
            {"counts": "nothing"},
        ),
        Mistake(
            "counts_examples",
            "Your num_batches_tracked counts examples. It goes up by one per training batch.",
            {"counts": "examples"},
        ),
        Mistake(
            "one_value_passes",
            "In training you let a single value per channel pass, which makes every output the "
            "bias. Raise ValueError, as PyTorch does.",
            {"lone": "passes"},
            section=_BUGS,
        ),
        *default_eps_mistakes(),
        *(_default_momentum(value) for value in (0.9, 0.01, 0.99)),
        _CHANGES_X,
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- fine_tune


def _fine_tune_variant(
    backbone: Any,
    head: Any,
    optimizer: Any,
    batches: Any,
    *,
    backbone_in: str = "inference",
    head_in: str = "training",
    trains: str = "head",
    zero_grad: str = "each step",
) -> None:
    """Train a head on a frozen backbone; the switches thaw parts of it."""
    from torch.nn import functional

    backbone.train(backbone_in == "training")
    head.train(head_in == "training")
    for parameter in backbone.parameters():
        parameter.requires_grad = trains == "both"
    for x, target in batches:
        if zero_grad == "each step":
            optimizer.zero_grad()
        loss: Any = functional.mse_loss(head(backbone(x)), target)
        loss.backward()
        optimizer.step()


def _fine_tune_reference(backbone: Any, head: Any, optimizer: Any, batches: Any) -> None:
    _fine_tune_variant(backbone, head, optimizer, batches)


def _fine_tune_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, backbone: list[Any], head: list[Any], sizes: tuple[int, ...]) -> Case:
        data = _batches(rng, "train", sizes)
        return Case(name, {"backbone": backbone, "head": head, **data, "lr": 0.05})

    small = ["linear 3 4", "norm1d 4", "tanh"]
    yield case("one batch", small, ["linear 4 1"], (5,))
    yield case("three batches of different sizes", small, ["linear 4 1"], (4, 6, 3))
    yield case(
        "a head with a BatchNorm of its own",
        small,
        ["linear 4 3", "norm1d 3", "linear 3 1"],
        (4, 5),
    )
    yield case(
        "a backbone with two BatchNorms, nested",
        ["norm1d 3", ["linear 3 5", "norm1d 5"], "relu"],
        ["linear 5 4", "norm1d 4", "tanh", "linear 4 1"],
        (6, 4),
    )
    yield case("a backbone with dropout", ["linear 3 4", "dropout", "tanh"], ["linear 4 1"], (4, 4))


_FINE_TUNE = Exercise(
    id="fine_tune",
    title="Find the bug: a frozen backbone that moves",
    section=_BUGS,
    signature="backbone, head, optimizer, batches",
    outputs=("backbone weights", "backbone statistics", "head weights", "head statistics"),
    minutes=6,
    difficulty=2,
    kind="repair",
    runtime="torch",
    probe="torch:fine tune",
    hints=(
        "No parameter of the backbone changes. Which of its numbers do, and who changes them?",
        "`requires_grad = False` keeps parameters from the optimizer; running statistics never "
        "were parameters. Chapter 04, “Train and eval bugs”.",
        "Put the backbone into inference mode, `backbone.eval()`, and the head into training mode.",
    ),
    insight=(
        "Frozen weights in training mode are a common accident of transfer learning: the backbone "
        "then normalizes with each small batch and slowly forgets the statistics it was trained "
        "with, though not one weight has changed."
    ),
    cases=_fine_tune_cases,
    reference=_fine_tune_reference,
    variant=_fine_tune_variant,
    mistakes=(
        Mistake(
            "backbone_in_training_mode",
            "Your backbone is still in training mode: it normalizes with batch statistics and its "
            "running ones move, although no parameter may. Freezing takes `eval()` too.",
            {"backbone_in": "training"},
        ),
        Mistake(
            "head_in_inference_mode",
            "Your head is in inference mode too. It is new and must learn, its BatchNorm also.",
            {"head_in": "inference"},
        ),
        Mistake(
            "backbone_trained",
            "You train the backbone's parameters too. They should stay as they are.",
            {"trains": "both"},
        ),
        Mistake(
            "gradients_pile_up",
            "You no longer set the gradients to zero before each step, so they add up.",
            {"zero_grad": "never"},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_EVALUATE, _TRAIN_AND_VALIDATE, _FINE_TUNE, _RUNNING_NORM, _BATCH_NORM)
