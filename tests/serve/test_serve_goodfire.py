"""What the unmodified client of Goodfire's Ember gets from a run that is served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.clients import told_by_goodfire
from tests.serve.serving import answering

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(planted_runs: Path) -> Iterator[str]:
    serving = Serving(autointerp.open(planted_runs / "runs/demo"), Limits())
    assert list(serving.warm()) == []
    with answering(make_app(serving)) as at:
        yield at


def test_features_are_found_looked_up_and_put_in_order(goodfire: Path, address: str) -> None:
    told: Any = told_by_goodfire(
        goodfire,
        address,
        """
        found = client.features.search("river", model="planted", top_k=3)
        near = client.features.neighbors(found[0], model="planted", top_k=2)
        closer = client.features.rerank(found, "river", model="planted", top_k=1)
        group = client.features.lookup([7, 3], model="planted@0-res-12")
        told(
            found=[feature.label for feature in found],
            near=[feature.index_in_sae for feature in near],
            closer=[feature.label for feature in closer],
            looked_up={index: feature.label for index, feature in group.items()},
            is_same=found[0].uuid == __import__("uuid").UUID(client.features.lookup([1], "planted")[1].uuid),
        )
        """,
    )
    assert told["found"][0] == "river"
    assert len(told["found"]) == 3
    assert len(told["near"]) == 2
    assert 1 not in told["near"]
    assert told["closer"] == ["river"]
    assert told["looked_up"] == {"7": "piano", "3": "(no label)"}
    assert told["is_same"]
