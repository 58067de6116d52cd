"""File trees: directories, and buckets."""
