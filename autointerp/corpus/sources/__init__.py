"""Text of any kind on disk or from the hub, to documents."""
