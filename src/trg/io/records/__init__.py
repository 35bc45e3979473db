"""Result records: JSON Lines, CSV and Parquet, written so that a run can be resumed."""
