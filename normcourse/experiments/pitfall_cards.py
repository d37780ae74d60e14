"""What each pitfall looks like, why, and its cure, with two short scripts: failing and mended.

One card per word of :data:`normcourse.experiments.pitfalls.PITFALLS`, whose curves are recorded. A
script ends with ``fine``, which says whether it does what it should. The page of pitfalls, the
chapter's table and the figure are made from these cards.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One pitfall in words and in code.

    Attributes:
        title: the mistake, as one would say it.
        short: the same in few words, for small panels.
        kind: "choice" of a norm, "mode", "shape" or "numbers".
        symptom: what one sees.
        diagnosis: why.
        cure: what to do.
        axis: what the curve is drawn against.
        failing: a script that ends with ``fine`` False.
        mended: the same with ``fine`` True.
        chapter: where it is explained, "04_batch_norm_inference".
        sources: keys of the bibliography.
    """

    title: str
    short: str
    kind: str
    symptom: str
    diagnosis: str
    cure: str
    axis: str
    failing: str
    mended: str
    chapter: str
    sources: tuple[str, ...] = ()


def _script(text: str) -> str:
    return textwrap.dedent(text).strip()


CARDS: dict[str, Card] = {
    "tiny_batches": Card(
        title="Two images per batch",
        short="two images per batch",
        kind="choice",
        symptom="The loss jumps about and stays high; with larger batches all is well.",
        diagnosis="Of two values per feature, standardizing leaves +1 and -1: which is larger, and "
        "nothing else. Per mean there are as many values as images (in a convolution times "
        "positions).",
        cure="A norm that looks at one example: LayerNorm, GroupNorm. Or more values per mean: "
        "SyncBatchNorm across devices.",
        axis="training step",
        failing=_script("""
            x = torch.tensor([[2.0, -300.0], [2.5, 800.0]])
            y = nn.BatchNorm1d(2)(x)
            print(y)
            fine = len(y.abs().round(decimals=2).unique()) > 1
        """),
        mended=_script("""
            x = torch.tensor([[2.0, -300.0, 5.0], [2.5, 800.0, 4.0]])
            y = nn.LayerNorm(3)(x)
            print(y)
            fine = len(y.abs().round(decimals=2).unique()) > 1
        """),
        chapter="06_batch_norm_limits",
        sources=("wu2018group",),
    ),
    "wrong_domain": Card(
        title="A norm that erases the label",
        short="label erased",
        kind="choice",
        symptom="The net never gets beyond chance, at any learning rate.",
        diagnosis="A norm of one image standardizes its contrast. Where contrast tells the classes "
        "apart, an image and its darker copy become the same.",
        cure="Statistics that do not come from the one image: BatchNorm. Or hand the contrast to "
        "the net as an input of its own.",
        axis="training step",
        failing=_script("""
            bright = torch.rand(1, 3, 8, 8)
            norm = nn.InstanceNorm2d(3)
            change = (norm(bright) - norm(0.2 * bright)).abs().max()
            print(change)
            fine = change > 0.1
        """),
        mended=_script("""
            bright = torch.rand(1, 3, 8, 8)
            norm = nn.BatchNorm2d(3).eval()
            change = (norm(bright) - norm(0.2 * bright)).abs().max()
            print(change)
            fine = change > 0.1
        """),
        chapter="10_instance_norm",
        sources=("ulyanov2016instance",),
    ),
    "forgotten_eval": Card(
        title="Forgotten eval()",
        short="eval() forgotten",
        kind="mode",
        symptom="The same image gets other scores in other company; single images are refused or "
        "wrong.",
        diagnosis="In training mode each batch is normalized by its own statistics. The smaller "
        "the batch, the further they are from those that the weights learned with.",
        cure="`net.eval()` before answers, `net.train()` before the next step.",
        axis="images per batch",
        failing=_script("""
            norm = nn.BatchNorm1d(3)
            image, others = torch.ones(1, 3), torch.randn(7, 3)
            first = norm(torch.cat([image, others]))[0]
            second = norm(torch.cat([image, 5 * others]))[0]
            print(first, second)
            fine = torch.allclose(first, second)
        """),
        mended=_script("""
            norm = nn.BatchNorm1d(3).eval()
            image, others = torch.ones(1, 3), torch.randn(7, 3)
            first = norm(torch.cat([image, others]))[0]
            second = norm(torch.cat([image, 5 * others]))[0]
            print(first, second)
            fine = torch.allclose(first, second)
        """),
        chapter="04_batch_norm_inference",
        sources=("pytorch_batchnorm1d", "wu2021rethinking"),
    ),
    "initial_scale": Card(
        title="A scale that starts at 0, without a skip",
        short="scale starts at 0",
        kind="numbers",
        symptom="The loss stays at the logarithm of the number of classes; all inputs get one "
        "answer.",
        diagnosis="With gamma = 0 nothing of the input passes, and no gradient reaches the weights "
        "before. A second such layer cuts off the first one's gamma as well.",
        cure="Start at 1. A start at 0 belongs on the last norm of a residual branch, where the "
        "skip carries signal and gradient past it.",
        axis="training step",
        failing=_script("""
            norms = [nn.BatchNorm1d(4) for _ in range(2)]
            for norm in norms:
                nn.init.zeros_(norm.weight)
            net = nn.Sequential(nn.Linear(3, 4), norms[0], nn.ReLU(),
                                nn.Linear(4, 4), norms[1])
            target = torch.randn(16, 4)
            (net(torch.randn(16, 3)) * target).sum().backward()
            print([p.grad.abs().max().item() for p in net.parameters()])
            fine = net[0].weight.grad.abs().max() > 0
        """),
        mended=_script("""
            norms = [nn.BatchNorm1d(4) for _ in range(2)]
            net = nn.Sequential(nn.Linear(3, 4), norms[0], nn.ReLU(),
                                nn.Linear(4, 4), norms[1])
            target = torch.randn(16, 4)
            (net(torch.randn(16, 3)) * target).sum().backward()
            print([p.grad.abs().max().item() for p in net.parameters()])
            fine = net[0].weight.grad.abs().max() > 0
        """),
        chapter="02_batch_norm",
        sources=("goyal2017accurate",),
    ),
    "layer_norm_axis": Card(
        title="LayerNorm(C) on (N, C, H, W)",
        short="LayerNorm(C) on NCHW",
        kind="shape",
        symptom="An error about normalized_shape; or none, where the width happens to be C, until "
        "an image of another width comes.",
        diagnosis="LayerNorm pools the trailing axes. In (N, C, H, W) the last one is the width.",
        cure="Move the channels last and back, or take `GroupNorm(1, C)`, which pools the image.",
        axis="width of the test images, pixels",
        failing=_script("""
            norm = nn.LayerNorm(8)
            print(norm(torch.randn(2, 8, 6, 8)).shape, "the width is pooled")
            try:
                norm(torch.randn(2, 8, 6, 10))
                fine = True
            except RuntimeError as error:
                print(str(error)[:70])
                fine = False
        """),
        mended=_script("""
            norm = nn.LayerNorm(8)
            x = torch.randn(2, 8, 6, 10)
            y = norm(x.movedim(1, -1)).movedim(-1, 1)
            print(y.shape, "mean over channels:", y.mean(1).abs().max())
            fine = y.mean(1).abs().max() < 1e-5
        """),
        chapter="07_layer_norm",
        sources=("pytorch_layernorm",),
    ),
    "batch_norm_axis": Card(
        title="BatchNorm1d on (B, T, D), not transposed",
        short="BatchNorm1d on (B, T, D)",
        kind="shape",
        symptom="An error about running_mean; or none, with as many means as positions, until a "
        "sequence of another length comes.",
        diagnosis="BatchNorm1d takes (N, C, L): the axis after the batch is what keeps a mean of "
        "its own. In (B, T, D) that is time.",
        cure="Transpose before and after, or flatten to (B·T, D).",
        axis="length of the test sequences",
        failing=_script("""
            norm = nn.BatchNorm1d(6)  # "it asked for 6 features"
            norm(torch.randn(4, 6, 16))
            try:
                norm(torch.randn(4, 5, 16))
                fine = True
            except RuntimeError as error:
                print(str(error)[:70])
                fine = False
        """),
        mended=_script("""
            norm = nn.BatchNorm1d(16)
            for length in (6, 5):
                x = torch.randn(4, length, 16)
                y = norm(x.transpose(1, 2)).transpose(1, 2)
            print(y.shape, "largest mean of a feature:", y.mean((0, 1)).abs().max())
            fine = y.mean((0, 1)).abs().max() < 1e-5
        """),
        chapter="02_batch_norm",
        sources=("pytorch_batchnorm1d",),
    ),
    "one_pixel_maps": Card(
        title="InstanceNorm on 1×1 maps",
        short="1×1 maps",
        kind="choice",
        symptom="The net is stuck at chance, and its output is the same for every image.",
        diagnosis="A map of one pixel is its own mean, so what is left is beta. "
        "`InstanceNorm2d` refuses in training; `GroupNorm(C, C)` does not.",
        cure="Fewer groups where maps get small, or no norm there.",
        axis="training step",
        failing=_script("""
            x = torch.randn(4, 16, 1, 1)
            y = nn.GroupNorm(16, 16)(x)
            print(y.abs().max())
            fine = y.abs().max() > 0.1
        """),
        mended=_script("""
            x = torch.randn(4, 16, 1, 1)
            y = nn.GroupNorm(4, 16)(x)
            print(y.abs().max())
            fine = y.abs().max() > 0.1
        """),
        chapter="10_instance_norm",
        sources=("pytorch_instancenorm2d",),
    ),
    "padding": Card(
        title="Statistics that pool the padding",
        short="padding pooled",
        kind="choice",
        symptom="A sequence gets other scores beside a longer one.",
        diagnosis="GroupNorm on (N, C, L) pools the positions, and padding is positions. How much "
        "of it there is, others decide.",
        cure="A norm of single positions (LayerNorm over the features), or statistics over a mask.",
        axis="padded length, of 8 real positions",
        failing=_script("""
            x = torch.randn(1, 4, 8)
            norm, longer = nn.GroupNorm(1, 4), nn.functional.pad(x, (0, 8), value=3)
            change = (norm(longer)[..., :8] - norm(x)).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        mended=_script("""
            x = torch.randn(1, 4, 8)
            norm, longer = nn.LayerNorm(4), nn.functional.pad(x, (0, 8), value=3)
            change = (norm(longer.mT)[:, :8] - norm(x.mT)).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        chapter="06_batch_norm_limits",
    ),
    "last_batch": Card(
        title="A last batch of one",
        short="last batch of one",
        kind="mode",
        symptom="“Expected more than 1 value per channel when training”, at the end of the first "
        "epoch.",
        diagnosis="129 = 8·16 + 1: one image is left over, and of one value per feature there is "
        "no variance.",
        cure="`drop_last=True`, or another batch size. Convolutional nets are not refused, but "
        "their last batch is as noisy.",
        axis="training step",
        failing=_script("""
            norm = nn.BatchNorm1d(3)
            try:
                for batch in torch.randn(129, 3).split(16):
                    norm(batch)
                fine = True
            except ValueError as error:
                print(error)
                fine = False
        """),
        mended=_script("""
            norm = nn.BatchNorm1d(3)
            batches = torch.utils.data.DataLoader(torch.randn(129, 3), 16, drop_last=True)
            for batch in batches:
                norm(batch)
            print(norm.num_batches_tracked, "batches")
            fine = True
        """),
        chapter="04_batch_norm_inference",
        sources=("pytorch_batchnorm1d",),
    ),
    "momentum": Card(
        title="Momentum from another library",
        short="momentum 0.99",
        kind="numbers",
        symptom="Training goes well; accuracy in inference mode jumps from test to test.",
        diagnosis="Keras' 0.99 weights the *old* statistics, PyTorch's momentum the *new* batch. "
        "With 0.99 in PyTorch the running statistics are those of the last batch.",
        cure="Take the complement: 0.99 there is 0.01 here.",
        axis="training step",
        failing=_script("""
            norm = nn.BatchNorm1d(1, momentum=0.99)
            for _ in range(500):
                norm(2 + torch.randn(8, 1))
            kept = []
            for _ in range(50):
                norm(2 + torch.randn(8, 1))
                kept.append(norm.running_mean.item())
            print("running mean between", min(kept), "and", max(kept))
            fine = max(kept) - min(kept) < 0.3
        """),
        mended=_script("""
            norm = nn.BatchNorm1d(1, momentum=0.01)
            for _ in range(500):
                norm(2 + torch.randn(8, 1))
            kept = []
            for _ in range(50):
                norm(2 + torch.randn(8, 1))
                kept.append(norm.running_mean.item())
            print("running mean between", min(kept), "and", max(kept))
            fine = max(kept) - min(kept) < 0.3
        """),
        chapter="04_batch_norm_inference",
        sources=("keras_batchnormalization", "pytorch_batchnorm1d"),
    ),
    "accumulation": Card(
        title="Gradient accumulation, taken for a large batch",
        short="accumulation",
        kind="choice",
        symptom="“Effective batch 32”, and the net trains as badly as with 2.",
        diagnosis="Gradients are added up; statistics are not. Each part is normalized by its own. "
        "The same holds for replicas on several devices without SyncBatchNorm.",
        cure="A norm without a batch; across devices SyncBatchNorm.",
        axis="optimizer step",
        failing=_script("""
            x = torch.randn(32, 3)
            norm = nn.BatchNorm1d(3)
            parts = torch.cat([norm(part) for part in x.split(2)])
            change = (parts - norm(x)).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        mended=_script("""
            x = torch.randn(32, 3)
            norm = nn.LayerNorm(3)
            parts = torch.cat([norm(part) for part in x.split(2)])
            change = (parts - norm(x)).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        chapter="06_batch_norm_limits",
        sources=("wu2018group", "pytorch_syncbatchnorm"),
    ),
    "polluted_statistics": Card(
        title="no_grad() taken for eval()",
        short="no_grad for eval",
        kind="mode",
        symptom="Each evaluation on other data makes the next one worse, though no weight moves.",
        diagnosis="`no_grad` stops gradients. Running statistics are no parameters, and move with "
        "every batch that passes in training mode.",
        cure="`eval()` decides what is normalized by what; `no_grad` only saves memory.",
        axis="evaluation batches that passed",
        failing=_script("""
            norm = nn.BatchNorm1d(2)
            before = norm.running_mean.clone()
            with torch.no_grad():
                norm(5 + torch.randn(32, 2))
            print(before, norm.running_mean)
            fine = torch.equal(before, norm.running_mean)
        """),
        mended=_script("""
            norm = nn.BatchNorm1d(2).eval()
            before = norm.running_mean.clone()
            with torch.no_grad():
                norm(5 + torch.randn(32, 2))
            print(before, norm.running_mean)
            fine = torch.equal(before, norm.running_mean)
        """),
        chapter="04_batch_norm_inference",
        sources=("pytorch_batchnorm1d",),
    ),
    "frozen_backbone": Card(
        title="A frozen backbone in training mode",
        short="frozen, in training",
        kind="mode",
        symptom="After fine-tuning a new head, the old head has forgotten its task.",
        diagnosis="`requires_grad=False` freezes weights, not running statistics; and "
        "`net.train()` turns every norm back to training.",
        cure="`backbone.eval()` after each `net.train()`, or the norms frozen for good.",
        axis="fine-tuning step",
        failing=_script("""
            backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
            backbone.requires_grad_(False)
            before = backbone[1].running_mean.clone()
            backbone(torch.randn(16, 3))
            print(before, backbone[1].running_mean)
            fine = torch.equal(before, backbone[1].running_mean)
        """),
        mended=_script("""
            backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
            backbone.requires_grad_(False).eval()
            before = backbone[1].running_mean.clone()
            backbone(torch.randn(16, 3))
            print(before, backbone[1].running_mean)
            fine = torch.equal(before, backbone[1].running_mean)
        """),
        chapter="04_batch_norm_inference",
        sources=("wu2021rethinking",),
    ),
    "folded_batch": Card(
        title="Folding with the statistics at hand",
        short="folded too early",
        kind="mode",
        symptom="The folded net answers differently from the net that was tested.",
        diagnosis="Only fixed statistics make the norm an affine map. Those of the batch that is "
        "there while one folds are an accident.",
        cure="Fold in inference mode, with the running statistics; compare scores before and "
        "after.",
        axis="images in the batch at hand",
        failing=_script("""
            linear, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
            x = torch.randn(8, 3)
            y = norm(linear(x))  # training mode
            folded = fold_batch_norm(linear, norm.eval())
            change = (folded(x) - y).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        mended=_script("""
            linear, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
            x = torch.randn(8, 3)
            y = norm.eval()(linear(x))
            folded = fold_batch_norm(linear, norm)
            change = (folded(x) - y).abs().max()
            print(change)
            fine = change < 1e-5
        """),
        chapter="04_batch_norm_inference",
        sources=("jacob2018quantization",),
    ),
    "half_precision": Card(
        title="An eps that float16 does not have",
        short="eps in float16",
        kind="numbers",
        symptom="NaN from the first step on.",
        diagnosis="The smallest positive float16 is 6e-8, so an eps of 1e-8 is 0. A pixel that is "
        "empty in every image then gives 0/0.",
        cure="Statistics in float32, as `torch.nn` does; eps of 1e-5 or more.",
        axis="training step",
        failing=_script("""
            x = torch.zeros(16, 1).half()
            eps = torch.tensor(1e-8).half()
            y = (x - x.mean(0)) / (x.var(0, unbiased=False) + eps).sqrt()
            print(eps, y[0])
            fine = y.isfinite().all()
        """),
        mended=_script("""
            x = torch.zeros(16, 1).half().float()
            eps = 1e-5
            y = (x - x.mean(0)) / (x.var(0, unbiased=False) + eps).sqrt()
            print(eps, y[0])
            fine = y.isfinite().all()
        """),
        chapter="16_numerics_and_speed",
        sources=("micikevicius2018mixed",),
    ),
    "weight_decay": Card(
        title="Weight decay on gamma and beta",
        short="decay on gamma",
        kind="numbers",
        symptom="Slower in the first steps; in this net nothing at the end.",
        diagnosis="Before a norm, decaying weights changes only the effective rate. Decaying gamma "
        "shrinks what the layer gives on.",
        cure="Two parameter groups: decay for matrices and filters, none for vectors.",
        axis="training step",
        failing=_script("""
            norm = nn.BatchNorm1d(3)
            decay = torch.optim.SGD(norm.parameters(), lr=0.1, weight_decay=0.1)
            for _ in range(200):
                decay.zero_grad()
                (0 * norm(torch.randn(16, 3)).sum()).backward()
                decay.step()
            print(norm.weight)
            fine = norm.weight.min() > 0.9
        """),
        mended=_script("""
            net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
            vectors = [p for p in net.parameters() if p.ndim == 1]
            matrices = [p for p in net.parameters() if p.ndim > 1]
            decay = torch.optim.SGD([{"params": matrices, "weight_decay": 0.1},
                                     {"params": vectors}], lr=0.1)
            for _ in range(200):
                decay.zero_grad()
                (0 * net(torch.randn(16, 3)).sum()).backward()
                decay.step()
            print(net[1].weight)
            fine = net[1].weight.min() > 0.9
        """),
        chapter="03_batch_norm_backward",
        sources=("vanlaarhoven2017l2", "he2019bag"),
    ),
}
