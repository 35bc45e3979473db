"""Head poses over HTTP: ``trg serve``.

::

    request --> body in memory --> pictures, options --> decoded in a small pool --> bounded queue
                                                                                         |
    records of `trg predict` <-- one thread per network: all that waits, as one batch <--+

What is too large, too slow or too much is refused (:mod:`trg.serve.limits`); a picture that cannot
be read is a record with an error. Nothing is read from, or written to, the disk for a request.
"""
