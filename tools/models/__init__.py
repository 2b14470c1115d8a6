"""The nets of models/, written from one table: `python -m tools.models` writes the folders anew."""
