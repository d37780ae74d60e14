"""Text that is safe to show, and text that any terminal can show."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, links
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters, line separators, changes of writing direction, halves of characters.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ASCII = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "·": "*", "×": "x", "…": "...", "√": "sqrt", "°": " deg"}
    | {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "≤": "<=", "≥": ">=", "≈": "~"}
    | {"≠": "!=", "→": "->", "±": "+-", "Σ": "sum", "∑": "sum", "∞": "infinity", "⊙": "*"}
    | {"²": "^2", "³": "^3", "¹": "^1", "ⁿ": "^n", "⁻": "^-", "ᵀ": "^T", "ᵢ": "_i", "ⱼ": "_j"}
    | {"γ": "gamma", "β": "beta", "ε": "eps", "σ": "sigma", "μ": "mu", "λ": "lambda", "α": "alpha"}
    | {"ρ": "rho", "τ": "tau", "δ": "delta", "Δ": "delta", "∂": "d", "‖": "||"}
    | {"✓": "[ok]", "✗": "[x]", "█": "#", "■": "#", "░": ".", "□": "."}
)


def cleaned(text: str) -> str:
    """Return text without what would move the cursor, change colours or reverse the line.

    Example:
        >>> cleaned("a\\x1b[2Jb\\x1b]0;title\\x07c\\u202ed\\te")
        'abcd\\te'
    """
    return _HARMFUL.sub("", _ESCAPES.sub("", text))


def to_ascii(text: str) -> str:
    """Return text in ASCII, with mathematics that can still be read.

    Example:
        >>> to_ascii("γ · x̂ + β, n − 1 ≤ 3 ☃")
        'gamma * x + beta, n - 1 <= 3 ?'
    """
    parts = unicodedata.normalize("NFKD", text.translate(_ASCII))
    letters = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return letters.translate(_ASCII).encode("ascii", "replace").decode()
