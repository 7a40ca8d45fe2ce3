"""What features do on a text that is read under edits which hold from where conditions hold.

1. The text is read as a prompt is, before an answer: rules are evaluated at each token, on what features do there
   before its edits, and it is told which edits hold at which token.
2. It is read once more under these edits, and what features do then is what is given.
"""

from collections.abc import Sequence

from autointerp.errors import SubjectError
from autointerp.live.firings import joined, run_blocks
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import GenerationRequest, Rule
from autointerp.live.read import Readable, edited_tokens, read_any
from autointerp.live.subject import LiveSubject
from autointerp.records.live import EditScope, SourceEdits, TextFirings


def read_held(
    live: LiveSubject,
    generator: Generator,
    text: Readable,
    source_id: str,
    edits: Sequence[SourceEdits],
    scope: EditScope,
    rules: Sequence[Rule],
) -> TextFirings:
    """Read one text.

    Args:
        live: The subject.
        generator: Of the same subject; it evaluates the rules.
        text: No longer than the subject reads at once.
        source_id: Whose features are read, as edited.
        edits: At the tokens of the scope.
        scope: Those tokens.
        rules: Edits where conditions hold.

    Raises:
        SubjectError: If the text can't be read, or is too long, or features can't be edited.
        TooLongError: If the text is longer than a prompt may be.
    """
    read = read_any(live, text, "the text")
    if len(read.windows) != 1:
        raise SubjectError(
            "edits begin where a condition holds, and the text is read in several pieces or has no token",
            "give a text that the model reads at once",
        )
    edited_tokens(live, read, scope)  # says what is wrong of the scope
    token_ids, mask, counted = live.framed(read.windows)
    n_before, n_after = len(live.special.before), len(live.special.after)
    roles = None if read.roles is None else (*[None] * n_before, *read.roles, *[None] * n_after)
    request = GenerationRequest(
        tuple(token_ids[0].tolist()), roles, tuple(edits), scope, tuple(rules), max_new_tokens=1, use_cache=False
    )
    with generator.held(request):
        ((found,),) = run_blocks(live, [live.source(source_id)], token_ids.numpy(), mask.numpy() > 0, counted)
    return joined(live, live.source(source_id), read, [found])
