"""Workers as pods: on virtual nodes of interLink, and on ordinary nodes."""
