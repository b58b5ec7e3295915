"""Door three: a user's own ONNX file as a module that can be trained."""
