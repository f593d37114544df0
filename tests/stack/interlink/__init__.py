"""Virtual nodes: real interLink, and a site of our own behind it."""
