"""Where the norm stands in a residual connection: wrappers for any sublayer.

    PostNorm      norm(x + f(x))                 Transformer 2017, GPT-1
    PreNorm       x + f(norm(x))                 GPT-2, with a norm after the last layer
    ResPostNorm   x + norm(f(x))                 Swin v2, OLMo 2
    SandwichNorm  x + norm_out(f(norm_in(x)))    CogView, Gemma 2; Peri-LN
    DeepNorm      norm(alpha * x + f(x))         DeepNet

Pre-Norm and Sandwich never normalize the stream itself; a stack of them ends with a norm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

Sublayer = Callable[..., Tensor]
"""Attention, an MLP, any module or function that returns a tensor like its first argument."""


class _Residual(nn.Module):
    """A sublayer and the check that its output can be added to its input."""

    def __init__(self, sublayer: Sublayer) -> None:
        super().__init__()
        self.sublayer = sublayer

    def _branch(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return sublayer(x, ...) if it has the shape of x."""
        branch: Any = self.sublayer(x, *args, **kwargs)
        if isinstance(branch, fx.Proxy):  # torch.fx follows the data: there are no shapes yet
            return branch  # type: ignore[return-value]
        if not isinstance(branch, Tensor):
            raise TypeError(
                f"sublayer: expected a tensor out, got {type(branch).__name__}. Wrap it in a "
                f"module that returns only what is added, for example the first of a tuple."
            )
        if branch.shape != x.shape:
            raise ValueError(
                f"sublayer: expected the shape of its input, {tuple(x.shape)}, got "
                f"{tuple(branch.shape)}. A residual sum needs equal shapes: project the output."
            )
        return branch


class PostNorm(_Residual):
    """Normalize after the addition, on the main path.

    Formula:
        y = norm(x + f(x))

    Args:
        sublayer: f; a module, or any callable, that returns a tensor like its first argument.
        norm: a module such as LayerNorm(D).

    Shape:
        whatever sublayer and norm take; further arguments of a call go to the sublayer.

    Raises:
        TypeError: the sublayer returns something else than a tensor.
        ValueError: it returns a tensor of another shape.

    Differs from torch in:
        wraps any sublayer, where torch.nn.TransformerEncoderLayer (norm_first=False) has its own.

    Source:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.1.

    Example:
        >>> import torch
        >>> from normcourse.modules import LayerNorm
        >>> PostNorm(lambda x: 2 * x, LayerNorm(2, eps=0.0))(torch.tensor([1.0, 5.0])).detach()
        tensor([-1.,  1.])
    """

    def __init__(self, sublayer: Sublayer, norm: nn.Module) -> None:
        super().__init__(sublayer)
        self.norm = norm

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return norm(x + f(x, ...))."""
        y: Tensor = self.norm(x + self._branch(x, *args, **kwargs))
        return y


class PreNorm(_Residual):
    """Normalize the sublayer's input; the main path stays an identity.

    Formula:
        y = x + f(norm(x))

    Args:
        sublayer: f; a module, or any callable, that returns a tensor like its first argument.
        norm: a module such as LayerNorm(D).

    Shape:
        whatever norm and sublayer take; further arguments of a call go to the sublayer.

    Raises:
        TypeError: the sublayer returns something else than a tensor.
        ValueError: it returns a tensor of another shape.

    Differs from torch in:
        wraps any sublayer, where torch.nn.TransformerEncoderLayer (norm_first=True) has its own.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; Xiong et al.,
        "On Layer Normalization in the Transformer Architecture", 2020.

    Example:
        >>> import torch
        >>> from normcourse.modules import LayerNorm
        >>> PreNorm(lambda x: 2 * x, LayerNorm(2, eps=0.0))(torch.tensor([1.0, 5.0])).detach()
        tensor([-1.,  7.])
    """

    def __init__(self, sublayer: Sublayer, norm: nn.Module) -> None:
        super().__init__(sublayer)
        self.norm = norm

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return x + f(norm(x), ...)."""
        return x + self._branch(self.norm(x), *args, **kwargs)


