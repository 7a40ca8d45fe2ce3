"""The coders that travel with the program: whole, of the size that is said of them, and read by SAELens itself."""

import json

import pytest
import torch
from sae_lens import SAE

from autointerp.assets import asset_folder
from autointerp.config.file import load_pipeline

SHIPPED = {
    "all-minilm-l6-v2-3-res-2k": (384, 2048, "blocks.3.hook_resid_post"),
    "smollm2-135m-instruct-14-res-4k": (576, 4096, "blocks.14.hook_resid_post"),
}
MOST_BYTES = 10_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_coder_is_read_by_saelens(name: str) -> None:
    folder = asset_folder("data") / name
    width, n_features, hook = SHIPPED[name]
    coder = SAE.load_from_disk(folder, dtype="float32")
    assert (coder.cfg.d_in, coder.cfg.d_sae, coder.cfg.metadata.hook_name) == (width, n_features, hook)
    assert coder.cfg.metadata.prepend_bos is True
    assert torch.isfinite(coder.W_enc).all()
    assert torch.isfinite(coder.W_dec).all()
    torch.testing.assert_close(coder.W_dec.norm(dim=1), torch.ones(n_features), atol=2e-3, rtol=0)
    assert json.loads((folder / "cfg.json").read_text())["dtype"] == "float16"
    assert sum(file.stat().st_size for file in folder.iterdir()) < MOST_BYTES


def test_what_is_said_of_smollm2s_coder_was_measured_on_both_kinds_of_text() -> None:
    measured = json.loads((asset_folder("data") / "smollm2-135m-instruct-14-res-4k" / "measured.json").read_text())
    assert measured["n_training_tokens"] >= 2_000_000
    for text in ("documentation", "conversations"):
        of = measured[text]
        lost = of["loss_mean"] - of["loss_plain"]
        recovered = (of["loss_mean"] - of["loss_reconstruction"]) / lost
        assert recovered == pytest.approx(of["loss_recovered"], abs=1e-3)
        assert of["loss_plain"] < of["loss_reconstruction"] < of["loss_mean"]


def test_the_chat_demo_is_of_the_shipped_coder_and_a_packaged_model() -> None:
    pipeline = load_pipeline("smollm2")
    (coder,) = pipeline.coder
    assert coder.path is not None
    assert coder.path.endswith("smollm2-135m-instruct-14-res-4k")
    assert pipeline.subject.model == "packaged:smollm2-135m-instruct"
    assert pipeline.corpus.chat
    assert (pipeline.features.sample or 0) >= 256
