"""Training and pruning strategies: start architecture, schedule, filter selection and dropout."""
