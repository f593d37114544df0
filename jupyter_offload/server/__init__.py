"""The Jupyter server extension: authenticates, authorises, forwards."""
