"""What a corpus is made of: code, conversations, text in several languages; told by counting, from a sample of it.

1. A text is a *chat* where lines begin with the name of a side (`User:`), or a turn is opened by a template's marker.
2. Otherwise it is *code* where many of its characters are marks that prose has few of, and few of its words are
   function words. So a paragraph about code is prose, and a table of numbers is neither.
3. Otherwise its language is that of the writing system that most of its letters are of; of Latin letters, that of which
   it holds most of the commonest words. A text in which neither tells anything has no language.

No model is asked, and nothing is drawn: the same texts have the same nature.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from autointerp.words import FUNCTION_WORDS, script_of, words_of

_SIDES = r"(?:user|human|assistant|system|bot|ai|model|prompter|q|a)"
_SIDE = re.compile(rf"^\s*(?:#+\s*|\*\*)?{_SIDES}\s*(?:\*\*)?\s*:", re.IGNORECASE | re.MULTILINE)
# What chat templates write in front of a turn; spaces within, as a vocabulary of words may show them.
_TURN = re.compile(
    r"<\s*\|\s*(?:im_start|start_header_id|user|assistant|system|prompter)\s*\|\s*>"
    r"|\[\s*/?\s*inst\s*\]|<\s*start_of_turn\s*>",
    re.IGNORECASE,
)
_LEAST_SIDES = 2
_CODE_MARK = re.compile(r"[{}()\[\]<>=;_#*/\\|&+$@`~^]|::|->|\"\"\"")
_LEAST_CODE_MARKS, _MOST_FUNCTION_WORDS = 0.06, 0.22
_LEAST_LETTERS = 20
_LEAST_COMMON_WORDS = 0.12
_COMMON_WORDS = {
    "English": FUNCTION_WORDS | {"he", "she", "his", "her", "i", "my", "me", "said"},
    "German": "der die das und ist nicht ein eine zu den von mit sich auf für im dem auch es an aus er hat dass sie",
    "French": "le la les de des et est un une du en que qui dans pour pas sur au il elle ne se ce avec par plus sont",
    "Spanish": "el la los las de y en que un una es por con no se su para al lo como más del pero fue son",
    "Italian": "il la di e che un una in non per con è del della le si da sono i dei al come più gli nel anche",
    "Portuguese": "o a os as de e que em um uma não para com do da no na se por mais é foi ao dos como",
    "Dutch": "de het een en van in is dat op te zijn met voor niet aan er ook door maar om als bij naar wordt werd",
    "Polish": "w i na z się nie do że to jest o jak po co dla od za przez ale są był tym tego jego",
}
_COMMON = {name: frozenset(w.split() if isinstance(w, str) else w) for name, w in _COMMON_WORDS.items()}
# Kana stand among characters.
_WRITTEN_WITH_OTHERS = {"Hiragana": "CJK", "Katakana": "CJK"}


@dataclass(frozen=True, slots=True)
class Nature:
    """Of a sample of texts, how many are what.

    Attributes:
        n_texts: Texts that hold a word.
        n_code: Those that are code.
        n_chat: Those that are a conversation.
        n_of_language: Of the others those of which the language is told, by language or writing system, most first.
    """

    n_texts: int
    n_code: int
    n_chat: int
    n_of_language: tuple[tuple[str, int], ...]

    @property
    def n_in_other_languages(self) -> int:
        """Texts in another language than the most frequent one."""
        return sum(n for _, n in self.n_of_language[1:])


def nature_of(texts: Iterable[str]) -> Nature:
    """Count what texts are; see the module's steps."""
    n_texts = n_code = n_chat = 0
    languages: Counter[str] = Counter()
    for text in texts:
        if not words_of(text):
            continue
        n_texts += 1
        if is_chat(text):
            n_chat += 1
        elif is_code(text):
            n_code += 1
        elif (language := language_of(text)) is not None:
            languages[language] += 1
    ranked = sorted(languages.items(), key=lambda of: (-of[1], of[0]))
    return Nature(n_texts, n_code, n_chat, tuple(ranked))


def is_chat(text: str) -> bool:
    """Whether a text shows whose turn it is."""
    return _TURN.search(text) is not None or len(_SIDE.findall(text)) >= _LEAST_SIDES


def is_code(text: str) -> bool:
    """Whether a text is code rather than prose, about code or not."""
    n_characters = sum(not c.isspace() for c in text)
    words = [word for word in words_of(text) if word[0].isalpha()]
    n_function = sum(word in FUNCTION_WORDS for word in words)
    if not n_characters or len(words) == 0:
        return False
    marks = len(_CODE_MARK.findall(text)) / n_characters
    return marks >= _LEAST_CODE_MARKS and n_function <= _MOST_FUNCTION_WORDS * len(words)


def language_of(text: str) -> str | None:
    """The language of a text in Latin letters, else its writing system; None where neither is told."""
    scripts = Counter(_WRITTEN_WITH_OTHERS.get(script, script) for c in text if (script := script_of(c)) is not None)
    if scripts.total() < _LEAST_LETTERS:
        return None
    script = max(scripts, key=lambda name: (scripts[name], name))
    if script != "Latin":
        return script
    words = [word for word in words_of(text) if word[0].isalpha()]
    shares = {name: sum(word in common for word in words) / len(words) for name, common in _COMMON.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _LEAST_COMMON_WORDS else None
