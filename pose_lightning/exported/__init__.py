"""Networks in files that say what they are, asked without PyTorch: nothing here imports it."""
