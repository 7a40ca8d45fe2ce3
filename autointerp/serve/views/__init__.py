"""What each page says, as plain values: the page's JSON is its view."""
