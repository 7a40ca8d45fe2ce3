"""What the unmodified client of Goodfire's Ember gets from a run that is served: all that docs/serve.md shows of it."""

import re

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
    found, near, *_ = printed.split("FeatureGroup([")[1:]
    assert '0: "piano"' in found
    assert "piano" not in near
    assert '{7: Feature("piano"), 1: Feature("river")}' in printed
    assert "(14, 65536)" in printed
    plain, steered = (
        dict(re.findall(r"'([^']*)': ([-0-9.]+)", line)) for line in printed.splitlines() if "logits={" in line
    )
    assert " said" in plain
    assert float(steered[" piano"]) > float(steered[" ship"]) + 3
    assert "AttributionResponse(features=[FeatureAttribution(feature=Feature(" in printed
    assert 'Feature("ship"): 2.0' in printed
    assert "NestedScope(" in printed
    assert "ConditionalGroup([" in printed
    assert printed.splitlines()[-1] == "aborted"
