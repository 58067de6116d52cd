"""The row that COPY cannot print is found by halves, not by reading row by row."""
