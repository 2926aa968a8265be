"""Training, export and evaluation of MIMO-UNet in PyTorch. Runs from a clone and is not part of the wheel."""
