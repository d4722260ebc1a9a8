"""What a strategy does as formulas, from its class and hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

NOTATION = (
    "Formulas: F_l is the number of filters of layer l, a_lk(x) the output of its filter k for image x after the ReLU,"
    " ‖·‖₂ the L2 norm over pixels or voxels, n the number of training images, f the filters on the first level, θ the"
    " weights, z logits, U a uniform distribution."
)
_CONVERGED = "θ ← argmin over epochs of L_validation(θ), until it has not fallen for `patience` epochs"
_DOUBLING, _FLAT = "F on level i = f · 2^i", "F on every level = f"
_DISTILLED = "L = (1 − w) · L_Dice + w · T² · KL(softmax(z_teacher / T) ‖ softmax(z / T))"
_IMPORTANCE = {
    "l2": "m_lk = (1/n) Σ_x ‖a_lk(x)‖₂, s_lk = m_lk / ‖m_l‖₂",
    "group_l2": "m_lk = mean of ‖w‖₂² over the slices w that go with filter k of layer l, s_lk = m_lk / mean_k m_lk",
}
_DROPOUT = {
    "none": (),
    "fixed": ("p_l = 0.037 for all layers",),
    "targeted": ("p_l = b · μ_l / max_m μ_m, μ_l = mean position of layer l's filters in descending order of s",),
}
_SELECTION = {
    "lowest": "remove (l, k) = argmin s_lk",
    "random_in_stamp_layer": "remove filter k ~ U{1, …, F_l} of the layer l of argmin s_lk",
    "random_largest": "remove filter k ~ U{1, …, F_l} of the layer l = argmax F_l",
    "random_uniform": "remove (l, k) ~ U over all filters of layers with more than one",
}
_RANKED = ("lowest", "random_in_stamp_layer")
"""Selections that rank filters."""


def formulas(kind: str, values: Mapping[str, Any]) -> list[str]:
    """Return the formulas of a built-in strategy, in the order in which they are applied.

    Args:
        kind: name of its class.
        values: its hyperparameters by name.

    Raises:
        KeyError: when the class or the value of a hyperparameter has no formula yet.
    """
    return list(_KINDS[kind](values))


def _standard(values: Mapping[str, Any]) -> Iterator[str]:
    yield {"doubling": _DOUBLING, "flat": _FLAT}[values["shape"]]
    yield _CONVERGED
    yield from _DROPOUT[values["dropout"]]


def _pocket(values: Mapping[str, Any]) -> Iterator[str]:
    yield _FLAT if values["pocket"] else _DOUBLING
    yield _CONVERGED


def _pruned(values: Mapping[str, Any]) -> Iterator[str]:
    yield _DOUBLING
    if values["pretrained"]:
        yield f"{_CONVERGED}, in a parent run"
    if values["selection"] in _RANKED:
        yield _IMPORTANCE[values["importance"]]
    yield _SELECTION[values["selection"]]
    yield from _DROPOUT[values["dropout"]]
    recovery = {"epochs": "train R epochs", "convergence": _CONVERGED}[values["recovery"]]
    yield f"{recovery}, and prune again, while a layer has more than one filter"


def _retrained(values: Mapping[str, Any]) -> Iterator[str]:
    yield "F_l = those of checkpoint s of the parent run, s = 0, N, 2N, …; θ is drawn anew"
    yield {"convergence": _CONVERGED, "source": "train as many epochs as s was charged"}[values["budget"]]


def _quantised(_: Mapping[str, Any]) -> Iterator[str]:
    yield "θ = that of the selected network of a parent run"
    yield "int8: w ← s_w · round(w / s_w), s_w = max |w| / 127 per filter; x ← s_x · round(x / s_x), as 8-bit integers"


def _distilled(values: Mapping[str, Any]) -> Iterator[str]:
    yield {"doubling": _DOUBLING, "flat": _FLAT}[values["shape"]]
    yield _DISTILLED
    yield _CONVERGED


def _swift(values: Mapping[str, Any]) -> Iterator[str]:
    yield "x ← blocks of `stride` voxels per axis as channels; z ← the same blocks spread over their voxels"
    yield _FLAT
    yield f"with a teacher, {_DISTILLED}"
    yield _CONVERGED


def _width_at_init(_: Mapping[str, Any]) -> Iterator[str]:
    yield "F_l(c) = min(c, F_l), c = max F_l, max F_l / 2, …, 1"
    yield "s(c) = (1/n) Σ_x ‖∂ Σ z(x) / ∂x‖₂, without training; c = the last one before s jumps"
    yield _CONVERGED


def _sauron(_: Mapping[str, Any]) -> Iterator[str]:
    yield _DOUBLING
    yield "L = L_Dice + λ · mean distance of the maps of each layer to the map of one filter r ~ U"
    yield "after every epoch: remove all filters k of layer l whose distance to r is below τ_l"
    yield "τ_l rises from the first to the last threshold in κ steps, each when the loss has stopped falling"


_KINDS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "Standard": _standard,
    "Pocket": _pocket,
    "TrainAndPrune": _pruned,
    "RetrainScratch": _retrained,
    "Distill": _distilled,
    "Quantised": _quantised,
    "Swift": _swift,
    "WidthAtInit": _width_at_init,
    "Sauron": _sauron,
}
