"""One client protocol over language-model providers; retries, a journal of paid answers, prices, prompt files."""

from autointerp.llm.connect import connect
from autointerp.llm.journal import Journal
from autointerp.llm.model import Terms
from autointerp.llm.prompts import Prompt, load_prompt
from autointerp.llm.protocol import CallFailure, LanguageModel, Reply, Request

__all__ = ["CallFailure", "Journal", "LanguageModel", "Prompt", "Reply", "Request", "Terms", "connect", "load_prompt"]
