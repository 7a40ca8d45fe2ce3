"""The answers under way: those that are read on alone, and those that go on together, one token each at a step.

1. Prompts of like length that wait are read in one pass, up to some hundred tokens with what fills up the shorter ones
   (`together`); a longer one alone, as many tokens at a step, so that answers under way go on meanwhile. Read to its
   end, a prompt joins the others.
2. A step of the batch reads one token of each row, evaluates the rules there, and chooses each row's next token
   (`choose`). Rows leave where they end, or where rules want something that the others don't.
3. Rules see a token as it is before its edits, and tokens before it as they were edited. Where a rule's edits change a
   token that was read, it and what was read after it is read again under these. So a prompt is read once, and from
   there again where a rule edits; by ever fewer tokens at once where rules edit at many. Where edits in lower layers
   hold at a token that a rule looks at, it is read twice: as it is, for the rule, and then as it is edited.
4. A choice that is within the tolerance is made by logits that are computed anew, alone and from the beginning; so are
   all of a request without cache.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from autointerp.errors import GenerationError
from autointerp.live.generation.changes import Change, Compiled, Editors, SourceEditor
from autointerp.live.generation.choose import Choice, Chosen, choose, tolerance_of
from autointerp.live.generation.passes import Read, Reader
from autointerp.live.generation.row import LONGEST_PASS, Row, stacked
from autointerp.records.live import FeatureName

Logits = Float32[Tensor, " token"]


class Batch:
    """Answers that are generated together; for one thread.

    Args:
        reader: Runs the subject.
        editors: Its sources, as they are edited.
        dtype: The numbers that it computes in.
        n_tokens_at_once: Tokens of a pass over several prompts, while no answer is under way that waits for it.

    Attributes:
        rows: Those that go on together.
        n_chosen: Tokens that were chosen by logits within a tolerance.
        n_anew: Of these, those that were too close to call, and were computed anew.
    """

    def __init__(self, reader: Reader, editors: Editors, dtype: torch.dtype, n_tokens_at_once: int) -> None:
        self._reader, self._editors, self._dtype = reader, editors, dtype
        self._n_tokens_at_once = n_tokens_at_once
        self.rows: list[Row] = []
        self.n_chosen = self.n_anew = 0
        self._cache = reader.new_cache(())
        self._changes: tuple[list[Compiled], list[tuple[SourceEditor, Change]]] = ([], [])

    @torch.inference_mode()
    def read_on(self, row: Row) -> Logits | None:
        """Read on in a row that stands alone.

        Returns:
            What comes after its last token, once that is read as it is edited; None before, and where handlers are to
            be asked (`row.asked`) or a rule has ended it.

        Raises:
            GenerationError: As of `Row.judge`.
        """
        start, end = row.n_read, row.next_end()
        is_look = False
        if row.is_judged and row.is_disturbed(end):
            end, is_look = (row.n_judged, False) if row.n_judged > start else (start + 1, True)
        compiled = [row.compiled(position) for position in range(start, end)]
        if is_look:
            compiled[-1] = {}
        before = [] if row.cache is not None else [row.compiled(position) for position in range(start)]
        features = row.features if end > row.n_judged else {}
        read = self._reader.read(
            [row.tokens[start - len(before) : end]], self._editors.changes([*before, *compiled]), features, row.cache
        )
        changed: int | None = None
        if features:
            first = max(row.n_judged, start)
            at = slice(len(before) + first - start, None)
            changed = row.judge(first, _on_host(read, at))
        if row.is_aborted:
            row.n_read = row.n_judged
            return None
        if is_look and changed is None and row.compiled(start):
            changed = start
        row.keep(end if changed is None else changed, end)
        return read.logits[0] if row.n_read == len(row.tokens) else None

    @property
    def longest_pass(self) -> int:
        """Tokens of the next pass over several prompts, at most."""
        return LONGEST_PASS if self.rows else max(LONGEST_PASS, self._n_tokens_at_once)

    def can_begin_with_others(self, row: Row) -> bool:
        """Whether a row's prompt, of which nothing was read, can be read in one pass with others."""
        n = len(row.tokens)
        return (
            row.cache is not None and row.n_read == row.n_judged == 0 and n <= LONGEST_PASS and not row.is_disturbed(n)
        )

    @torch.inference_mode()
    def begin(self, rows: Sequence[Row]) -> list[Logits | BaseException | None]:
        """Read prompts that can be read together, in one pass.

        Returns:
            Of each row, as of `read_on`; or what its rule raised.
        """
        longest = max(len(row.tokens) for row in rows)
        cache = self._reader.new_cache([len(row.tokens) for row in rows])
        token_ids: list[list[int]] = []
        compiled: list[Compiled] = []
        for row in rows:
            n_before = longest - len(row.tokens)
            token_ids.append([row.tokens[0]] * n_before + row.tokens)
            compiled += [_NOTHING] * n_before + [row.compiled(position) for position in range(len(row.tokens))]
        read = self._reader.read(token_ids, self._editors.changes(compiled), stacked(rows), cache)
        found: list[Logits | BaseException | None] = []
        for place, row in enumerate(rows):
            end, changed = len(row.tokens), None
            try:
                if row.is_judged:
                    changed = row.judge(
                        0, _on_host(read, slice((place + 1) * longest - end, (place + 1) * longest), row)
                    )
            except BaseException as error:  # of a rule: it ends this request only
                found.append(error)
                continue
            if row.is_aborted:
                row.n_read = row.n_judged
            else:
                row.cache = cache.of_row(place)
                row.keep(end if changed is None else changed, end)
            found.append(None if row.is_aborted or row.n_read < end else read.logits[place])
        return found

    @torch.inference_mode()
    def choose_alone(self, row: Row, logits: Logits) -> Chosen:
        """Choose the next token of a row that was read to its end.

        Raises:
            GenerationError: If logits are not finite.
        """
        (chosen,) = self._choose([row], logits[None], is_exact=row.cache is None)
        if isinstance(chosen, GenerationError):
            raise chosen
        return chosen

    def can_join(self, row: Row) -> bool:
        """Whether a row, of which the last token is not read, can go on with the others."""
        return (
            row.cache is not None
            and not row.asked
            and row.n_read == len(row.tokens) - 1
            and not row.is_disturbed(len(row.tokens))
        )

    @torch.inference_mode()
    def join(self, row: Row) -> None:
        """Take a row in."""
        assert row.cache is not None
        self._cache.join(row.cache)
        row.cache = None
        self.rows.append(row)

    @torch.inference_mode()
    def leave(self, row: Row) -> None:
        """Let a row stand alone, as far as it was read."""
        place = self.rows.index(row)
        row.cache = self._cache.leave(place)
        row.cache.cut(row.n_read)
        self._replace(place)

    @torch.inference_mode()
    def drop(self, row: Row, *, wipe: bool = False) -> None:
        """Forget a row; see `TextCache.drop`."""
        place = self.rows.index(row)
        self._cache.drop(place, wipe=wipe)
        self._replace(place)

    def clear(self) -> None:
        """Forget all rows, and the memory that they took."""
        self.rows = []
        self._cache = self._reader.new_cache(())

    @torch.inference_mode()
    def step(self) -> list[tuple[Row, Chosen | BaseException | None]]:
        """Read the last token of each row, and choose the next.

        Returns:
            Of each row the next token, or why there is none; None for one that a rule has ended, or that must stand
            alone.
        """
        for row in [row for row in self.rows if row.is_disturbed(len(row.tokens))]:
            self.leave(row)
        rows = list(self.rows)
        if not rows:
            return []
        compiled = [row.compiled(row.n_read) for row in rows]
        known = self._changes[0]
        if len(compiled) != len(known) or any(a is not b for a, b in zip(compiled, known, strict=True)):
            self._changes = (compiled, self._editors.changes(compiled))
        read = self._reader.read([row.tokens[-1:] for row in rows], self._changes[1], stacked(rows), self._cache)
        found: list[tuple[Row, Chosen | BaseException | None]] = []
        going: list[int] = []
        for place, row in enumerate(rows):
            try:
                changed = self._judge(row, read, place)
            except BaseException as error:  # of a rule: it ends this request only
                found.append((row, error))
                continue
            row.n_read += changed is None
            if changed is None and not row.is_aborted:
                going.append(place)
                continue
            found.append((row, None))
            if not row.is_aborted:
                self.leave(row)
        if going:
            of = [rows[place] for place in going]
            found += zip(
                of, self._choose(of, read.logits[going] if len(going) < len(rows) else read.logits), strict=True
            )
        return found

    def _judge(self, row: Row, read: Read, place: int) -> int | None:
        if not row.is_judged:
            return None
        changed = row.judge(row.n_read, _on_host(read, slice(place, place + 1), row))
        return None if row.is_aborted else changed

    def _choose(
        self, rows: Sequence[Row], logits: Float32[Tensor, "row token"], *, is_exact: bool = False
    ) -> list[Chosen | GenerationError]:
        """Choose each row's next token."""
        largest = logits.abs().amax(dim=-1).tolist()
        choices = [
            Choice(
                row.request.temperature,
                row.request.top_p,
                row.request.seed,
                len(row.log_probs),
                0.0 if is_exact else tolerance_of(size, self._dtype),
                row.request.shifts.behind(row.tokens[row.n_prompt :]),
                row.request.n_likeliest,
            )
            for row, size in zip(rows, largest, strict=True)
        ]
        is_finite = [size < float("inf") for size in largest]
        chosen: list[Chosen | GenerationError | None] = [_NOT_FINITE] * len(rows)
        at = [place for place, finite in enumerate(is_finite) if finite]
        if at:
            of_finite = logits if len(at) == len(rows) else logits[at]
            found = choose(of_finite, [choices[place] for place in at])
            if not is_exact:
                self.n_chosen += len(found)
                self.n_anew += found.count(None)
            for place, one in zip(at, found, strict=True):
                chosen[place] = self._choose_anew(rows[place]) if one is None else one
        return [one for one in chosen if one is not None]

    def _choose_anew(self, row: Row) -> Chosen | GenerationError:
        compiled = [row.compiled(position) for position in range(row.n_read)]
        read = self._reader.read([row.tokens[: row.n_read]], self._editors.changes(compiled), {})
        return self._choose([row], read.logits, is_exact=True)[0]

    def _replace(self, place: int) -> None:
        last = self.rows.pop()
        if place < len(self.rows):
            self.rows[place] = last
        if not self.rows:  # what many long answers took is not kept for few short ones
            self._cache = self._reader.new_cache(())


_NOTHING: Compiled = {}
_NOT_FINITE = GenerationError(
    "the model gives logits that are no numbers", "make the edits smaller, or set subject.dtype to float32 or bfloat16"
)


def _on_host(read: Read, at: slice, row: Row | None = None) -> dict[FeatureName, Float32[np.ndarray, " token"]]:
    names = (
        read.activations
        if row is None
        else [(source_id, feature) for source_id, features in row.features.items() for feature in features]
    )
    return {name: read.activations[name][at].cpu().numpy() for name in names}
