"""Small models and coders, as for the subject."""

from tests.subject.conftest import make_coder, saved_coder, saved_model, tiny_model

__all__ = ["make_coder", "saved_coder", "saved_model", "tiny_model"]
