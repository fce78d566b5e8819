package dev.gatun.engine;

import java.util.Arrays;

/** The extents of a tensor, outermost first; images are {@code [N,H,W,C]}. Immutable. */
public final class Shape {
  private final int[] dims;

  private Shape(int[] dims) {
    this.dims = dims;
  }

  /**
   * A shape with the given extents; no extents at all is a scalar.
   *
   * @throws ShapeException if an extent is negative or the number of elements exceeds 2^31 - 1
   */
  public static Shape of(int... dims) {
    long elements = 1;
    for (int dim : dims) {
      if (dim < 0) {
        throw new ShapeException("negative extent in shape " + Arrays.toString(dims));
      }
      elements *= dim;
      if (elements > Integer.MAX_VALUE) {
        throw new ShapeException("more than 2^31-1 elements in shape " + Arrays.toString(dims));
      }
    }
    return new Shape(dims.clone());
  }

  public int rank() {
    return dims.length;
  }

  /** The extent of axis {@code axis}; negative axes count from the end, so -1 is the innermost. */
  public int dim(int axis) {
    return dims[axis < 0 ? dims.length + axis : axis];
  }

  /** Number of elements; 1 for a scalar. */
  public int elements() {
    int elements = 1;
    for (int dim : dims) {
      elements *= dim;
    }
    return elements;
  }

  /** Product of all extents but the innermost: the rows of the tensor seen as a matrix. */
  public int rows() {
    return dims.length == 0 ? 1 : elements() / Math.max(1, dim(-1));
  }

  /** The same shape with another innermost extent. */
  public Shape withLast(int last) {
    int[] copy = dims.clone();
    copy[copy.length - 1] = last;
    return of(copy);
  }

  public int[] toArray() {
    return dims.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  /** As in messages: {@code [2,32,32,96]}. */
  @Override
  public String toString() {
    return Arrays.toString(dims).replace(" ", "");
  }
}
