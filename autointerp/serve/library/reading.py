"""Questions that the model answers."""

from autointerp.library.remote import shapes
from autointerp.library.run import Run
from autointerp.records.attribution import TokenAttribution
from autointerp.records.dose import Dose
from autointerp.records.live import TextFirings
from autointerp.records.on_texts import OnTexts


def firings(run: Run, asked: shapes.Read) -> list[shapes.WireRecord[TextFirings]]:
    """What features do on texts."""
    edits = [of.read() for of in asked.edits]
    found = run.firings(asked.texts, asked.source, None, edits, asked.scope.read())
    return [shapes.WireFirings.of(of) for of in found]


def attribution(run: Run, asked: shapes.Attributed) -> shapes.WireRecord[TokenAttribution]:
    """What pushes a token."""
    found = run.attribution(asked.text, asked.token(), asked.source)
    return shapes.WireAttribution.of(found)


def doses(run: Run, asked: shapes.Some) -> list[Dose]:
    """What strength 1 is for features."""
    return run.doses(asked.features or [], asked.source)


def on_own_texts(run: Run, asked: shapes.OwnTexts) -> shapes.WireRecord[OnTexts]:
    """What features do on texts of the run's corpus."""
    found = run.on_own_texts(asked.features, asked.n, asked.seed, asked.source)
    return shapes.WireOnTexts.of(found)
