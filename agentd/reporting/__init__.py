"""What happened, as documents and as text to read; no clock, no file, no socket."""
