"""Labels made partly wrong: one that says too much, and one that says too little, of what a true label says.

A score that does not fall where a label is too broad or too narrow is worth as much as one that can be had without it.
How much these labels are wrong is not known: what a label leaves out may be next to nothing. So the share of features
where they score below the true label is no error rate (`benchmarks/partly_wrong.md` sets it against the truth); but a
scorer for which it is small can't tell such labels apart.

- *Too broad*: the label, and the words of features that are close to this one. A rule stays one: what it holds of
  without its conditions and exceptions, or any of these words.
- *Too narrow*: the first of the things that the label lists. Of a rule the first word, form or affix, under the same
  conditions.
"""

from collections.abc import Sequence
from dataclasses import replace

from autointerp.rules.rule import Forms, Rule, Words
from autointerp.rules.sentence import read_rule, write_rule
from autointerp.words import label_alternatives, label_meaning, label_words, plain_label

N_SIBLINGS = 4


def too_broad(label: str, siblings: Sequence[str]) -> str | None:
    """The label with what others say besides; None where they say no more than it does.

    Args:
        label: The true label.
        siblings: Labels of features that are close to it, the closest first; at most `N_SIBLINGS` are taken.
    """
    own, others = set(label_words(label)), [of for of in siblings if plain_label(of) != plain_label(label)]
    words = [word for other in others[:N_SIBLINGS] for word in _words(other) if word not in own]
    if not words:
        return None
    rule = read_rule(label)
    if rule is None:
        return ", ".join([label, *map(label_meaning, others[:N_SIBLINGS])])
    first, *second = rule.roots
    listed = next((root.words for root in rule.roots if isinstance(root, Words)), ())
    more = Words(tuple(dict.fromkeys([*listed, *words])))
    kept = [root for root in (first, *second) if not isinstance(root, Words)][:1]
    broad = write_rule(Rule((more, *kept)))
    # A word that no rule can name, a phrase perhaps, makes a label of words of it.
    return broad if read_rule(broad) is not None else ", ".join([label_meaning(label), *words])


def too_narrow(label: str) -> str | None:
    """The first of the things that a label lists; None where it lists but one."""
    rule = read_rule(label)
    if rule is None:
        listed = label_alternatives(label)
        if len(listed) < 2:
            return None
        # A word in quotes is a rule, and a rule is carried out: it would differ from the label in more than breadth.
        return listed[0] if read_rule(listed[0]) is None else f"the word {listed[0]}"
    first = rule.roots[0]
    entries = first.entries()
    if len(entries) > 1 or (entries and len(rule.roots) > 1):
        return write_rule(replace(rule, roots=(entries[0],)))
    if len(rule.roots) > 1:
        return write_rule(replace(rule, roots=(first,)))
    return write_rule(replace(rule, roots=(Words(first.words),))) if isinstance(first, Forms) else None


def _words(label: str) -> Sequence[str]:
    """What a label names; of a rule not what stands by."""
    rule = read_rule(label)
    if rule is None:
        return label_words(label)
    return [word for root in rule.roots if isinstance(root, Words | Forms) for word in root.words]
