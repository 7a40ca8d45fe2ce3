"""What decides a run's results, and their fingerprints.

The run folder's identity covers everything up to the contexts: text, model, coder, what is kept of the pass, splits and
negatives. Another explainer, judge, set of scorers or choice of features may go on in the same folder: their records
carry fingerprints of their own. How a run is carried out is no part of either.
"""

from typing import Any

from autointerp.config import Pipeline
from autointerp.identity import fingerprint
from autointerp.subject.content import local_digest

_HOW_NOT_WHAT = {
    "subject": {"device"},
    "collect": {"batch_size"},
    "embedder": {"device", "batch_size"},
}
_IDENTITY_TABLES = ("corpus", "subject", "collect", "contexts", "embedder")
# Keys that came after there were runs: unset they are left out, so that a run from before is gone on with, and not paid
# for again.
_CAME_LATER = ("corpus.token_column",)
# Raised whenever the same settings and text come to give other statistics or contexts: so also with a constant that is
# no setting and decides them (`collect.merge.SHARDS_PER_FOLD`, how many neighbors are kept, the histogram's bins, the
# peak tokens of `silent_token`). What the corpus's constants decide is in the digest of its text.
_RULES = 4


def identity_settings(pipeline: Pipeline) -> dict[str, Any]:
    """The settings that decide a run's contexts, as plain values by dotted key, with digests of local weights."""
    settings: dict[str, Any] = {"seed": pipeline.seed}
    local = {"subject.model": pipeline.subject.model, "embedder.model": pipeline.embedder.model}
    for table in _IDENTITY_TABLES:
        values = getattr(pipeline, table).model_dump(mode="json", exclude=_HOW_NOT_WHAT.get(table))
        settings |= {f"{table}.{key}": value for key, value in values.items()}
    settings = {key: value for key, value in settings.items() if key not in _CAME_LATER or value is not None}
    for number, coder in enumerate(pipeline.coder):
        # The first as if it were the only one, so that messages name the key that a user wrote.
        table = f"coder[{number}]" if number else "coder"
        settings |= {f"{table}.{key}": value for key, value in coder.model_dump(mode="json").items()}
        if coder.path is not None:
            local[f"{table}.path"] = coder.path
    if len(pipeline.coder) > 1:
        # One coder by itself has a pool of its own.
        settings["collect.pool_blocks"] = "the same for all coders"
    for key, location in local.items():
        if (digest := local_digest(location, key)) is not None:
            settings[f"{key} (content)"] = digest
    return settings


def contexts_fingerprint(settings: dict[str, Any], corpus_digest: str) -> str:
    """Fingerprint of the contexts: the run's identity and the text that was in fact read."""
    return fingerprint("contexts", _RULES, settings, corpus_digest)
