"""The end of `autointerp demo --chat`: an inspected conversation, and answers that are steered, with a receipt."""

from typing import TYPE_CHECKING

from autointerp.cli.tables import feature_name
from autointerp.library.client import Client
from autointerp.text_table import table

if TYPE_CHECKING:
    from autointerp.library.chat.replies import ChatCompletion
    from autointerp.records.dose import Dose

SPECIFICATION = "talk about programming"
QUESTIONS = ("How do I open a file in Python and read what is in it?", "Tell me about your day.")
STRENGTHS = (1.0, 2.0)
_ANSWER_TOKENS = 48
# AutoSteer's: as many and as long as let it end in some minutes on two cores.
_N_PROMPTS = 24
_PROMPT_TOKENS = 24
_N_SHOWN = 8
_N_TRIED = 4  # of the best labels' features, until one has a dose


def chat_lines(client: Client, questions: tuple[str, str] = QUESTIONS, specification: str = SPECIFICATION) -> list[str]:
    """What the model answers, what is at work in it, what it answers with a feature turned up, and steered to order.

    Args:
        client: Of a finished run with labels, whose subject has a chat template and a language-model head.
        questions: Whose answer is inspected, and whose is steered.
        specification: What it is steered towards.
    """
    question = {"role": "user", "content": questions[0]}
    answer = _answer(client, questions[0])
    inspected = client.features.inspect([question, {"role": "assistant", "content": str(answer)}])
    rows = [
        [feature_name(of.feature.source_id, of.feature.index, with_source=False), of.feature.told,
         repr(inspected.tokens[of.peak].text), f"{of.activation:.3g}", f"{of.percentile:.0f}", f"{of.surprise:.1f}"]
        for of in inspected.top(_N_SHOWN, aggregate_by="max")
    ]  # fmt: skip
    return [
        "",
        "A conversation, and what is at work in it: the most surprising of its features, each where it is largest.",
        *_said("user", questions[0]),
        *_said("assistant", str(answer)),
        "",
        *table(["feature", "label", "at", "activation", "pct", "surprise"], rows, left=(1, 2)),
        *steered_lines(client, questions[1]),
        *ordered_lines(client, questions[1], specification),
    ]


def steered_lines(client: Client, question: str) -> list[str]:
    """Answers with the best label's feature turned up, beside the plain one; nothing where no feature has a dose."""
    best = [scored.explanation for scored in client.run.reader.best(_N_TRIED)]
    for explanation in best:
        dose = client.features.doses([explanation.feature_index], source=explanation.source_id)[0]
        if dose.unit is not None:
            break
    else:
        return []
    lines = ["", f"Feature {explanation.feature_index}, {explanation.label!r}, turned up. {_told(dose)}"]
    lines += ["", *_said("user", question), *_said("plain", str(_answer(client, question)))]
    for strength in STRENGTHS:
        variant = client.variant(explanation.source_id).set(explanation.feature_index, strength)
        answer = client.chat.completions.create(
            [{"role": "user", "content": question}], model=variant, max_completion_tokens=_ANSWER_TOKENS
        )
        counted = f"{answer.edited.n_prompt} + {answer.edited.n_generated} tokens"
        lines += _said(f"strength {strength:g} at {counted}", str(answer))
    return lines


def ordered_lines(client: Client, question: str, specification: str) -> list[str]:
    """What steering to order comes to: its receipt, and an answer where features steer this."""
    steering = client.features.AutoSteer(specification, n_prompts=_N_PROMPTS, max_tokens=_PROMPT_TOKENS)
    lines = ["", f"AutoSteer, asked to {specification!r}, and its receipt:", *repr(steering).splitlines()]
    if steering.steers:
        answer = client.chat.completions.create(
            [{"role": "user", "content": question}], model=steering.variant, max_completion_tokens=_ANSWER_TOKENS
        )
        lines += ["", *_said("user", question), *_said("steered", str(answer))]
    return lines


def _answer(client: Client, question: str) -> "ChatCompletion":
    return client.chat.completions.create([{"role": "user", "content": question}], max_completion_tokens=_ANSWER_TOKENS)


def _told(dose: "Dose") -> str:
    of_max = "" if dose.of_max_activation is None else f", {dose.of_max_activation:.2g} times its largest"
    return (
        f"Strength 1 adds {dose.unit:.3g} to its activation{of_max},\nand {dose.of_stream_norm:.2g} of the stream's "
        f"length: the 95th percentile of KL(steered, plain) is {dose.kl_p95:.2f} nats there."
    )


def _said(who: str, text: str) -> list[str]:
    return [f"  {who}: {' '.join(text.split())}"]
