"""Our own wire format: what `autointerp.open("http://…")` asks, in the shapes of `library.remote`."""
