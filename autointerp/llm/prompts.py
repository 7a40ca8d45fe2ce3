"""Prompt files: text under `prompts/`, one file a prompt, with variables that are checked both ways.

A file has a `[system]` part, which is fixed (a provider can cache it) and may hold no variable, and a `[user]` part
with variables in Jinja's form `{{ name }}`. A variable that is not given, or given and not used, is an error: a prompt
and the code that fills it can't drift apart. Nothing of what is filled in is read as a template again.
"""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, meta

from autointerp.assets import asset_folder
from autointerp.errors import PromptError, in_one_line

_PARTS = re.compile(r"\A(?:\[system\]\n(?P<system>.*?)\n)?\[user\]\n(?P<user>.*)\Z", re.DOTALL)
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
_CONTROL = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file.

    Attributes:
        name: The file's name, without its ending.
        system: The fixed part.
        user_template: The other part, with its variables.
        sha256: Hash of the file's text.
    """

    name: str
    system: str
    user_template: str
    sha256: str

    def uses(self, variable: str) -> bool:
        """Whether the user part has this variable."""
        return variable in _variables(self.user_template)

    def user(self, **variables: str) -> str:
        """Fill in the user part.

        Raises:
            PromptError: If a variable is missing or not used.
        """
        used = _variables(self.user_template)
        if missing := sorted(used - variables.keys()):
            raise PromptError(
                f"prompt {self.name!r} uses {', '.join(missing)}, which it is not given", "correct the prompt's file"
            )
        if unused := sorted(variables.keys() - used):
            raise PromptError(
                f"prompt {self.name!r} does not use {', '.join(unused)}",
                f"its file must contain {{{{ {unused[0]} }}}}",
            )
        return _ENVIRONMENT.from_string(self.user_template).render(variables)

    def followed_by(self, paragraph: str) -> "Prompt":
        """The prompt with a paragraph behind its fixed part; itself where that is empty."""
        if not paragraph:
            return self
        both = hashlib.sha256(f"{self.sha256}\n{paragraph}".encode()).hexdigest()
        return Prompt(self.name, f"{self.system}\n\n{paragraph}", self.user_template, both)


@cache
def load_prompt(name: str) -> Prompt:
    """Read a prompt file.

    Raises:
        PromptError: If it is missing or malformed.
    """
    path = asset_folder("prompts") / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PromptError(f"no prompt file {path}", "install the package again") from error
    return parse_prompt(name, text)


def read_prompt(name: str, owner: str, beside: Path | None) -> Prompt:
    """Read one of our prompts, or a user's from a file beside the code that fills it.

    Args:
        name: Of a prompt of ours, or of a file `NAME.txt`.
        owner: Whose prompt it is, for messages: `the explainer 'mine'`.
        beside: The file of the code; None where there is none.

    Raises:
        PromptError: If it is missing or malformed.
    """
    if not name.endswith(".txt"):
        return load_prompt(name)
    path = None if beside is None else beside.with_name(name)
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{owner} has no readable prompt file {path}", "put it beside the class's file") from error
    return parse_prompt(name, text)


def parse_prompt(name: str, text: str) -> Prompt:
    """Read a prompt from its text.

    Raises:
        PromptError: If it has no `[user]` part, is no template, or has a variable in the fixed part.
    """
    parts = _PARTS.match(text)
    if parts is None:
        raise PromptError(f"prompt {name!r} has no [user] part", "write [system], its text, [user], its text")
    system, user = (parts["system"] or "").strip(), parts["user"].strip()
    try:
        in_system, _ = (_variables(_in_its_lines(text, parts, part)) for part in ("system", "user"))
    except TemplateSyntaxError as error:
        raise PromptError(
            f"prompt {name!r} is not a template (line {error.lineno}: {in_one_line(error)})", "mend that line"
        ) from error
    if in_system:
        raise PromptError(
            f"prompt {name!r} has variables in its fixed part ({', '.join(sorted(in_system))})",
            "move them to [user], so that the fixed part can be cached",
        )
    return Prompt(name, system, user, hashlib.sha256(text.encode()).hexdigest())


def quoted(text: str) -> str:
    """Text of the corpus as a JSON string on one line: it can't end its own quotation, or begin a line.

    Control and format characters are escaped, other scripts are left readable.
    """
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(_escaped(c) if unicodedata.category(c) in _CONTROL else c for c in plain)


def numbered(texts: list[str]) -> str:
    """Texts as numbered lines `1: "…"`, the first number 1."""
    return "\n".join(f"{number}: {quoted(text)}" for number, text in enumerate(texts, start=1))


def _in_its_lines(text: str, parts: re.Match[str], part: str) -> str:
    """A part of a prompt behind as many empty lines as stand before it, so that a fault in it has the file's line."""
    return "\n" * text.count("\n", 0, max(parts.start(part), 0)) + (parts[part] or "")


def _variables(template: str) -> set[str]:
    return meta.find_undeclared_variables(_ENVIRONMENT.parse(template))


def _escaped(character: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in _utf16(character))


def _utf16(character: str) -> list[int]:
    data = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
