"""Exported graphs -> folders of files (SavedModel, TFLite, ONNX), numbered, compared with the
checkpoint."""
