"""Intruder: do the contexts in which a feature fires belong together at all? No label is looked at.

A label may score badly because it is bad, or because there is nothing to say: the feature fires on this and that. This
tells the two apart, by intruder detection (Chang et al. 2009, "Reading tea leaves"; for features Paulo et al. 2025,
2507.08473).

1. The questions are those of detection: every context of the score split, the firing ones and the silent ones, which
   are peaks of other features. In place of a label each has `N_EXAMPLES` firing contexts of the explain split, drawn
   anew for each question by keyed hash, with the active tokens marked. Does the feature that fires in these fire in
   that one too?
2. The headline is balanced accuracy.

The usual form shows one intruder among firing contexts and asks which it is. Asked one by one the same is learnt, with
chance at .5, with bounds where a question got no answer, and in prompts that mix features. Among five an intruder may
also be told by what the others share besides the feature: here the context that is asked about, firing or silent, is
unmarked and of another group of documents than its examples, and these are alike for both.

Examples come from the explain split in its own mix of strong and weak firing. Each question has its own, so that a
score does not hang on which four were drawn. That questions share examples is not in the interval.
"""

from collections.abc import Sequence

from autointerp.identity import hash_key
from autointerp.records import Context, Explanation, FeatureContexts, Split
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_by_kind, add_confusion
from autointerp.score.judge import Question, Task
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined, context_hashes, shuffled

INTRUDER = Task("intruder", "judge_intruder", yes_no="yes_no_intruder")
N_EXAMPLES = 4


class IntruderScorer(BaseScorer):
    """Grades a feature by balanced accuracy on firing and silent contexts, beside examples; see the module's steps."""

    name = "intruder"
    task = INTRUDER
    metric = "balanced accuracy"
    interval = "MOVER of neutral posterior intervals of sensitivity and specificity, at effective numbers of trials"
    sees_label = False
    stops_early = True

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """Every context of the score split, each beside examples; why there are none where examples are lacking."""
        n_known = len(contexts.feature.of("explain", active=True))
        if n_known < N_EXAMPLES:
            return Undefined(
                "TooFewContexts",
                f"it has {n_known} firing contexts of the explain split, and {N_EXAMPLES} are needed as examples",
                retry=False,
            )
        return build_questions(contexts.feature, "score", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """Balanced accuracy, and what else the answers tell."""
        headline = metrics.balanced_accuracy(of.confusion)
        assert headline is not None, "both classes have answers"
        detail = Detail()
        add_confusion(detail, of)
        add_by_kind(detail, of)
        return headline, detail


def build_questions(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """Every context of one split, unmarked, beside firing contexts of the explain split, in hashed order.

    Args:
        contexts: Of the feature, with firing contexts of the explain split.
        split: Of the contexts that are asked about.
        key: Of the draws and the order.
    """
    known = contexts.of("explain", active=True)
    asked = [c for c in contexts.contexts if c.split == split]
    beside = [choose_examples(c, known, hash_key(key, c.context_id)) for c in asked]
    return shuffled([Posed(Question(c, examples=e), c.is_active) for c, e in zip(asked, beside, strict=True)], key)


def choose_examples(asked: Context, known: Sequence[Context], key: int) -> tuple[Context, ...]:
    """Draw examples to stand beside a context: never itself, and of its own group of documents only for want of others.

    Args:
        asked: The context that is asked about.
        known: Firing contexts of the explain split.
        key: Of the draw.

    Returns:
        `N_EXAMPLES` of them, in the order of their hashes; fewer where there are fewer others.
    """
    others = [c for c in known if c.context_id != asked.context_id]
    hashes = context_hashes(key, others)
    order = sorted(range(len(others)), key=lambda i: (others[i].group_id == asked.group_id, hashes[i]))
    return tuple(others[i] for i in order[:N_EXAMPLES])
