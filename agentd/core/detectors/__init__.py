"""One file a detector: plain values in, a verdict with its evidence out."""
