"""Networks whose softmax has M sparse channels."""
