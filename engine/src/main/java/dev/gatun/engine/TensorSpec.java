package dev.gatun.engine;

/** What an op can know of a tensor before there is memory: its shape and dtype. */
public record TensorSpec(Shape shape, DType dtype) {
  public static TensorSpec of(DType dtype, int... dims) {
    return new TensorSpec(Shape.of(dims), dtype);
  }

  public long sizeBytes() {
    return (long) shape.elements() * dtype.bytes();
  }

  /** As in messages: {@code [2,32,32,96] bf16}. */
  @Override
  public String toString() {
    return shape + " " + dtype.label();
  }
}
