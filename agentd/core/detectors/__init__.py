"""One file a detector; registered in `DETECTORS`."""
