"""What is no label, though it came as one: nothing, a paragraph, a refusal in words, the prompt repeated.

A label is lost only where it is sure to be none. So a refusal is told by its whole form, in English: its writer says
"I", and that it can't do what was asked. Where the prompt holds the same words it is none: it may name what it was
shown, for example of a feature that fires on refusals in chats.
"""

import re

_MAX_LENGTH = 200
_MIN_REPEATED_WORDS = 6
_REFUSAL = re.compile(
    r"(?:(?:i am |i m )?sorry (?:but )?|unfortunately |as an ai(?: \w+){0,3} )*"
    r"i (?:can ?not|can t|could not|couldn t|am unable to|m unable to|am not able to|m not able to|won t|will not) "
    r"(?:help|assist|answer|comply|provide|determine|identify|label|explain|describe|fulfill|fulfil|do (?:that|this))\b"
)


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
    words, read = _words(plain), _words(prompt)
    if len(plain.split()) >= _MIN_REPEATED_WORDS and words in read:
        return "PromptRepeated", "the label repeats the prompt"
    if (refusal := _REFUSAL.match(words)) and refusal.group() not in read:
        return "Refusal", "the label is a refusal in words"
    return None


def _words(text: str) -> str:
    """The words of a text between single spaces, without marks and punctuation, in lower case."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
