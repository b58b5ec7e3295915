"""From a trained model to a file that others can run: ONNX, TensorRT, a deploy folder; and running it again."""
