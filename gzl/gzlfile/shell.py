"""The POSIX shell's tokens and reserved words (XCU 2.2 to 2.10) as tables, and what can be open while one reads it."""

import re
from dataclasses import dataclass, field
from enum import Enum, auto

EXTENDED = frozenset({"bash", "ksh", "zsh", "ash", "busybox"})
"""Shells that know `$'…'`, `[[ ]]`, `(( ))`, `function` and `select`; to the others these are ordinary words."""

PLAIN = re.compile(r"""[^ \t\n\\'"`$;&|<>()#]+""")
BLANK = re.compile(r"(?:[ \t]|\\\n)+")
ANSI = re.compile(r"(?:[^\\']|\\.)*+'", re.DOTALL)
BACKQUOTED = re.compile(r"(?:[^\\`]|\\.)*+`", re.DOTALL)
IN_QUOTES = re.compile(r'["\\$`]')
IN_PARAMETER = re.compile(r"""["'\\$`}]""")
IN_ARITHMETIC = re.compile(r'["\\$`()]')
TRIMMING = re.compile(r"\$\{[\w@*#?$!-]+[#%]")
EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")
REDIRECTION = re.compile(r"<<<|<<-?|<&|<>|>>|>&|>\||[<>]")
OPERATOR = re.compile(r";;&|;;|;&|&&|\|\||\|&|[;&|]")
DELIMITER = re.compile(r"""(?:[^\s;&|<>()'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)

COMPOUND = {"if": ("then",), "while": ("do",), "until": ("do",), "{": ("}",)}
"""Reserved words that open a compound command → those that may come next."""
AFTER = {"then": ("elif", "else", "fi"), "elif": ("then",), "else": ("fi",), "do": ("done",)}
"""Reserved words that go on with one → those that may come next."""
CLOSING = frozenset({"fi", "done", "esac", "}"})
QUOTING = frozenset({'"', "${", "$((", "(("})
"""Frames in which only quotes and expansions are told from the rest."""

_TITLES = {'"': "the quote", "a list (": "the parenthesis", "(": "the parenthesis"}
_ENDS = {
    '"': '"',
    "${": "}",
    "$(": ")",
    "$((": "))",
    "((": "))",
    "(": ")",
    "a list (": ")",
    "[[": "]]",
    "{": "}",
    "if": "fi",
    "case": "esac",
}


class At(Enum):
    """Which reserved words are such at this point of a command."""

    START = auto()
    """The beginning of a command: all of them."""
    CLOSED = auto()
    """After a compound command: those that close or go on with the one around it."""
    ARGUMENTS = auto()
    """Within a simple command, and after any redirection: none."""


class Phase(Enum):
    """What the words of a frame are."""

    COMMANDS = auto()
    FOR_NAME = auto()
    FOR_IN = auto()
    FOR_WORDS = auto()
    CASE_WORD = auto()
    CASE_IN = auto()
    CASE_PATTERN = auto()
    LIST = auto()


@dataclass(frozen=True, slots=True)
class Document:
    """A here-document that was announced at the offset `start`."""

    delimiter: str
    quoted: bool
    tabs: bool
    """Whether tabs at the beginning of its lines are taken away: `<<-`."""
    start: int


@dataclass(slots=True)
class Frame:
    """Something that was opened at the offset `start` and is not closed yet."""

    what: str
    start: int
    phase: Phase = Phase.COMMANDS
    expects: tuple[str, ...] = ()
    """Reserved words that go on with it or close it."""
    word: str | None = None
    """For quotes and expansions: the word around it; this and the next four are taken up again when it is closed."""
    at: At = At.START
    redirecting: str = ""
    first: bool = False
    documents: list[Document] = field(default_factory=list)
    quoted: bool = False
    """For `${`: whether it stands in double quotes, where apostrophes are ordinary."""
    depth: int = 0
    """For arithmetic: its own parentheses that are open."""
    fresh: bool = True
    """For a case pattern: whether nothing of it was read, so that `esac` is the end."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return _TITLES.get(self.what, f"`{self.what}`")

    @property
    def hint(self) -> str:
        """How to close it."""
        end = _ENDS.get(self.what, "done")
        middle = self.expects[0] if self.expects and self.expects[0] in ("then", "do") else ""
        hint = f"close it with `{end}`" + (f", after its `{middle}`" if middle else "")
        return f"{hint}; a subshell in a substitution is written `$( (`" if self.what == "$((" else hint
