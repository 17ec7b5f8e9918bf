"""A matplotlib figure as a piece of SVG for a page with a strict policy: no style, no metadata, no colour of its own.

Promises: the same figure gives the same text; every colour is one of `Ink`, drawn as a class (`fill-ink`, `stroke-rule`), so that the
page's style sheet gives it and it follows light and dark; no style attribute, no script, no link to anywhere but the piece itself.
Does not promise to carry over what charts here don't use: images, gradients, text paths, clipping.
"""

from __future__ import annotations

import io
from enum import StrEnum
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DROPPED = {"metadata", "style", "clipPath"}
_KEPT = {"opacity", "fill-opacity", "stroke-width", "stroke-linecap", "stroke-dasharray", "text-anchor"}


class Ink(StrEnum):
    """The colours that charts are drawn in, by their role in the page."""

    TEXT = "text"
    RULE = "rule"
    PASSED = "passed"
    UNPROTECTED = "unprotected"
    WRONG = "wrong"
    CRASHED = "crashed"
    LIMIT = "limit"
    MASKED = "masked"
    PENDING = "pending"
    OTHER = "other"

    @property
    def stand_in(self) -> str:
        """The colour that matplotlib is given in its place: nearly black, so that none is left out as a default."""
        return f"#0000{list(Ink).index(self) + 1:02x}"


_ROLES = {ink.stand_in: ink.value for ink in Ink}


def render_svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure as an `<svg>` element, which says what it shows in `label`. `name` must be unique in the page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "path.simplify": False}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name)
    root.attrib = {"class": "chart", "role": "img", "aria-label": label, "viewBox": root.attrib["viewBox"]}
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, name: str) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = _restyle({key.rpartition("}")[2]: value for key, value in element.attrib.items()}, name)
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED:
            element.remove(child)
        else:
            _clean(child, name)
            child.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None


def _restyle(attributes: dict[str, str], name: str) -> dict[str, str]:
    style = dict(part.strip().split(": ", 1) for part in attributes.pop("style", "").split(";") if ": " in part)
    attributes.pop("clip-path", None)
    identity = attributes.pop("id", "")
    kept = {key: " ".join(value.split()) for key, value in attributes.items()}
    if kept.get("href", "").startswith("#"):
        kept["href"] = f"#{name}-{kept['href'][1:]}"
    if identity.startswith("m") and "_" not in identity and "." not in identity:
        kept["id"] = f"{name}-{identity}"
    kept |= {key: value for key, value in style.items() if key in _KEPT}
    classes = [f"{part}-{_ROLES[style[part]]}" for part in ("fill", "stroke") if style.get(part) in _ROLES]
    if style.get("fill") == "none":
        kept["fill"] = "none"
    if classes:
        kept["class"] = " ".join(classes)
    return kept
