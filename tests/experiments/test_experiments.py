"""Data, nets and training are what they say, and the same for the same generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normcourse.experiments import accuracy, digit_net, load_digits, record, train


def _seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


class TestDigits:
    def test_every_image_once(self) -> None:
        digits = load_digits(_seed(0), num_test=300)
        assert len(digits.test_x) == len(digits.test_t) == 300
        together = torch.cat([digits.train_x, digits.test_x])
        assert together.shape == (1797, 1, 8, 8)
        other = load_digits(_seed(1))
        again = torch.cat([other.train_x, other.test_x])
        order = np.lexsort(together.flatten(1).numpy().T)
        order_again = np.lexsort(again.flatten(1).numpy().T)
        assert torch.equal(together[order], again[order_again])

    def test_labels_follow_their_images(self) -> None:
        from sklearn.datasets import load_digits as original

        bundle = original()
        known = {image.tobytes(): t for image, t in zip(bundle.images, bundle.target, strict=True)}
        digits = load_digits(_seed(0))
        for x, t in zip(digits.test_x[:50], digits.test_t[:50], strict=True):
            assert known[(x[0].double() * 16).numpy().tobytes()] == t

    def test_range_and_split_depend_on_the_generator_alone(self) -> None:
        digits = load_digits(_seed(0))
        assert digits.train_x.min() == 0
        assert digits.train_x.max() == 1
        assert torch.equal(digits.test_x, load_digits(_seed(0)).test_x)
        assert not torch.equal(digits.test_x, load_digits(_seed(1)).test_x)

    @pytest.mark.parametrize("num_test", [0, 1797, -1])
    def test_empty_part(self, num_test: int) -> None:
        with pytest.raises(ValueError, match="num_test: expected 1 to 1796"):
            load_digits(_seed(0), num_test=num_test)


class TestNet:
    def test_layers_and_shapes(self) -> None:
        net = digit_net(_seed(0), channels=3, width=7)
        seen = record(net, torch.zeros(5, 1, 8, 8), ("hidden", "conv", "scores"))
        assert list(seen) == ["hidden", "conv", "scores"]
        assert [seen[name].shape for name in seen] == [(5, 7), (5, 3, 6, 6), (5, 10)]

    def test_weights_come_from_the_generator_and_from_torchs_rule(self) -> None:
        first, second, other = digit_net(_seed(3)), digit_net(_seed(3)), digit_net(_seed(4))
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(first.conv.weight, other.conv.weight)
        bound = 1 / np.sqrt(4 * 36)
        assert 0.95 * bound < first.hidden.weight.abs().max() <= bound
        assert first.hidden.bias.abs().max() <= bound


class TestTrain:
    def test_learns_the_digits_and_repeats_itself(self) -> None:
        runs = []
        for _ in range(2):
            generator = _seed(0)
            digits = load_digits(generator)
            net = digit_net(generator)
            losses = train(
                net, digits.train_x, digits.train_t, steps=200, lr=0.2, generator=generator
            )
            runs.append((losses, accuracy(net, digits.test_x, digits.test_t)))
        assert runs[0] == runs[1]
        losses, right = runs[0]
        assert len(losses) == 200
        assert losses[0] == pytest.approx(np.log(10), abs=0.2)
        assert right > 0.85

    def test_one_step_is_plain_gradient_descent(self) -> None:
        net = nn.Linear(3, 2, bias=False)
        x, t = torch.randn(8, 3, generator=_seed(0)), torch.arange(8) % 2
        before = net.weight.detach().clone()
        loss = nn.functional.cross_entropy(net(x), t)
        (gradient,) = torch.autograd.grad(loss, net.weight)
        losses = train(net, x, t, steps=1, batch_size=8, lr=0.5, generator=_seed(1))
        torch.testing.assert_close(net.weight.detach(), before - 0.5 * gradient)
        assert losses == [pytest.approx(loss.item())]


class TestAccuracy:
    def test_counts_and_leaves_the_mode(self) -> None:
        net = nn.Sequential(nn.Identity(), nn.Dropout(0.9))
        scores = torch.eye(4)
        net.train()
        assert accuracy(net, scores, torch.tensor([0, 1, 2, 0])) == 0.75
        assert net.training
        net.eval()
        accuracy(net, scores, torch.arange(4))
        assert not net.training


class TestRecord:
    def test_values_mode_and_no_hooks_left(self) -> None:
        net = digit_net(_seed(0)).eval()
        x = torch.rand(3, 1, 8, 8, generator=_seed(1))
        seen = record(net, x, ("conv",))
        np.testing.assert_array_equal(seen["conv"], net.conv(x).detach().numpy())
        assert not net.training
        assert not net.conv._forward_hooks

    def test_what_follows_in_place_does_not_change_it(self) -> None:
        net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
        seen = record(net, torch.tensor([-1.0, 2.0]), ("0",))
        assert seen["0"].tolist() == [-1.0, 2.0]

    def test_unknown_layer(self) -> None:
        with pytest.raises(KeyError, match="no layer named 'bn'; this net has conv"):
            record(digit_net(_seed(0)), torch.zeros(1, 1, 8, 8), ("bn",))
