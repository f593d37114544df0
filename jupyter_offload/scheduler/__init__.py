"""What runs in the user's environment: scheduler process, workers, zygote. Needs distributed only."""