class ResPostNorm(_Residual):
    """Normalize the sublayer's output, inside the branch; often mislabelled Post-Norm.

    Formula:
        y = x + norm(f(x))

    Args:
        sublayer: f; a module, or any callable, that returns a tensor like its first argument.
        norm: a module such as LayerNorm(D).

    Shape:
        whatever sublayer and norm take; further arguments of a call go to the sublayer.

    Raises:
        TypeError: the sublayer returns something else than a tensor.
        ValueError: it returns a tensor of another shape.

    Differs from torch in:
        torch has no such wrapper.

    Source:
        Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution", 2022.

    Example:
        >>> import torch
        >>> from normcourse.modules import LayerNorm
        >>> ResPostNorm(lambda x: 2 * x, LayerNorm(2, eps=0.0))(torch.tensor([1.0, 5.0])).detach()
        tensor([0., 6.])
    """

    def __init__(self, sublayer: Sublayer, norm: nn.Module) -> None:
        super().__init__(sublayer)
        self.norm = norm

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return x + norm(f(x, ...))."""
        y: Tensor = x + self.norm(self._branch(x, *args, **kwargs))
        return y


class SandwichNorm(_Residual):
    """Normalize the sublayer's input and its output (Sandwich-LN, Peri-LN).

    Formula:
        y = x + norm_out(f(norm_in(x)))

    Args:
        sublayer: f; a module, or any callable, that returns a tensor like its first argument.
        norm_in: norm of the sublayer's input.
        norm_out: norm of its output, a layer of its own.

    Shape:
        whatever the parts take; further arguments of a call go to the sublayer.

    Raises:
        TypeError: the sublayer returns something else than a tensor.
        ValueError: it returns a tensor of another shape.

    Differs from torch in:
        torch has no such wrapper.

    Source:
        Ding et al., "CogView: Mastering Text-to-Image Generation via Transformers", 2021; Kim et
        al., "Peri-LN: Revisiting Normalization Layer in the Transformer Architecture", 2025.

    Example:
        >>> import torch
        >>> from normcourse.modules import LayerNorm, RMSNorm
        >>> layer = SandwichNorm(lambda x: 2 * x, LayerNorm(2, eps=0.0), RMSNorm(2, eps=0.0))
        >>> layer(torch.tensor([1.0, 5.0])).detach()
        tensor([0., 6.])
    """

    def __init__(self, sublayer: Sublayer, norm_in: nn.Module, norm_out: nn.Module) -> None:
        super().__init__(sublayer)
        self.norm_in, self.norm_out = norm_in, norm_out

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return x + norm_out(f(norm_in(x), ...))."""
        y: Tensor = x + self.norm_out(self._branch(self.norm_in(x), *args, **kwargs))
        return y


class DeepNorm(_Residual):
    """Post-Norm with an amplified skip, for very deep stacks.

    Formula:
        y = norm(alpha * x + f(x))
        encoder or decoder alone, M layers:  alpha = (2 M)^(1/4),  beta = (8 M)^(-1/4)

    beta scales the initial weights of the feed-forward, value and output projections.

    Args:
        sublayer: f; a module, or any callable, that returns a tensor like its first argument.
        norm: a module such as LayerNorm(D).
        alpha: weight of the skip, see :func:`normcourse.norms.deep_norm_constants`.

    Shape:
        whatever sublayer and norm take; further arguments of a call go to the sublayer.

    Raises:
        TypeError: the sublayer returns something else than a tensor.
        ValueError: it returns a tensor of another shape, or alpha is not positive.

    Differs from torch in:
        torch has no such wrapper.

    Source:
        Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022.

    Example:
        >>> import torch
        >>> from normcourse.modules import RMSNorm
        >>> layer = DeepNorm(lambda x: 2 * x, RMSNorm(2, eps=0.0), alpha=3.0)
        >>> layer(torch.tensor([3.0, 4.0])).detach()
        tensor([0.8485, 1.1314])
    """

    def __init__(self, sublayer: Sublayer, norm: nn.Module, alpha: float) -> None:
        super().__init__(sublayer)
        if not alpha > 0:
            raise ValueError(
                f"alpha: expected a positive number, got {alpha!r}. "
                f"For M layers use normcourse.norms.deep_norm_constants(M)[0]."
            )
        self.norm, self.alpha = norm, alpha

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return norm(alpha * x + f(x, ...))."""
        y: Tensor = self.norm(self.alpha * x + self._branch(x, *args, **kwargs))
        return y

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"alpha={self.alpha}"
