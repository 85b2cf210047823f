"""Everything after training: export, quantization, verification, benchmarks."""
