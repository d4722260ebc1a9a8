"""What a folder of unknown files contains."""
