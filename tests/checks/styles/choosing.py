"""Right answers of chapter 15 in other styles."""

from __future__ import annotations

from typing import Any


def batch_where_it_works(situation: Any) -> str:
    """BatchNorm wherever nothing speaks against it."""
    if situation["contrast"] == "nuisance":
        return "instance"
    if situation["free"] or situation["contrast"] == "label":
        return "batch"
    trouble = situation["batch"] < 8 or situation["shift"]
    if situation["data"] == "tokens":
        trouble = trouble or situation["padded"] or situation["causal"]
    return "rms" if trouble else "batch"


def group_for_images(s: Any) -> str:
    """GroupNorm for images and tables, RMSNorm for tokens."""
    match s:
        case {"free": True} | {"contrast": "label"}:
            return "batch"
        case {"contrast": "nuisance"}:
            return "instance"
        case {"data": "tokens"}:
            return "rms"
    return "group"


def as_class_names(situation: Any) -> str:
    """Names as PyTorch writes them."""
    only = {"label": "BatchNorm", "nuisance": "InstanceNorm"}
    default = "BatchNorm" if situation["free"] else "LayerNorm"
    return only.get(situation["contrast"], default)


def with_underscores(situation: Any) -> str:
    """Names as this course writes them."""
    if situation["contrast"] == "nuisance":
        return "instance_norm"
    fixed = situation["free"] or situation["contrast"] == "label"
    return ("rms_norm", "batch_norm")[fixed]


STYLES = {
    "choose_norm": [batch_where_it_works, group_for_images, as_class_names, with_underscores],
}
