"""What the unmodified client of Goodfire's Ember gets from a run that is served: all that docs/serve.md shows of it."""

import pytest

from tests.docs.pages import ROOT, read_page
from tests.docs.world import SERVED_AT, in_small
from tests.serve.clients import needs_goodfire, printed_by_goodfire


@pytest.mark.slow
@needs_goodfire
def test_goodfires_client_does_all_that_the_page_shows(address: str) -> None:
    blocks = [block.text for block in read_page(ROOT / "docs/serve.md").blocks if "import goodfire" in block.text]
    (program,) = blocks
    printed = printed_by_goodfire(in_small(program).replace(SERVED_AT, address))
    assert printed.splitlines()[0].startswith("FeatureGroup([")
    print(printed)
