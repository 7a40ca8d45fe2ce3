"""What the page of a map is asked, and what it says."""

from datetime import datetime

from autointerp.serve.shapes import Text
from autointerp.serve.views.asked import Asked, Place
from autointerp.serve.views.shown import View
from autointerp.serve.views.source_shapes import Row

SIDE = 65_535
"""Where points lie: from 0 to so much across, and down from the top."""
STEPS = 1_000
"""Values of a column: from 0, its lowest, to so much, its highest."""


class MapAsked(Asked):
    """What is asked of a map, as it stands in the page's address.

    Attributes:
        cluster: Number of the cluster whose features are listed.
        colour: What points are coloured by: `cluster`, `density`, `max_activation`, or `score:NAME`.
    """

    cluster: Place = None
    colour: Text = "cluster"


class Cluster(View):
    """Labels that lie together.

    Attributes:
        number: Of the cluster.
        name: The words that tell it from the others.
        n: Labels in it, when the map was made.
        x: Middle of it, from 0 to 1.
        y: The same, from 0 at the top to 1.
    """

    number: int
    name: str
    n: int
    x: float
    y: float


class Made(View):
    """A map that was made.

    Attributes:
        at: When, UTC.
        embedder: Of the labels.
        seed: Of the layout.
        n_points: Labels on it.
        n_unplaced: Labels that came after it.
        n_gone: Labels that were on it and are not current any more.
        clusters: By number.
    """

    at: datetime
    embedder: str
    seed: int
    n_points: int
    n_unplaced: int
    n_gone: int
    clusters: tuple[Cluster, ...]


class MapView(View):
    """What the page of a map says.

    Attributes:
        id: `model@source`.
        path: Of the page.
        source_path: Of the source's page.
        run: Name of the run.
        asked: What was asked.
        made: The map; None where none was made yet.
        command: What makes one.
        colours: What points can be coloured by.
        listed: The cluster whose features are listed.
        n_listed: How many there are.
        rows: The first of them.
    """

    id: str
    path: str
    source_path: str
    run: str
    asked: MapAsked
    made: Made | None
    command: str
    colours: tuple[str, ...]
    listed: Cluster | None
    n_listed: int
    rows: tuple[Row, ...]


class Column(View):
    """What points can be coloured by.

    Attributes:
        name: `density`, `max_activation` or `score:NAME`.
        low: The value of 0.
        high: The value of `STEPS`.
        is_log: Whether steps are of the logarithm.
        values: One a point; -1 where there is none.
    """

    name: str
    low: float
    high: float
    is_log: bool
    values: list[int]


class MapPoints(View):
    """The points of a map, each a labelled feature, as columns.

    Attributes:
        feature: Feature of each.
        x: Place of each, from 0 to `SIDE`.
        y: The same, from the top.
        cluster: Number of each one's cluster; -1 where it is in none.
        columns: What they can be coloured by.
        labels: Label of each; None where there are so many that they are asked for when they are needed.
    """

    feature: list[int]
    x: list[int]
    y: list[int]
    cluster: list[int]
    columns: list[Column]
    labels: list[str] | None
