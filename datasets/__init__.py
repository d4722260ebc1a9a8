"""What a task is: where its cases are, how they are prepared, how they are split."""
