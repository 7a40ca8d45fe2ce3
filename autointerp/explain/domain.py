"""What an explainer that asks a language model is told of the corpus: a paragraph, by its *domain*.

One prompt for any corpus makes labels that tell the corpus and not the feature: "snippets of code" in a corpus of code.
So a paragraph is put behind the fixed part of the prompt, where a provider caches it like the rest. Of `general` there
is none, and the prompt is as it stands in its file.

`auto` takes the domain from a sample of the corpus (`corpus.nature`):

1. `chat` where the corpus was read as conversations, or at least half of the texts show whose turn it is.
2. `code` where at least a quarter are code: comments and documentation within code are prose, and count as such.
3. `multilingual` where of the others at least a fifth are in other languages than the most frequent one.
4. `general` where nothing of this holds, or more than one of it: a paragraph on code would mislead in a mixture.

A file of one's own is named instead, with one paragraph of plain text.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from autointerp.corpus.nature import Nature
from autointerp.errors import PipelineError, PromptError
from autointerp.llm.prompts import load_prompt

AUTO, GENERAL = "auto", "general"
DOMAINS = (AUTO, GENERAL, "code", "chat", "multilingual")
_LEAST_CHAT, _LEAST_CODE, _LEAST_OTHER_LANGUAGES = 0.5, 0.25, 0.2
_OWN_FILE = ".txt"
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain, and why it was taken.

    Attributes:
        name: One of ours.
        reason: In words, with the counts that it stands on.
    """

    name: str
    reason: str


def read_paragraph(domain: str) -> str:
    """The paragraph of a domain, one of ours or a user's file; empty where there is none to say.

    Raises:
        PipelineError: If there is no such domain.
        PromptError: If the file can't be read, or is no paragraph.
    """
    if domain in (AUTO, GENERAL):
        return ""
    if domain in DOMAINS:
        return load_prompt(f"domain_{domain}").user()
    if not domain.endswith(_OWN_FILE):
        close = difflib.get_close_matches(domain.lower(), DOMAINS, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise PipelineError(
            f"explain.domain: there is no domain {domain!r}",
            f"{meant}it is one of {', '.join(DOMAINS)}, or a text file of yours, NAME{_OWN_FILE}",
        )
    try:
        text = Path(domain).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PromptError(
            f"explain.domain: no readable text file {domain!r}", "write one paragraph into it, in UTF-8"
        ) from error
    if not text or len(text) > _LONGEST:
        raise PromptError(
            f"explain.domain: {domain!r} holds {len(text):,} characters",
            f"write one paragraph into it, of {_LONGEST:,} at most, or set explain.domain to {GENERAL!r}",
        )
    return text


def domain_of(nature: Nature, *, read_as_chats: bool) -> Domain:
    """The domain of a corpus; see the module's steps.

    Args:
        nature: Of a sample of its texts.
        read_as_chats: Whether it was read as conversations.
    """
    if read_as_chats:
        return Domain("chat", "corpus.chat is set")
    n = nature.n_texts
    if n == 0:
        return Domain(GENERAL, "the corpus holds no text to tell it by")
    told = sum(n_of for _, n_of in nature.n_of_language)
    others = nature.n_in_other_languages
    counts = f"of {n:,} texts {nature.n_code:,} are code, {nature.n_chat:,} conversations"
    if told:
        names = ", ".join(f"{name} {n_of:,}" for name, n_of in nature.n_of_language[:4])
        counts += f"; languages of others: {names}" + (", …" if len(nature.n_of_language) > 4 else "")
    holds = {
        "chat": nature.n_chat >= _LEAST_CHAT * n,
        "code": nature.n_code >= _LEAST_CODE * n,
        "multilingual": others >= max(1, _LEAST_OTHER_LANGUAGES * told) and told >= n / 2,
    }
    found = [name for name, is_so in holds.items() if is_so]
    if len(found) == 1:
        return Domain(found[0], counts)
    return Domain(GENERAL, f"a mixture, {counts}" if found else counts)
