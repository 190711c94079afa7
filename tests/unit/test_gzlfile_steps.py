"""Steps are whole shell commands: what the scanner takes as whole, `sh -n` does too, and the other way round."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gzl.gzlfile.steps import split

ENDS_TOO_SOON = ("end of file", "unterminated", "unexpected eof", "eof in", "missing '}'", "missing '))'")

# Each is whole: any line less at its end, and the shell waits for more (or it is one line).
ONE_STEP = [
    "echo a; echo b",
    "if true\nthen\n  echo a\nelif b; then c\nelse\n  echo d\nfi",
    "for x in a b\ndo\n  echo $x\ndone",
    "for x\nin a b; do echo; done",
    "for x do echo; done",
    "for x; do\necho; done",
    "while read x; do\n  echo $x\ndone <input | sort |\n  uniq",
    "until false\ndo :\ndone 2>&1",
    "case $x in\n  a|b) echo ;;\n  (c) echo\n  ;;\n  *) echo 'x)' ;;\nesac",
    "case x\nin\nesac",
    "case x in esac",
    "case if in (esac) a;; if) fi=1;; esac",
    "f() {\n  echo a\n}",
    "f ( )\n\n# the body\n(\n  echo a\n)",
    "{ echo a\n}",
    "{(echo a); }",
    "if(true)then(false)else :; fi",
    "if { true; } then :\nfi",
    "! {\na\n}",
    "a &&\n\n  b ||\n# why\n  c",
    "a |\nb",
    "echo 'a\nb'",
    'echo "a\n$(echo "b\n)")\n`echo c`"',
    "echo a \\\n  b",
    "i\\\nf true; then\n:; fi",
    "cat <<EOF\na 'b\nEOF",
    "cat <<-'E O' <<\\B\n\tx $(\n\tE O\ny\nB",
    "cat <<A; cat <<B && {\na\nA\nb\nB\ntrue\n}",
    "cat <<A\nx\\\nA\nA",
    "cat <<A\n\\\nA",
    "cat <<-AB\n\tA\\\nB",
    "x=$(cat <<E\n)\nE\n)",
    "echo $(case x in a) b;; esac)",
    "echo $(( (1 + 2) * 3 ))\\\n",
    "echo ${x:-\na}",
    'echo "${x:-\'}"',
    "echo \"${x#'}'}\"",
    "echo ${x:-${y:-`z`}} $# ${#x} a#b $$",
    "echo done fi } if { case",
    ">x if",
    "echo `echo \\`echo a\\``",
    'echo `# "`',
    "echo a # it's (a comment",
    "FOO=1 BAR='\n' cmd",
    "(\n(a)\n)",
    "echo a 2>x >&2 <>y >|z",
    "echo a; if b; then\nc; fi; while d; do\ne; done",
]
BASH = [
    "a=(1\n# one\n2 $(echo ')'))",
    "[[ a == b &&\n ( x =~ ^(y|z)$ ) ]]",
    "(( a = (1 + 2) ))",
    "for ((i = 0; i < 3; i++)); do\necho\ndone",
    "echo $'it\\'s\n' \"$'\"",
    "function f {\necho\n}",
    "function f() (\necho\n)",
    "select x in a b; do\nbreak; done",
    "diff <(echo a\n) >(cat\n)",
    "cat <<<'a\nb'",
    "time {\na\n}",
    "case a in @(a|b)) c ;& d) e ;;& esac",
    "a |&\nb &>c",
    "declare -a x=(a\nb)",
]
BROKEN = [
    ("echo 'a", "quote"),
    ('echo "a\nb', "quote"),
    ("echo `a", "quote"),
    ("if true; then\n  a", "`if`"),
    ("while a; do b", "`while`"),
    ("for x in a b do", "`for`"),
    ("case x in a) b", "`case`"),
    ("{ a", "`{`"),
    ("(a", "parenthesis"),
    ("echo $(a", "`$(`"),
    ("echo ${a", "`${`"),
    ("echo $((1 + 2", "`$((`"),
    ("cat <<EOF\na", "here-document"),
    ("cat <<EOF", "here-document"),
    ("a &&", "after `&&`"),
    ("a |\n\n", "after `|`"),
    ("f()", "after a function's name"),
    ("a \\", "backslash"),
    ("fi", "closes nothing"),
    ("a; }", "closes nothing"),
    ("a)", "closes nothing"),
    ("while a; do b; fi", "before the end of `while`"),
    ("x=$(if a)", "before the end of `if`"),
]


def shell_says(text: str, *shell: str) -> str:
    """`whole`, `more` (the shell wants more) or `wrong`."""
    done = subprocess.run([*(shell or ["sh"]), "-n"], input=text + "\n", text=True, capture_output=True, check=False)
    if done.returncode == 0:
        return "whole"
    return "more" if any(sign in done.stderr.lower() for sign in ENDS_TOO_SOON) else "wrong"


@pytest.mark.parametrize("text", ONE_STEP)
def test_a_whole_command_is_one_step(text: str) -> None:
    lines = text.split("\n")
    found = split(["", "true", *lines, "true # after", ""])
    assert found.unclosed is None
    assert [(s.first, s.last) for s in found.spans] == [(1, 1), (2, len(lines) + 1), (len(lines) + 2, len(lines) + 2)]
    assert shell_says(text) == "whole"


@pytest.mark.parametrize("text", BASH)
def test_a_whole_command_of_bash_is_one_step(text: str) -> None:
    found = split([*text.split("\n"), "true"], "/bin/bash")
    assert found.unclosed is None
    assert len(found.spans) == 2
    assert shell_says(text, "bash", "-O", "extglob") == "whole"


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_what_is_not_whole_is_told(text: str, said: str) -> None:
    found = split(text.split("\n"))
    assert found.unclosed is not None
    assert said in found.unclosed.text


def test_a_mistake_stands_where_it_was_opened() -> None:
    found = split(["true", "if a", "then", "  echo 'x", "fi"])
    assert found.unclosed is not None
    assert (found.unclosed.line, found.unclosed.column) == (3, 7)


def test_the_shell_decides_what_some_words_mean() -> None:
    assert split(["[[ a", "b"], "dash").unclosed is None
    assert split(["[[ a", "b"], "bash").unclosed is not None


def test_only_output_that_truncates_a_log_is_told() -> None:
    found = split(["echo a >/dev/stderr", "echo '>/dev/stderr' >>/dev/stderr", "b 2> /dev/stdout"])
    assert found.truncating == [(0, 8, "/dev/stderr"), (2, 5, "/dev/stdout")]


WORDS = r"""a b=1 if then elif else fi while until do done for x in case esac { } ( ) ! ; ;; & && || | > < 2>&1 # \
    'q' "q" ' " $ $( ${ $(( )) <<E E x() a|b) $x *) f() "$(a)" ${x} $((1)) `a`"""
