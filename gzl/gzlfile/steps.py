"""Splits a stage's body into steps: whole shell commands, by the token rules of the POSIX shell.

The scanner walks over the text once, and keeps a stack of what is open: quotes, expansions, compound commands. A line
end ends a step if nothing is open, no here-document is due, and the last token does not ask for more (`|`, `&&`,
`||`, a function's name). The frame on top of the stack decides how characters are read:

    commands     the top level, compound commands, `( )`, `$( )`: tokens, comments, reserved words
    lists        `a=( )`, `[[ ]]`, patterns with parentheses: words only, line ends mean nothing
    quotes       `" "`, `${ }`, `$(( ))`: only what the shell expands within them

Reserved words are such only at the beginning of a command, and after a compound command those that close or go on.
The scanner tells what is whole from what is not; whether the rest is good shell is for the shell to say, but for words
that close what nobody opened, after which the border between two steps would be a guess.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from gzl.gzlfile import shell
from gzl.gzlfile.shell import At, Document, Frame, Phase

_TRUNCATED = frozenset({"/dev/stderr", "/dev/stdout"})
_LONGEST_WORD = 16
"""Characters of a word that are kept: those of the longest reserved word and of `_TRUNCATED`, and some."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some whole lines of a body, counted from 0, `last` included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Unclosed:
    """What keeps a body from being split, at a line and a column of it, both from 0."""

    line: int
    column: int
    text: str
    hint: str


@dataclass(slots=True)
class Split:
    """A body's steps; the one thing that is not whole, if any; where output goes to a file that it would truncate."""

    spans: list[Span] = field(default_factory=list)
    unclosed: Unclosed | None = None
    truncating: list[tuple[int, int, str]] = field(default_factory=list)
    """Line and column from 0, and the file."""


class _Broken(Exception):
    """The scanner cannot go on: offset, text, hint."""

    def __init__(self, offset: int, text: str, hint: str) -> None:
        super().__init__(text)
        self.offset, self.text, self.hint = offset, text, hint


def split(lines: list[str], shell_name: str = "sh") -> Split:
    """The steps of a body, whose lines are given without their common indentation."""
    return _Scanner(lines, shell_name.rpartition("/")[2] in shell.EXTENDED).run()


