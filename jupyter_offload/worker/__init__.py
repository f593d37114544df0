"""What travels with a worker to a site: one file that any Python with ``distributed`` runs, and what it is told.

``bundle.py`` writes the file, ``job.py`` says what each worker is told, ``endings.py`` how it says why it ended; backends import
these. The rest runs at the site. Everything but ``bundle.py`` and ``inside.py`` keeps to Python 3.8, so that an image with an old
Python says so instead of failing by a syntax error. ``docs/decisions/0013-what-travels-to-a-site.md`` has the reasons.
"""