PIECES = st.sampled_from(
    [
        *WORDS.split(),
        " ",
        *["\n"] * 3,
        "\\\n",
        "<<E\nE\n",
        "if a; then b; fi",
        "case x in a) b;; esac",
        "for x do z; done",
    ]
)
SCRAPS = st.lists(st.tuples(PIECES, st.sampled_from(["", " ", " ", "\n"])), max_size=12).map(
    lambda parts: "".join(piece + gap for piece, gap in parts)
)
SIMPLE = st.sampled_from(
    """a|echo 'x\ny'|echo "a $(b) ${c:-\nd}"|cat <<E\n$x 'y\nE\n|>f x=1 if|a \\\n b|! a|echo $((1 + (2)))|a # it's
    |cat <<-'E' <<F\n\tE\n\\\nF\n|`a b`|case x in (a) b;; c|d) esac ;; esac""".replace("c|d", "c").split("|")
)
SCRIPTS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["\n", "&&\n", "||", "|\n\n"]), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        st.tuples(inner, inner).map(lambda t: f"if {t[0]}\nthen {t[1]}\nelse\n# no\n{t[0]}\nfi"),
        inner.map(lambda t: f"while {t}\ndo\n  {t}\ndone >x"),
        inner.map(lambda t: f"for x\nin a 'b\n' c\ndo {t}\ndone"),
        inner.map(lambda t: f"case $x in\na|b)\n{t}\n;;\n(*) {t}\nesac"),
        inner.map(lambda t: f"{{ {t}\n}}"),
        inner.map(lambda t: f"({t}\n)"),
        inner.map(lambda t: f"f()\n{{\n{t}\n}}"),
        inner.map(lambda t: f'x="$( {t}\n)"'),
    ),
    max_leaves=6,
)
SPOILT = st.tuples(SCRIPTS, st.integers(0, 200), st.integers(1, 12)).map(lambda t: t[0][: t[1]] + t[0][t[1] + t[2] :])


@settings(max_examples=100, deadline=None)
@given(st.one_of(SCRAPS, SCRIPTS, SPOILT))
def test_scanner_and_shell_agree(text: str) -> None:
    compare(text)


def compare(text: str) -> None:
    """What is whole to the shell is whole to us; what wants more, wants more. What is wrong is left to the shell."""
    found, said = split(text.split("\n")), shell_says(text)
    if said == "whole" and found.unclosed is not None:
        # The shell ends these at the end of the file, though somebody meant to go on; a step must not.
        assert "here-document" in found.unclosed.text or "backslash" in found.unclosed.text
    if said == "more":
        assert found.unclosed is not None
    if said == "whole" and found.unclosed is None:
        lines = text.split("\n")
        for span in found.spans:
            assert shell_says("\n".join(lines[span.first : span.last + 1])) == "whole"
