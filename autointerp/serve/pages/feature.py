"""The pages of a feature: itself, the trials behind its scores, its contexts as CSV."""

from autointerp.serve.pages import contexts_csv, feature_notes
from autointerp.serve.pages.frame import Pages, add_page
from autointerp.serve.views.feature import feature
from autointerp.serve.views.trials import trials


def add(pages: Pages) -> None:
    """Add them."""
    contexts_csv.add(pages)
    feature_notes.add(pages)
    add_page(pages, "/{model}/{source}/{index}/trials", "trials.html", trials)
    add_page(pages, "/{model}/{source}/{index}", "feature.html", feature)
