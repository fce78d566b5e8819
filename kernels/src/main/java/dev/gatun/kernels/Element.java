package dev.gatun.kernels;

/** The element types that kernels have variants for. */
public enum Element {
  F32,
  BF16;

  /** As in a kernel's name. */
  String suffix() {
    return this == F32 ? "f32" : "bf16";
  }

  /** Elements in 16 bytes: what a thread reads at once. */
  int chunk() {
    return this == F32 ? 4 : 8;
  }
}
