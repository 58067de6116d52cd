"""Side-by-side benchmarks against the same servers, in one run: `make bench`, `make bench SIZE=small`.

stand.py has the servers and the databases, contestants.py what is compared, measure.py the stopwatch, report.py the
named figures and their goals. backup.py, restore.py, verification.py, catalog.py and dag_files.py are the disciplines:
each returns one Section or several.
"""
