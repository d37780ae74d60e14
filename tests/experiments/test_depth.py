"""Deep fresh nets: the stacks are what they are called, and the record is what the code gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normcourse.evidence import recorded
from normcourse.experiments import depth
from normcourse.modules import LayerNorm


def seen(name: str, layers: int, seed: int = 0) -> depth.Profile:
    return depth.profile(name, layers, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", depth.STACKS)
class TestStack:
    def test_a_value_per_layer_and_the_same_for_the_same_seed(self, name: str) -> None:
        first, again, other = seen(name, 3), seen(name, 3), seen(name, 3, seed=1)
        for quantity in ("gradient", "variance"):
            values = getattr(first, quantity)
            assert values.shape == (3,)
            assert (values > 0).all()
            np.testing.assert_array_equal(values, getattr(again, quantity))
        assert not np.allclose(first.gradient, other.gradient)

    def test_gradients_are_those_of_finite_differences(self, name: str) -> None:
        """The last weight of the first layer, in double precision, one random direction."""
        generator = torch.Generator().manual_seed(3)
        layers, head = depth.stack(name, 2)
        depth._draw(layers, generator, plain=name == depth.PLAIN)
        depth._draw(head, generator, plain=False)
        net = torch.nn.Sequential(*layers, head).double()
        shape = (6, depth.WIDTH) if name == depth.PLAIN else (2, 3, depth.WIDTH)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        weight = depth._last_weight(layers[0])

        def loss() -> torch.Tensor:
            scores = net(x).reshape(-1, depth.CLASSES)
            return torch.nn.functional.cross_entropy(scores, torch.zeros(6, dtype=torch.int64))

        (gradient,) = torch.autograd.grad(loss(), [weight])
        step = torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 1e-6
        with torch.no_grad():
            weight += step
            up = loss()
            weight -= 2 * step
            down = loss()
        assert (up - down).item() / 2 == pytest.approx((gradient * step).sum().item(), rel=1e-4)

    def test_the_record_is_what_the_code_gives(self, name: str) -> None:
        result = recorded("depth").where(stack=name, depth=4, seed=0)
        now = seen(name, 4)
        # other builds of torch may sum in another order
        np.testing.assert_allclose(result.values("gradient"), now.gradient, rtol=1e-3)
        np.testing.assert_allclose(result.values("variance"), now.variance, rtol=1e-3)


def test_post_norm_alone_has_no_norm_after_the_last_layer() -> None:
    for name in depth.PLACEMENTS:
        _, head = depth.stack(name, 1)
        assert any(isinstance(part, LayerNorm) for part in head.modules()) == (name != "post")


def test_known_variances() -> None:
    """Post-Norm leaves variance 1; Sandwich adds about 2 a layer: two branches of variance 1."""
    np.testing.assert_allclose(seen("post", 6).variance, 1, rtol=1e-3)
    steps = np.diff(seen("sandwich", 12).variance)
    assert 1.4 < steps.mean() < 2.6


def test_an_unknown_stack_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no stack 'none'; there are post, pre, res_post"):
        seen("none", 2)


def test_the_record_holds_ten_seeds_of_every_stack_and_depth() -> None:
    result = recorded("depth")
    assert len(result.seeds) >= 10
    assert result.distinct("stack") == list(depth.STACKS)
    assert result.distinct("depth") == [4, 16, 64]
    assert len(result.rows) == len(result.seeds) * len(depth.STACKS) * sum(depth.DEPTHS)
