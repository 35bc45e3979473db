"""``trg label`` without its console: large collections of pictures to Parquet, shard by shard.

::

    folder, list, tars or Parquet ──> shards ──> label_shard ──> one Parquet file each ──> manifest

A shard has a name that follows from its pictures, and its file appears whole or not at all. Hence
the list of files says what is done: for a later run, and for other machines.
"""
