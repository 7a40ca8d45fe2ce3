"""What is no label, though it came as one: nothing, a paragraph, a refusal, a word for nothing, the prompt repeated.

A label is lost only where it is sure to be none:

- A refusal is told by its whole form (`refusals`), not by a word in it.
- A word for nothing ("N/A", "None", "unknown", in other languages too) is told where it is all that was written, and
  where no marked token holds it: a feature that fires on `None` may well be called so. So is what stands for a label in
  instructions ("your label here").
- Tags without a word between them are told in the same way.
- What the prompt holds as well, refusals for example, may be named from it, and is passed.
"""

import re
import unicodedata

from autointerp.explain.refusals import is_refusal

_MAX_LENGTH = 200
_MIN_REPEATED_WORDS = 6
_NOTHING = frozenset(
    phrase.strip()
    for phrase in re.split(
        r"[;\n]",
        """
    n a;na;none;null;nil;nan;unknown;unclear;undetermined;not applicable;not available;not sure;no idea;no label
    no answer;no explanation;no description;i don t know;don t know;cannot determine;can not determine;can t determine
    cannot be determined;can not be determined;unable to determine;could not determine;tbd;to be determined;placeholder
    label;the label;your label;label here;your label here;insert label here;short label;a short label;short phrase
    a short phrase;one short phrase;your answer here;answer here
    inconnu;inconnue;aucun;aucune;rien;non applicable;indéterminé;desconocido;ninguno;ninguna;no aplicable
    indeterminado;unbekannt;keine;keines;nichts;nicht zutreffend;unklar;sconosciuto;nessuno;nessuna;desconhecido
    nenhum;nenhuma;não aplicável;onbekend;geen;niet van toepassing;okänd;ukendt;ukjent;nieznane;nieznany;brak;neznámé
    ismeretlen;necunoscut;неизвестно;неизвестный;нет;нет данных;невідомо;немає;bilinmiyor;yok;未知;不明;未知的;不确定
    无;無;没有;不适用;無し;なし;不明です;わかりません;該当なし;없음;알 수 없음;해당 없음;모름
    غير معروف;لا شيء;لا يوجد;không rõ;không có;tidak diketahui;tidak ada
        """.strip(),
    )
)
_MARKED = re.compile(r"(\w*)<<(.+?)>>(\w*)")
_TAGS = re.compile(r"\A(?:\s*(?:<[^<>]*>|\[/?\w+\]|```\w*))+\s*\Z")
"""Nothing but tags, as of HTML, of chat templates, or of thoughts."""


def label_problem(label: str, prompt: str) -> tuple[str, str] | None:
    """What is wrong with a label, as error type and message; None if it will do.

    Args:
        label: As it was written.
        prompt: What its writer read.
    """
    plain = " ".join(label.split())
    if not any(c.isalnum() for c in plain):
        # Of punctuation is a label only where it names, in quotes or not, what was marked in the prompt.
        signs = set(plain) - set(" \"'`")
        marked = {sign for inside in re.findall("<<(.+?)>>", prompt) for sign in inside}
        is_empty = not signs or not (signs - {","} or signs) <= marked
        return ("EmptyLabel", "the label is empty") if is_empty else None
    if len(plain) > _MAX_LENGTH:
        return "LabelTooLong", f"the label has {len(plain)} characters; at most {_MAX_LENGTH} were expected"
    # A mark may stand within a word.
    words, read = _words(plain), _words(prompt.replace("<<", "").replace(">>", ""))
    if len(plain.split()) >= _MIN_REPEATED_WORDS and words in read:
        return "PromptRepeated", "the label repeats the prompt"
    if is_refusal(words, read):
        return "Refusal", "the label is a refusal in words"
    says_nothing = words in _NOTHING or _TAGS.match(plain) is not None
    if says_nothing and f" {words} " not in f" {_words(_marked(prompt))} ":
        return "Refusal", f"the label says nothing: {plain}"
    return None


def _marked(prompt: str) -> str:
    """The marked words of a prompt, whole; all of a prompt that marks none."""
    return " ".join("".join(parts) for parts in _MARKED.findall(prompt)) or prompt


def _words(text: str) -> str:
    """The words of a text between single spaces, without punctuation, in small letters."""
    plain = unicodedata.normalize("NFC", text.casefold())
    return " ".join("".join(c if _is_of_words(c) else " " for c in plain).split())


def _is_of_words(character: str) -> bool:
    # Vowel signs of many scripts are marks, and no letters.
    return character.isalnum() or unicodedata.category(character).startswith("M")
