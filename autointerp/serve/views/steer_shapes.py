"""What the page of steering says, as plain values."""

from typing import Annotated, Literal

from pydantic import Field

from autointerp.library.feature_edits import StrengthUnit
from autointerp.records.live import EditMode
from autointerp.serve.views.asked import Asked, OneOf, Texts, Written
from autointerp.serve.views.shown import FeatureLine, View

MOST_TURNS = 20
MOST_EDITS = 32
MOST_TOKENS = 512

Row = Annotated[tuple[Written, ...], Field(max_length=MOST_TURNS)]
Rows = Field(max_length=2 * MOST_EDITS)


class SteerAsked(Asked):
    """How a model is steered, and what is said to it, as it stands in the page's address.

    Answers stand in no address: the same messages, edits and seed give the same ones.

    Attributes:
        source: Whose model; the only one's that can where None.
        system: What it is told first.
        say: What is said to it, message by message; it answers each.
        feature: The features that are edited, each by its index or `model@source:index`; empty ones are passed over.
        strength: How much, one a feature.
        unit: In which unit, likewise.
        mode: Whether it is added or set, likewise.
        scope: The tokens that are edited: `all`, or those that are `generated`.
        temperature: Of the draw; 0 takes the likeliest token.
        top_p: Tokens are drawn from the likeliest ones that together have this probability.
        n_tokens: Of an answer, at most.
        seed: Of the draw.
        wanted: In words, towards what features were found that steer.
    """

    source: OneOf = None
    system: Written = ""
    say: Row = ()
    feature: Annotated[Texts, Rows] = ()
    strength: Annotated[Texts, Rows] = ()
    unit: Annotated[tuple[StrengthUnit, ...], Rows] = ()
    mode: Annotated[tuple[EditMode, ...], Rows] = ()
    scope: Literal["all", "generated"] = "all"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.6
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    n_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 96
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 1
    wanted: Annotated[Written, Field(max_length=2_000)] = ""

    @property
    def messages(self) -> tuple[str, ...]:
        """What is said, without what says nothing."""
        return tuple(message for message in self.say if message.strip())

    @property
    def rows(self) -> list[tuple[str, str, StrengthUnit, EditMode]]:
        """The edits that are named, as they were written."""
        found: list[tuple[str, str, StrengthUnit, EditMode]] = []
        for place, feature in enumerate(self.feature):
            if feature.strip():
                strength = self.strength[place] if place < len(self.strength) else ""
                unit = self.unit[place] if place < len(self.unit) else "dose"
                mode = self.mode[place] if place < len(self.mode) else "add"
                found.append((feature.strip(), strength.strip() or "1", unit, mode))
        return found


class SteerTurn(SteerAsked):
    """A turn of a conversation that goes on: what was answered to all messages but the last.

    Attributes:
        plain: Answers of the model as it is.
        steered: Answers of the steered one.
    """

    plain: Row = ()
    steered: Row = ()


class EditLine(View):
    """An edit of a feature.

    Attributes:
        feature: The feature.
        strength: How much.
        unit: In which unit.
        mode: Whether it is added or set.
    """

    feature: FeatureLine
    strength: float
    unit: StrengthUnit
    mode: EditMode


class Edited(View):
    """Where features were edited.

    Attributes:
        scope: The tokens that were to be.
        n_prompt: Tokens of the prompt that were.
        n_generated: Generated tokens that were, of those that the model read: all but the last.
        n_features: Features that were edited there.
    """

    scope: str
    n_prompt: int
    n_generated: int
    n_features: int


class SteerAnswer(View):
    """An answer.

    Attributes:
        text: What was said.
        finish_reason: `stop` at its own end, `length` where there was no more room.
        n_prompt: Tokens of the prompt.
        n_tokens: Tokens of the answer.
        edited: Where features were edited; None where none was.
        notes: What was done to the messages.
    """

    text: str
    finish_reason: str
    n_prompt: int
    n_tokens: int
    edited: Edited | None
    notes: tuple[str, ...]


class Answered(View):
    """A message with both answers.

    Attributes:
        say: The message.
        plain: What the model answers as it is.
        steered: What it answers as steered; None where nothing is edited.
    """

    say: str
    plain: SteerAnswer
    steered: SteerAnswer | None


class Preset(View):
    """Edits to begin with.

    Attributes:
        name: In a few words.
        path: The page with them.
    """

    name: str
    path: str


class Arm(View):
    """A way to answer, in figures of the prompts that had no part in the choice.

    Attributes:
        name: `plain`, `steered`, or a control's.
        concept: Mean concept score.
        over_plain: By how much that is above plain answers'; None of these.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end; None likewise.
        mentions: Share of answers that mention at least half of what is wanted; None where nobody counted.
        loss: Mean nats a token; None where nobody read them.
        repetition: Mean share of repeated 4-grams.
        kept: Mean cosine of answers and their instructions.
        examples: The first answers.
    """

    name: str
    concept: float
    over_plain: float | None
    low: float | None
    high: float | None
    mentions: float | None
    loss: float | None
    repetition: float
    kept: float
    examples: tuple[str, ...]


class SteerReceipt(View):
    """What a steering that was found is worth.

    Attributes:
        wanted: What was asked for.
        steers: Whether features steer this.
        reasons: Why not.
        edits: The features with their doses; of one that does not steer, those that came closest.
        arms: Ways to answer; none where nothing was worth measuring.
        notes: The tests on them, in words.
        n_dropped: Candidates that were not kept.
        n_choose: Prompts by which was chosen.
        n_report: Prompts on which it was measured.
        seed: Of the choice.
        seconds: That it took.
    """

    wanted: str
    steers: bool
    reasons: tuple[str, ...]
    edits: tuple[EditLine, ...]
    arms: tuple[Arm, ...]
    notes: tuple[str, ...]
    n_dropped: int
    n_choose: int
    n_report: int
    seed: int
    seconds: float


class SteerView(View):
    """What the page says.

    Attributes:
        asked: How it is steered, and what is said.
        sources: Whose models can answer.
        source: The one that is meant; None where none can.
        why_none: Why none can; None where one can.
        edits: What is edited.
        largest: The largest strength in each unit.
        presets: Edits to begin with.
        path: The page with this state.
        answered: Messages with answers; none before anything was answered.
        receipt: Of the features that were found for what is wanted, where they were found here.
    """

    asked: SteerAsked
    sources: tuple[str, ...]
    source: str | None
    why_none: str | None
    edits: tuple[EditLine, ...]
    largest: dict[str, float]
    presets: tuple[Preset, ...]
    path: str
    answered: tuple[Answered, ...] = ()
    receipt: SteerReceipt | None = None
