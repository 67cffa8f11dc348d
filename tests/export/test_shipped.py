"""The checkpoint in the repository and the INT8 file in the package are the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from picosam_sdk import ModelCard, load_image
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.modelcard import DEFAULT_MODEL
from picosam_sdk.samples import sample_photos
from picosam_sdk.training import net
from picosam_sdk.training.train import load_weights
from picosam_sdk.types import Roi


def test_torch_and_int8_agree_on_the_sample_photographs(root: Path) -> None:
    checkpoint = root / "models" / "picosam3-lite.pt"
    assert checkpoint.stat().st_size < 3e6
    record = load_weights(checkpoint)
    card = ModelCard.read(DEFAULT_MODEL)
    assert card.training["crops"] == record["crops"]
    model = net.build(record["network"], attention=record["attention"]).eval()
    model.load_state_dict(record["state"])
    assert card.parameters == net.count_parameters(model)
    crops = []
    for photo in sample_photos():
        image = load_image(photo.path)
        for prompt in photo.prompts:
            if prompt.box is not None:
                roi = Roi.from_pixels(*prompt.box, image)
                box = crop_box(roi, image.shape[1], image.shape[0], card.crop)
                crops.append(crop(image, box, card.crop.size_px))
    batch = np.stack(crops)
    logits, iou = OnnxBackend().infer(batch)
    with torch.no_grad():
        expected, expected_iou = model(torch.from_numpy(batch).permute(0, 3, 1, 2).float())
    first, second = logits > 0, expected[:, 0].numpy() > 0
    agreement = (first & second).sum((1, 2)) / (first | second).sum((1, 2))
    assert agreement.mean() > 0.97
    assert agreement.min() > 0.9
    assert np.abs(iou - expected_iou.numpy()).max() < 0.06
