"""Documents of the daemon → what a person reads. Pure."""
