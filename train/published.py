"""What the MindSpore model zoo's page on MIMO-UNet gives of its training and evaluation, row by row as it
stands there, to be put beside a run of ours."""

from __future__ import annotations

from dataclasses import dataclass

TRAINING_ROWS = (
    "Model Version",
    "Resources",
    "Uploaded Date",
    "Framework Version",
    "Dataset",
    "Training Parameters",
    "Optimizer",
    "Outputs",
    "Speed",
    "Total time",
    "Checkpoint for Fine tuning",
)
"""The page has "MindSpore Version" where we have "Framework Version"."""

EVALUATION_ROWS = (
    "Model Version",
    "Resources",
    "Uploaded Date",
    "Framework Version",
    "Datasets",
    "Batch_size",
    "Speed",
    "Outputs",
    "PSNR metric",
)

TRAINING: dict[str, tuple[str, ...]] = {
    "MIMO-UNet (1xGPU)": (
        "MIMO-UNet",
        "1x NV RTX3090-24G",
        "04 / 12 / 2022 (month/day/year)",
        "MindSpore 1.6.1",
        "GOPRO_Large",
        "batch_size=4, lr=0.0001 and bisected every 500 epochs",
        "Adam",
        "images",
        "132 ms/step",
        "5d 6h 4m",
        "26MB (.ckpt file)",
    ),
    "MIMO-UNet (8xGPU)": (
        "MIMO-UNet",
        "8x NV RTX3090-24G",
        "04 / 12 / 2022 (month/day/year)",
        "MindSpore 1.6.1",
        "GOPRO_Large",
        "batch_size=4, lr=0.0005 and bisected every 500 epochs",
        "Adam",
        "images",
        "167 ms/step",
        "9h 15m",
        "26MB (.ckpt file)",
    ),
    "MIMO-UNet (1xNPU)": (
        "MIMO-UNet",
        "1x Ascend 910",
        "15 / 11 / 2022 (month/day/year)",
        "MindSpore 1.8.0",
        "GOPRO_Large",
        "batch_size=4, lr=0.0001 and bisected every 500 epochs, net fp16, O3, DynamicLossScaleManager",
        "Adam",
        "images",
        "63 ms/step",
        "1d 4h 54m",
        "109MB (.ckpt file)",
    ),
}
"""Columns by name, each with a cell for every one of `TRAINING_ROWS`."""

EVALUATION: dict[str, tuple[str, ...]] = {
    "MIMO-UNet (1xGPU)": (
        "MIMO-UNet",
        "1x V100",
        "12 / 21 / 2022 (month/day/year)",
        "MindSpore 1.9.0",
        "GOPRO_Large",
        "1",
        "195 ms/step",
        "images",
        "1p: 31.47",
    ),
    "MIMO-UNet train fp16 O3 DLS": (
        "MIMO-UNet",
        "1x Ascend 910",
        "12 / 21 / 2022 (month/day/year)",
        "MindSpore 1.9.0",
        "GOPRO_Large",
        "1",
        "61 ms/step",
        "images",
        "1p: 31.511",
    ),
    "MIMO-UNet with original weights": (
        "MIMO-UNet",
        "1x Ascend 910",
        "12 / 21 / 2022 (month/day/year)",
        "MindSpore 1.9.0",
        "GOPRO_Large",
        "1",
        "63 ms/step",
        "images",
        "1p: 31.7",
    ),
}
"""Columns by name, each with a cell for every one of `EVALUATION_ROWS`."""

EPOCHS, PAIRS, BATCH = 3000, 2103, 4
"""What the total times are of: the paper's epochs over GOPRO_Large's training split, BATCH pairs a device."""


@dataclass(frozen=True)
class Timing:
    """One of the page's trainings: milliseconds a step, devices, and the total in seconds that it gives."""

    devices: int
    ms_per_step: float
    total_seconds: float

    @property
    def steps(self) -> int:
        """Steps that the training has; the epoch's last pairs, fewer than a joint batch, make one of their
        own."""
        return EPOCHS * -(-PAIRS // (BATCH * self.devices))

    @property
    def seconds(self) -> float:
        """What the steps come to at the speed that is given."""
        return self.steps * self.ms_per_step / 1000.0


TIMINGS: dict[str, Timing] = {
    "MIMO-UNet (1xGPU)": Timing(1, 132.0, 5 * 86400 + 6 * 3600 + 4 * 60),
    "MIMO-UNet (8xGPU)": Timing(8, 167.0, 9 * 3600 + 15 * 60),
    "MIMO-UNet (1xNPU)": Timing(1, 63.0, 86400 + 4 * 3600 + 54 * 60),
}
