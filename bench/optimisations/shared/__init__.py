"""Hold the code that several schemes share: calibration, training, packing of weights, checks."""
