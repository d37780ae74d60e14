"""The rebuilt architectures have the size of the originals, and norms where those have them."""

from __future__ import annotations

import pytest
import torch

from normcourse.experiments.architectures import ARCHITECTURES, Bottleneck, audit, build

AUDITS = {name: audit(name) for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_as_many_parameters_as_published(name: str) -> None:
    count, published = AUDITS[name].parameters, ARCHITECTURES[name].published
    unit = {"M": 10**6, "B": 10**9}.get(published[-1])
    if unit is None:
        assert count == int(published)
    else:
        assert round(count / unit) == int(published[:-1])


def test_norms() -> None:
    assert {name: a.norms for name, a in AUDITS.items()} == {
        "ResNet-50": {"BatchNorm2d": 53},  # one per convolution
        "ConvNeXt-T": {"LayerNorm": 23},  # 18 blocks, stem, 3 between stages, last
        "ViT-B/16": {"LayerNorm": 25},  # two per block, last
        "GPT-2": {"LayerNorm": 25},
        "LLaMA 7B": {"RMSNorm": 65},
    }
    convolutions = [m for m in build("ResNet-50").modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 53
    assert all(conv.bias is None for conv in convolutions)


def test_values_and_the_smallest_mean() -> None:
    assert AUDITS["ResNet-50"].per_mean == 7 * 7
    assert AUDITS["LLaMA 7B"].values == 65 * 2048 * 4096
    assert AUDITS["GPT-2"].norm_parameters == 25 * 2 * 768


def test_a_block_keeps_shapes_with_numbers_in_it() -> None:
    x = torch.randn(2, 8, 6, 6)
    assert Bottleneck(8, 4, 2)(x).shape == (2, 16, 3, 3)
