"""Pages to look at features: server-rendered HTML of the views, which read and work without JavaScript."""
