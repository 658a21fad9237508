"""Where alerts go: one file a kind of receiver, registered in `registry.SINKS`."""
