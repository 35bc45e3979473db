"""``trg predict`` without its console: failed inputs are reported, and the others are processed.

::

    photos ──> read ──> estimator.batch ──┐                    ┌──> records
    videos ──> read ──> estimator.stream ─┴──> known eye       ├──> drawings
                                               distance ───────┴──> meshes

An input is finished when all its outputs are written.
"""
