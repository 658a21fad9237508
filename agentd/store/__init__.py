"""What is kept on disk: SQLite in WAL mode."""
