"""Whether a request is one that can be answered."""

import math
from collections.abc import Iterable

from autointerp.errors import GenerationError, SubjectError, TooLongError
from autointerp.live.generation.changes import Editors
from autointerp.live.generation.request import GenerationLimits, GenerationRequest
from autointerp.live.subject import LiveSubject
from autointerp.records.live import FeatureName, Push, SourceEdits
from autointerp.subject.limits import n_embedded, window_of


def check_request(request: GenerationRequest, live: LiveSubject, editors: Editors, limits: GenerationLimits) -> None:
    """See that a request can be answered.

    Raises:
        TooLongError: If its prompt is longer than it may be.
        GenerationError: If one of its values makes no sense.
        SubjectError: If it names features that are not there, or edits some that can't be.
    """
    _check_prompt(request, live, limits)
    if not (math.isfinite(request.temperature) and request.temperature >= 0):
        raise GenerationError(f"the temperature is {request.temperature}", "give a number of 0 or more")
    if not 0 < request.top_p <= 1:
        raise GenerationError(f"top_p is {request.top_p}", "give a probability above 0, at most 1")
    if request.max_new_tokens < 1:
        raise GenerationError(f"max_new_tokens is {request.max_new_tokens}", "ask for one token or more")
    n_tokens = n_embedded(live.sources.subject)
    if wrong := [token for token in request.shifts.by_token if not 0 <= token < n_tokens]:
        raise GenerationError(
            f"the logit of the token {wrong[0]} is shifted", f"the model has those from 0 to {n_tokens - 1:,}"
        )
    if "" in request.stop:
        raise GenerationError("a stop text is empty", "leave it away")
    for rule in (rule for outer in request.rules for rule in outer.all()):
        if rule.inner and rule.lasting != "rest":
            raise GenerationError("a rule that holds at single tokens has others in it", "join their conditions")
        if not rule.features:
            raise GenerationError("a rule reads no feature", "give the features that its condition needs")
        _check_features(rule.features, live)
        if isinstance(rule.then, tuple):
            check_edits(rule.then, live, editors)
    check_edits(request.edits, live, editors)


def check_edits(edits: Iterable[SourceEdits], live: LiveSubject, editors: Editors) -> None:
    """See that edits can be made.

    Raises:
        GenerationError: If a value is no finite number, or a direction is of another width than the source writes.
        SubjectError: If it names features that are not there, or edits some that can't be.
    """
    for of_source in edits:
        source = editors.of(of_source.source_id).source
        for edit in of_source.edits:
            if not math.isfinite(edit.value):
                raise GenerationError(f"an edit of {of_source.source_id} is by {edit.value}", "give a finite number")
            if not isinstance(edit, Push):
                _check_features([(of_source.source_id, edit.feature_index)], live)
            elif edit.vector.shape != (source.coder.d_out,):
                raise GenerationError(
                    f"a direction has {edit.vector.size} numbers, and {source.source_id} writes {source.coder.d_out}",
                    "give one of that width",
                )


def _check_prompt(request: GenerationRequest, live: LiveSubject, limits: GenerationLimits) -> None:
    subject = live.sources.subject
    prompt, window = request.prompt, window_of(subject)
    if not prompt:
        raise GenerationError("the prompt has no token", "give one to go on from")
    if request.roles is not None and len(request.roles) != len(prompt):
        raise GenerationError(f"{len(request.roles)} roles are given for {len(prompt)} tokens", "give one a token")
    if limits.longest_prompt is not None and len(prompt) > limits.longest_prompt:
        raise TooLongError(
            f"the prompt has {len(prompt):,} tokens, and may have {limits.longest_prompt:,} here", "shorten it"
        )
    if window is not None and len(prompt) >= window:
        raise TooLongError(
            f"the prompt has {len(prompt):,} tokens, and the model reads {window:,} at once", "shorten it"
        )
    if not 0 <= min(prompt) <= max(prompt) < n_embedded(subject):
        raise GenerationError(
            f"the prompt has the token {max(prompt) if min(prompt) >= 0 else min(prompt)}, and the model "
            f"{subject.name} embeds those from 0 to {n_embedded(subject) - 1:,}",
            "read it with the model's own tokenizer",
        )


def _check_features(features: Iterable[FeatureName], live: LiveSubject) -> None:
    for source_id, feature in features:
        n_features = live.source(source_id).n_features
        if not 0 <= feature < n_features:
            raise SubjectError(f"{source_id} has no feature {feature}", f"its features are 0 to {n_features - 1:,}")
