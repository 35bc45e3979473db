"""Writers of labelled faces in the data sets' own folder formats."""
