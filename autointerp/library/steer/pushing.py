"""Features that make words likelier where a text may go on with anything: found by the gradient, and then tried.

The logit lens tells what a direction does if nothing reads it on its way to the logits. That of a middle layer is read:
of SmolLM2's features there, the lens shows little but fragments of words (`benchmarks/autosteer.md`). So beside it:

1. Behind some openings is taken the gradient of the log-probability of a word's tokens, where the coder writes, summed
   over the tokens. Its product with a feature's direction, at the same length of all, says what the feature does, as
   far as that goes by the first derivative.
2. The features with the largest products are tried: each is added at every token, and by how many nats the word is
   likelier then, in the mean over the openings, is what it does.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from autointerp.library.steer.lens import Lens
from autointerp.library.steer.output_score import OPENING
from autointerp.live.edits import direction, directions, divisor, listen, writing_hook
from autointerp.live.next_token import OutputHead, next_token_log_probs
from autointerp.records.live import Edit
from autointerp.subject.forward import read_hooks
from autointerp.subject.limits import readable_tokens

OPENINGS = (OPENING, "Today I want to talk about", "Here is something about", "I like")
# Of the stream's length: what a dose of SmolLM2's features is at most (`benchmarks/steer.md`).
_TYPICAL = 0.27
# Features that are tried for each word.
_N_TRIED = 32
_ROWS = 4096


@dataclass(frozen=True)
class Pushing:
    """What the features of one source do to words.

    Attributes:
        lens: Of the source; knows the tokens of words.
        head: Of the subject.
        facets: The words.
    """

    lens: Lens
    head: OutputHead
    facets: tuple[str, ...]

    @cached_property
    def tokens(self) -> dict[str, tuple[int, ...]]:
        """Of each word the tokens that are the word by themselves; words without any are left out."""
        found = {facet: self.lens.tokens_of(facet) for facet in self.facets}
        return {facet: own for facet, own in found.items() if own}

    def strongest(self, n: int, least: float) -> dict[int, tuple[str, ...]]:
        """Features that make words likelier by so much, strongest first, with these words.

        Args:
            n: At most so many of each word.
            least: Nats.

        Raises:
            SubjectError: If the source's features can't be edited.
        """
        if not self.tokens:
            return {}
        pushes = self.products()
        tried = sorted({int(i) for row in pushes for i in np.argsort(-row, kind="stable")[:_N_TRIED]})
        gains = self.gains({index: self.typical(index) for index in tried})
        found: dict[int, tuple[str, ...]] = {}
        for place, facet in enumerate(self.tokens):
            order = sorted(tried, key=lambda index: -gains[index][place])
            for index in [index for index in order if gains[index][place] >= least][:n]:
                found[index] = (*found.get(index, ()), facet)
        return dict(sorted(found.items(), key=lambda of: -gains[of[0]].max()))

    def gains(self, values: Mapping[int, float]) -> dict[int, Float64[np.ndarray, " word"]]:
        """By how many nats each word of `tokens` is likelier with a feature turned up, in the mean over openings.

        Args:
            values: By feature what it is turned up by, in the coder's own units.

        Raises:
            SubjectError: If the source's features can't be edited.
        """
        found = {index: np.zeros(len(self.tokens)) for index in values}
        for text, plain in zip(self._texts, self._plain, strict=True):
            edits: list[Sequence[Edit]] = [(Edit(index, "add", value),) for index, value in values.items()]
            for batch in self.lens.live.batches([text] * len(edits)):
                after = self._words([text] * len(batch), [edits[place] for place in batch])
                for place, of_words in zip(batch, after, strict=True):
                    found[list(values)[place]] += (of_words - plain) / len(self._texts)
        return found

    @cached_property
    def _texts(self) -> list[tuple[int, ...]]:
        return [self.lens.live.read_text(opening) for opening in OPENINGS]

    @cached_property
    def _plain(self) -> list[Float64[np.ndarray, " word"]]:
        return [self._words([text], [()])[0] for text in self._texts]

    def _words(
        self, texts: Sequence[Sequence[int]], edits: Sequence[Sequence[Edit]]
    ) -> Float64[np.ndarray, "text word"]:
        """The log-probability of each word, of all its tokens together."""
        log_probs = next_token_log_probs(self.lens.live, self.head, self.lens.source_id, texts, edits)
        of_words = [log_probs[:, list(own)].logsumexp(dim=1) for own in self.tokens.values()]
        return torch.stack(of_words, dim=1).double().cpu().numpy()

    def products(self) -> Float32[np.ndarray, "word feature"]:
        """By how many nats each word of `tokens` is likelier for each bit of length that a feature adds, at first.

        In the mean over openings; NaN of directions without a length counts as nothing.

        Raises:
            SubjectError: If the source's features can't be edited.
        """
        coder = self.lens.live.source(self.lens.source_id).coder
        gradients = torch.stack([self._gradients(text) for text in self._texts]).mean(dim=0)
        found = []
        for start in range(0, len(coder.decoder), _ROWS):
            rows = directions(coder, torch.arange(start, min(start + _ROWS, len(coder.decoder)))).detach()
            rows = torch.nn.functional.normalize(rows, dim=1)
            found.append(gradients.to(rows.device) @ rows.T)
        return torch.cat(found, dim=1).nan_to_num(nan=-torch.inf).cpu().numpy()

    def _gradients(self, text: Sequence[int]) -> Float[Tensor, "word d_out"]:
        """Of each word's log-probability behind a text, where the coder writes, summed over positions."""
        live = self.lens.live
        subject, write = live.sources.subject, writing_hook(live.source(self.lens.source_id))
        leaf: list[Tensor] = []

        def hold(hidden: Tensor) -> Tensor:
            leaf.append(hidden.detach().requires_grad_())
            return leaf[0]

        with live.lock, torch.enable_grad():
            ids, mask, _ = live.framed([text], open_ended=True)
            handle = listen(write, hold, threading.get_ident())
            try:
                hidden: Tensor = subject.model(
                    input_ids=readable_tokens(subject, ids, mask).to(subject.device),
                    attention_mask=mask.to(subject.device),
                    use_cache=False,
                ).last_hidden_state
            finally:
                handle.remove()
            log_probs = self.head.log_probs(hidden[:, -1])[0]
            measures = [log_probs[list(own)].logsumexp(dim=0) for own in self.tokens.values()]
            found = [torch.autograd.grad(measure, leaf[0], retain_graph=True)[0] for measure in measures]
        return torch.stack([of[0].float().sum(dim=0) for of in found])

    @cached_property
    def _stream(self) -> float:
        """The stream's length where the source writes, over what its directions are scaled by there; medians."""
        live = self.lens.live
        source = live.source(self.lens.source_id)
        with live.lock, torch.inference_mode():
            ids, mask, counted = live.framed(self._texts, open_ended=True)
            read, write = read_hooks(live.sources.subject, [source.hook, writing_hook(source)], ids, mask)
            at = torch.from_numpy(counted).to(read.device)
            scale = torch.as_tensor(divisor(source.coder, read[at])).flatten().float()
            return float(write[at].float().norm(dim=-1).median() / scale.median())

    def typical(self, index: int) -> float:
        """About what a dose of 1 of a feature is, in the coder's own units; 0 of one without a direction."""
        length = float(direction(self.lens.live.source(self.lens.source_id).coder, index).norm())
        return _TYPICAL * self._stream / length if length > 0 else 0.0
