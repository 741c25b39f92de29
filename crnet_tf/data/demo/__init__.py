"""The demo set: shapes of 20 classes, scenes of several of them, and the folder they are built
into."""
