"""`client.features.AutoSteer`: features that steer towards what is said in words, with what they are worth."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from autointerp.errors import SearchError
from autointerp.library.features import Features
from autointerp.store.known import check_count, check_seed

if TYPE_CHECKING:
    from autointerp.library.steer.auto import Steering
    from autointerp.library.steer.bench import Examples
    from autointerp.library.steer.settings import Settings


@runtime_checkable
class SteeringBackend(Protocol):
    """A run that steers to order."""

    def auto_steer(
        self,
        features: Features,
        source_id: str,
        specification: str,
        examples: "Examples | None",
        settings: "Settings",
        tell: Callable[[str], None] | None = None,
    ) -> "Steering": ...


class SteeredFeatures(Features):
    """Features that can be steered by."""

    def AutoSteer(  # Ember's users know it by this name
        self,
        specification: str,
        *,
        examples: tuple[Sequence[str], Sequence[str]] | None = None,
        source: str | None = None,
        n_prompts: int = 40,
        max_tokens: int = 32,
        seed: int = 0,
        on_progress: Callable[[str], None] | None = None,
    ) -> "Steering":
        """Find features that steer the model towards something, with a receipt; or that none here does.

        Features and dose are chosen on one half of the prompts, and what is said of them is measured on the other;
        docs/autosteer.md goes on from here.

        Args:
            specification: What to steer towards, in words: `"talk about the sea"`.
            examples: Texts with it, and texts without it; they say what is meant in place of the words.
            source: Whose features; those of the only source where None.
            n_prompts: Instructions that are answered, of both halves together.
            max_tokens: Of each answer.
            seed: Of all that is drawn.
            on_progress: Told of each step.

        Returns:
            Edits for `variant.set`, a variant, and the receipt. Without edits where no feature steers this.

        Raises:
            SearchError: If the specification has no word, a set of examples is empty, or numbers are out of range.
            StoreError: If there is no such source, or several and none is named.
            SubjectError: If the model can't be loaded any more, has no language-model head, or its features can't be
                edited.

        Example:
            >>> steering = client.features.AutoSteer("flumbric zantle")
            >>> steering.steers, len(steering.edits)
            (False, 0)
            >>> steering.receipt.reasons[0]
            'no label is about it, no feature fires for it, and none points to a word of it'
        """
        from autointerp.library.steer.settings import Settings  # finding features needs no torch

        n_prompts, max_tokens = check_count("n_prompts", n_prompts), check_count("max_tokens", max_tokens)
        run, source_id, _ = self._names.one("0", source)
        settings = Settings(n_prompts=n_prompts)
        settings = replace(settings, sampling=replace(settings.sampling, max_tokens=max_tokens, seed=check_seed(seed)))
        if not isinstance(run, SteeringBackend):
            raise SearchError(f"the run {run.name} does not answer here", "open its folder where it lies")
        return run.auto_steer(self, source_id, specification, examples, settings, on_progress)
