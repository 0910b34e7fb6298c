"""Other people's tools: TensorBoard, MLflow, Gymnasium, ONNX and exported files."""