class _Scanner:
    def __init__(self, lines: list[str], extended: bool) -> None:
        self.text = "\n".join(lines)
        self.extended = extended
        self.starts = [0]
        for line in lines[:-1]:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.i = 0
        self.frames = [Frame("", 0)]
        self.at = At.START
        self.word: str | None = None
        """The word being read: its first characters, a backslash for whatever is quoted; None between words."""
        self.word_start = 0
        self.first = False
        """Whether the last word was the first of its command: `( )` after it makes a function."""
        self.naming = False
        """Whether the next word is a function's name, after the word `function`."""
        self.redirecting = ""
        """The redirection whose target the next word is."""
        self.unfinished = ""
        """What the last token was, if the command must go on after it."""
        self.documents: list[Document] = []
        """Here-documents that begin at the next line end."""
        self.begun: int | None = None
        """Where the first token of the current step is."""
        self.result = Split()

    def run(self) -> Split:
        readers = {
            '"': self._in_quotes,
            "${": self._in_parameter,
            "$((": self._in_arithmetic,
            "((": self._in_arithmetic,
        }
        try:
            while self.i < len(self.text):
                readers.get(self.frames[-1].what, self._in_commands)()
            self._finish()
        except _Broken as broken:
            self.result.unclosed = Unclosed(*self._position(broken.offset), broken.text, broken.hint)
        return self.result

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _in_commands(self) -> None:
        text, i = self.text, self.i
        character = text[i]
        if match := shell.PLAIN.match(text, i):
            self._add(match[0], match.end())
        elif character == "\n":
            self._line_end()
        elif match := shell.BLANK.match(text, i):
            # A backslash at a line's end joins, it does not separate: `i\`, `f` is `if`.
            if match[0].strip("\\\n"):
                self._end_word()
            self.i = match.end()
        elif character == "#" and self.word is None:
            end = text.find("\n", i)
            self.i = len(text) if end < 0 else end
        elif character in "()":
            self._parenthesis(character)
        elif character in "<>":
            self._redirection()
        elif character in ";&|":
            self._operator()
        else:
            self._quoting(character)

    def _add(self, piece: str, end: int) -> None:
        """Take `piece` into the word; `end` is the offset after it."""
        if self.word is None:
            self.word, self.word_start = "", self.i
            self._begin_token(self.i)
        # A word is kept to its first characters: adding up a huge one would cost the square of its length.
        if len(self.word) < _LONGEST_WORD:
            self.word += piece[:_LONGEST_WORD]
        self.i = end

    def _begin_token(self, end: int) -> None:
        if self.begun is None:
            self.begun = self.i
        self.i, self.unfinished = end, ""

    def _end_word(self) -> None:
        if self.word is None:
            return
        word, self.word = self.word, None
        frame = self.frames[-1]
        if self.redirecting:
            if self.redirecting in (">", ">|") and word in _TRUNCATED:
                self.result.truncating.append((*self._position(self.word_start), word))
            self.redirecting = ""
        elif frame.phase is not Phase.COMMANDS:
            self._word_of(frame, word)
        elif self.naming:
            self.naming, self.first, self.unfinished = False, True, "a function's name"
        elif self.at is At.ARGUMENTS or not self._reserved(word):
            self.first = self.at is At.START
            self.at = At.ARGUMENTS

    def _line_end(self) -> None:
        self._end_word()
        self.i += 1
        self._read_documents()
        frame = self.frames[-1]
        if frame.phase is Phase.FOR_WORDS:
            self._commands(frame, ("do",))
        if frame.phase is Phase.COMMANDS:
            self.at, self.first = At.START, False
        if len(self.frames) == 1 and not self.unfinished:
            self._end_step()

    def _end_step(self) -> None:
        """End the step at the line end before `i`."""
        if self.begun is not None:
            self.result.spans.append(Span(self._position(self.begun)[0], self._position(self.i - 1)[0]))
            self.begun = None

    def _operator(self) -> None:
        self._end_word()
        match = shell.OPERATOR.match(self.text, self.i)
        assert match is not None
        operator, frame = match[0], self.frames[-1]
        self._begin_token(match.end())
        if operator in (";;", ";&", ";;&") and frame.what == "case":
            frame.phase, frame.fresh = Phase.CASE_PATTERN, True
        elif frame.phase in (Phase.FOR_WORDS, Phase.FOR_IN):
            self._commands(frame, ("do",))
        elif frame.phase is Phase.COMMANDS:
            self.at, self.first, self.redirecting = At.START, False, ""
            self.unfinished = f"`{operator}`" if operator in ("&&", "||", "|", "|&") else ""

    # -- reserved words and compound commands -----------------------------------------------------------------------

    def _word_of(self, frame: Frame, word: str) -> None:
        """A word where a frame does not hold commands."""
        match frame.phase:
            case Phase.FOR_NAME:
                frame.phase = Phase.FOR_IN
            case Phase.FOR_IN if word == "in":
                frame.phase = Phase.FOR_WORDS
            case Phase.FOR_IN:
                self._commands(frame, ("do",))
                self._reserved(word)
            case Phase.CASE_WORD:
                frame.phase = Phase.CASE_IN
            case Phase.CASE_IN:
                frame.phase, frame.fresh = Phase.CASE_PATTERN, True
            case Phase.CASE_PATTERN if word == "esac" and frame.fresh:
                self._close()
            case Phase.CASE_PATTERN:
                frame.fresh = False
            case Phase.LIST if word == "]]" and frame.what == "[[":
                self._close()

    def _reserved(self, word: str) -> bool:
        """Act on a reserved word; False if it is none here."""
        frame = self.frames[-1]
        if word in frame.expects and word in shell.CLOSING:
            self._close()
        elif word in frame.expects:
            self._commands(frame, shell.AFTER[word])
        elif word in shell.CLOSING or word in shell.AFTER:
            self._unexpected(word, self.word_start)
        else:
            return self.at is At.START and self._opens(word)
        return True

    def _opens(self, word: str) -> bool:
        """Act on a word at the beginning of a command that opens something; False if it does not."""
        if word in shell.COMPOUND:
            self._push(word, self.word_start, expects=shell.COMPOUND[word])
        elif word == "for" or (word == "select" and self.extended):
            self._push(word, self.word_start, Phase.FOR_NAME)
        elif word == "case":
            self._push(word, self.word_start, Phase.CASE_WORD)
        elif word == "[[" and self.extended:
            self._push(word, self.word_start, Phase.LIST)
        elif word == "function" and self.extended:
            self.naming = True
        else:
            return word == "!" or (word in ("time", "coproc") and self.extended)
        return True

    def _push(self, what: str, start: int, phase: Phase = Phase.COMMANDS, expects: tuple[str, ...] = ()) -> None:
        self.frames.append(Frame(what, start, phase, expects))
        self.at, self.first = At.START, False

    def _commands(self, frame: Frame, expects: tuple[str, ...]) -> None:
        """From here on the frame holds commands, until one of `expects`."""
        frame.phase, frame.expects = Phase.COMMANDS, expects
        self.at, self.first = At.START, False

    def _close(self) -> None:
        """Close a compound command."""
        self.frames.pop()
        self.at, self.first = At.CLOSED, False

    # -- parentheses ------------------------------------------------------------------------------------------------

    def _parenthesis(self, character: str) -> None:
        if character == ")":
            self._end_word()
            self._close_parenthesis()
            return
        if self.word is not None and self._ends_before_parenthesis(self.word):
            self._end_word()
        frame = self.frames[-1]
        if self.word is None and frame.phase is Phase.CASE_PATTERN:
            frame.fresh = False
            self._begin_token(self.i + 1)
        elif match := self._function():
            self._end_word()
            self._begin_token(match.end())
            self.at, self.first, self.unfinished = At.START, False, "a function's name"
        elif self.word is not None or frame.phase is not Phase.COMMANDS:
            self._open("a list (", 1)
            self.frames[-1].phase = Phase.LIST
        else:
            what = "((" if self.extended and self.text.startswith("((", self.i) else "("
            self._push(what, self.i)
            self._begin_token(self.i + len(what))

    def _ends_before_parenthesis(self, word: str) -> bool:
        """Whether the word is a reserved one, which a parenthesis may follow at once: `if(true)`, `{(true)`."""
        phase = self.frames[-1].phase
        if phase is Phase.COMMANDS and self.at is not At.ARGUMENTS:
            return word in shell.COMPOUND or word in shell.AFTER or word == "!"
        return phase is Phase.CASE_IN

    def _function(self) -> re.Match[str] | None:
        """The `( )` here, if what is before it is the name of a function."""
        first = self.at is At.START if self.word is not None else self.first
        if not first or self.redirecting or self.frames[-1].phase is not Phase.COMMANDS:
            return None
        return shell.EMPTY_PARENTHESES.match(self.text, self.i)

    def _close_parenthesis(self) -> None:
        frame, start = self.frames[-1], self.i
        self._begin_token(self.i + 1)
        if frame.phase is Phase.CASE_PATTERN:
            self._commands(frame, ("esac",))
        elif frame.what == "(":
            self._close()
        elif frame.what in ("$(", "a list ("):
            self._close_expansion()
        else:
            self._unexpected(")", start)

    # -- redirections and here-documents ----------------------------------------------------------------------------

    def _redirection(self) -> None:
        if self.word is None or not self.word.isdecimal():  # `2>`: the number is no word
            self._end_word()
        self.word = None
        if self.text.startswith("(", self.i + 1):
            self._open("$(", 2)  # process substitution: a word that holds commands, as `$( )` is
            return
        match = shell.REDIRECTION.match(self.text, self.i)
        assert match is not None
        start = self.i
        self._begin_token(match.end())
        if self.frames[-1].phase is Phase.LIST:
            return
        if self.frames[-1].phase is Phase.COMMANDS:
            self.at, self.first = At.ARGUMENTS, False
        if match[0] in ("<<", "<<-"):
            self._document(match[0] == "<<-", start)
        else:
            self.redirecting = match[0]

    def _document(self, tabs: bool, start: int) -> None:
        blank = shell.BLANK.match(self.text, self.i)
        match = shell.DELIMITER.match(self.text, blank.end() if blank else self.i)
        if match is None:
            return
        quoted = any(c in match[0] for c in "'\"\\")
        delimiter = re.sub(r"""\\(.)|['"]""", r"\1", match[0]) if quoted else match[0]
        self.documents.append(Document(delimiter, quoted, tabs, start))
        self.i = match.end()

    def _read_documents(self) -> None:
        """Go past the here-documents that begin in this line."""
        for document in self.documents:
            line = ""
            while True:
                if self.i >= len(self.text):
                    hint = f"end it with a line that is only `{document.delimiter}`, at the body's least indentation"
                    raise _Broken(document.start, "this here-document has no end", hint)
                piece = self._next_line()
                piece = piece.lstrip("\t") if document.tabs and not line else piece
                # In an unquoted one a backslash joins the next line to this one.
                joined = not document.quoted and (len(piece) - len(piece.rstrip("\\"))) % 2 == 1
                line = (line + (piece[:-1] if joined else piece))[: len(document.delimiter) + 1]
                if not joined and line == document.delimiter:
                    break
                line = line if joined else ""
        self.documents.clear()

    def _next_line(self) -> str:
        end = self.text.find("\n", self.i)
        end = end if end >= 0 else len(self.text)
        line, self.i = self.text[self.i : end], end + 1
        return line

    # -- quotes and expansions --------------------------------------------------------------------------------------

    def _quoting(self, character: str) -> None:
        """A character that quotes or expands; in commands also any other that is special nowhere."""
        text, i = self.text, self.i
        if character == "\\":
            if i + 1 == len(text):
                raise _Broken(i, "the body ends in a backslash", "remove it, or go on in another line")
            self._add("\\", i + 2)
        elif character == "'":
            self._add("\\", self._after(re.compile("[^']*'"), i + 1, i))
        elif character == '"':
            self._open('"', 1)
        elif character == "`":
            self._add("\\", self._after(shell.BACKQUOTED, i + 1, i))
        elif what := next((what for what in ("$((", "$(", "${") if text.startswith(what, i)), None):
            self._open(what, len(what))
        elif text.startswith("$'", i) and self.extended and self.frames[-1].what not in shell.QUOTING:
            self._add("\\", self._after(shell.ANSI, i + 2, i + 1))
        elif character == "$" and text[i + 1 : i + 2] in ("#", "$"):
            self._add("\\", i + 2)
        else:
            self._add("\\" if character == "$" else character, i + 1)

    def _after(self, ending: re.Pattern[str], start: int, opened: int) -> int:
        match = ending.match(self.text, start)
        if match is None:
            raise _Broken(opened, "this quote is not closed", f"close it with {self.text[opened]}")
        return match.end()

    def _open(self, what: str, length: int) -> None:
        """Open a quote or an expansion within a word, with the next `length` characters."""
        start, around = self.i, self.frames[-1]
        quoted = around.what == '"' or (around.what == "${" and around.quoted)
        self._add("\\", start + length)
        self.frames.append(
            Frame(
                what, start, word=self.word, at=self.at, redirecting=self.redirecting, first=self.first, quoted=quoted
            )
        )
        if what not in shell.QUOTING:
            # Those announced around a substitution begin at the end of a line that ends outside of it.
            self.frames[-1].documents, self.documents = self.documents, []
            self.word, self.at, self.redirecting = None, At.START, ""

    def _close_expansion(self) -> None:
        """Close what `_open` opened, and go on with the word around it."""
        frame = self.frames.pop()
        self.word, self.at, self.redirecting, self.first = frame.word, frame.at, frame.redirecting, frame.first
        if frame.what not in shell.QUOTING:
            self.documents = frame.documents  # one announced in a substitution ends with it, in dash and in bash

    def _in_quotes(self) -> None:
        match self._next(shell.IN_QUOTES):
            case '"':
                self.i += 1
                self._close_expansion()
            case character if character:
                self._quoting(character)

    def _in_parameter(self) -> None:
        frame = self.frames[-1]
        match self._next(shell.IN_PARAMETER):
            case "}":
                self.i += 1
                self._close_expansion()
            case "'" if frame.quoted and not self._apostrophes_quote(frame):
                self.i += 1
            case character if character:
                self._quoting(character)

    def _apostrophes_quote(self, frame: Frame) -> bool:
        """Whether they do in a `${ }` that stands in double quotes: in patterns, and everywhere for bash."""
        return self.extended or shell.TRIMMING.match(self.text, frame.start) is not None

    def _in_arithmetic(self) -> None:
        frame = self.frames[-1]
        match self._next(shell.IN_ARITHMETIC):
            case "(":
                frame.depth += 1
                self.i += 1
            case ")" if frame.depth:
                frame.depth -= 1
                self.i += 1
            case ")":
                self._close_arithmetic(frame)
            case '"' if not self.extended:
                self.i += 1  # to dash a character like any other
            case character if character:
                self._quoting(character)

    def _close_arithmetic(self, frame: Frame) -> None:
        both = self.text.startswith("))", self.i)
        self.i += 2 if both else 1
        if not both and not self.extended:
            return  # dash goes on to the next `))`; to bash it was a subshell in a substitution: `$((a); b)`
        if frame.what == "((":
            self.word = None
            self._close()
        else:
            self._close_expansion()

    def _next(self, special: re.Pattern[str]) -> str:
        """Go to the next special character, and give it; at the end of the text an empty string."""
        match = special.search(self.text, self.i)
        self.i = match.start() if match else len(self.text)
        return match[0] if match else ""

    # -- the end, and mistakes --------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The body ends: everything must be closed."""
        self._end_word()
        if len(self.frames) > 1:
            frame = self.frames[-1]
            raise _Broken(frame.start, f"{frame.title} is not closed", frame.hint)
        self._read_documents()
        if self.unfinished:
            raise _Broken(len(self.text), f"the body ends after {self.unfinished}", "a command must follow")
        self.i = len(self.text) + 1
        self._end_step()

    def _unexpected(self, word: str, offset: int) -> None:
        frame = self.frames[-1]
        if len(self.frames) == 1:
            raise _Broken(offset, f"`{word}` closes nothing", "remove it, or quote it if it is a word")
        distance = self._position(offset)[0] - self._position(frame.start)[0]
        where = f"{distance} line{'s' if distance > 1 else ''} above" if distance else "in this line"
        raise _Broken(offset, f"`{word}` before the end of {frame.title}, which was opened {where}", frame.hint)

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset) - 1
        return line, offset - self.starts[line]
