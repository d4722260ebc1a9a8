"""From a request to a record: plan runs, order them, execute them here or on a cluster."""
