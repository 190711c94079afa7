"""Data that people will see in a line of text: names, messages and reasons come from anywhere and must stay data."""


def escaped(text: str, limit: int | None = None) -> str:
    """`text` in one line that a terminal only prints: everything else (control characters, line ends, bidirectional
    marks, bytes that were no UTF-8) as Python's backslash escapes; cut to `limit` characters where that is given.

    ASCII control characters can move the cursor and rewrite what was printed before; Unicode's bidirectional marks
    can reorder it (https://trojansource.codes).
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def human_size(size: int) -> str:
    """A number of bytes for people, in binary units (IEC 80000-13)."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
