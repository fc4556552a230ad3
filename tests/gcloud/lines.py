"""The `gcloud` command lines of documents, build files and scripts, held against a command tree."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Flags of every command (`gcloud help`).
GLOBAL = frozenset(
    {
        *("--account", "--billing-project", "--configuration", "--filter", "--flatten", "--format"),
        *("--help", "--impersonate-service-account", "--limit", "--page-size", "--project"),
        *("--quiet", "--sort-by", "--verbosity"),
    }
)
_COMMAND = re.compile(r"(?:^|[\s(`|&;])(gcloud\s(?:[^\n\\`]|\\\n)*)")


@dataclass(frozen=True)
class Line:
    """A command line and where it stands."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        """Without `gcloud`, redirections and what comes after a pipe; expansions as one word."""
        text = re.sub(r"\$\((?:[^()]|\([^()]*\))*\)|\$\{[^}]*\}", "EXPANDED", self.text)
        lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                break
            words.append(word)
        return words[1:]


def written() -> list[Line]:
    """All of them. In Markdown only what stands in a block of code or between backticks."""
    found = []
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for file in files:
        text = file.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        inline = re.findall(r"(?<!`)`(gcloud [^`\n]+)`", text)
        found += [line for block in (*blocks, *inline) for line in _in(file, block)]
    for file in [*sorted(ROOT.glob("cloudbuild*.yaml")), *sorted((ROOT / "infra").glob("*.sh"))]:
        found += _in(file, file.read_text(encoding="utf-8"))
    return found


def _in(file: Path, text: str) -> Iterator[Line]:
    code = re.sub(r"(?m)^\s*#.*$", "", text)
    for match in _COMMAND.finditer(code):
        yield Line(file.relative_to(ROOT).as_posix(), match[1].strip())


def problems(line: Line, commands: Mapping[str, Collection[str]]) -> list[str]:
    """What is wrong with a line, by a record of commands and their flags."""
    words = line.words
    plain = [word for word in words if not word.startswith("-")]
    names = [" ".join(plain[:length]) for length in range(len(plain), 0, -1)]
    known = next((name for name in names if name in commands), None)
    if known is None:
        where = "or not of a group that tests/gcloud/record.py records"
        return [f"{line.place}: no such command, {where}: gcloud {' '.join(words)}"]
    flags = commands[known]
    found = []
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in GLOBAL:
            positive = flag.replace("--no-", "--", 1)
            if flag not in flags and positive not in flags:
                found.append(f"{line.place}: gcloud {known} has no flag {flag}")
    return found
