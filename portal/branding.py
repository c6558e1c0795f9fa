"""The company's colour: whether it can be read, and what it becomes in the dark (WCAG 2.2, relative luminance)."""

PAGE, PAGE_DARK = "#f4f4f7", "#1c1c21"
"""The page's background in light; in dark the lighter of the two, the cards'."""
READABLE = 4.5
"""Least contrast of text with what is behind it (WCAG 2.2, 1.4.3 AA)."""
WHITE, INK = "#ffffff", "#0b1220"


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``, 0 to 1."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mix(colour: str, other: str, share: float) -> str:
    """``colour`` with ``share`` (0 to 1) of ``other`` in it."""
    pairs = ((int(colour[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def worst_contrast(accent: str) -> float:
    """The least contrast of ``accent`` as text, on the page and on its own tint."""
    return min(contrast(accent, PAGE), contrast(accent, _tint(accent, WHITE)))


def in_the_dark(accent: str) -> str:
    """``accent``, lightened until it can be read on dark cards and on its own tint."""
    for percent in range(0, 100, 5):
        lighter = mix(accent, WHITE, percent / 100)
        if min(contrast(lighter, PAGE_DARK), contrast(lighter, _tint(lighter, PAGE_DARK))) >= READABLE:
            return lighter
    return WHITE


def _tint(accent: str, page: str) -> str:
    return mix(accent, page, 0.9)


def stylesheet(accent: str) -> str:
    """The colours that follow from ``accent``, for both schemes; they replace those of ``portal.css``."""
    dark = in_the_dark(accent)
    light_rules = f"--accent:{accent};--on-accent:{WHITE};--tint:{_tint(accent, WHITE)}"
    dark_rules = f"--accent:{dark};--on-accent:{INK};--tint:{_tint(dark, PAGE_DARK)}"
    return f":root{{{light_rules}}}\n@media (prefers-color-scheme:dark){{:root{{{dark_rules}}}}}\n"
