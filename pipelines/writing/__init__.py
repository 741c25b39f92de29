"""What builders add to `data.writing`: their flags, and the writer on many machines."""
