"""The decisions: pure, without clock, I/O, threads or chance."""
