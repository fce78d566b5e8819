package dev.gatun.engine;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A dense row-major array on a device: a place in a {@link Buffer}, a shape and a dtype. Images are
 * NHWC. A tensor made by {@link #allocate} owns its buffer; a {@link #view} does not. One made by
 * {@link Device#wrap} lies in memory of the caller's.
 */
public final class Tensor implements AutoCloseable {
  private final Buffer buffer;
  private final long offsetBytes;
  private final TensorSpec spec;
  private final boolean owner;

  private Tensor(Buffer buffer, long offsetBytes, TensorSpec spec, boolean owner) {
    if (offsetBytes < 0 || offsetBytes + spec.sizeBytes() > buffer.sizeBytes()) {
      throw new IllegalArgumentException(
          "tensor "
              + spec
              + " at byte "
              + offsetBytes
              + " does not fit a buffer of "
              + buffer.sizeBytes()
              + " bytes");
    }
    this.buffer = buffer;
    this.offsetBytes = offsetBytes;
    this.spec = spec;
    this.owner = owner;
  }

  /** A zeroed tensor with a buffer of its own. */
  public static Tensor allocate(Device device, DType dtype, int... dims) {
    return allocate(device, TensorSpec.of(dtype, dims));
  }

  public static Tensor allocate(Device device, TensorSpec spec) {
    return new Tensor(device.allocate(Math.max(1, spec.sizeBytes())), 0, spec, true);
  }

  /** A tensor that is all of the caller's memory. */
  static Tensor wrap(Device device, MemorySegment memory, TensorSpec spec) {
    return new Tensor(new Buffer(device, memory), 0, spec, true);
  }

  /** A tensor inside a buffer that somebody else owns. */
  public static Tensor view(Buffer buffer, long offsetBytes, TensorSpec spec) {
    return new Tensor(buffer, offsetBytes, spec, false);
  }

  /** The same memory seen with another shape of as many elements. */
  public Tensor reshape(int... dims) {
    Shape shape = Shape.of(dims);
    if (shape.elements() != spec.shape().elements()) {
      throw new ShapeException("cannot reshape " + spec + " to " + shape);
    }
    return new Tensor(buffer, offsetBytes, new TensorSpec(shape, spec.dtype()), false);
  }

  public Buffer buffer() {
    return buffer;
  }

  public Device device() {
    return buffer.device();
  }

  public long offsetBytes() {
    return offsetBytes;
  }

  /** Device address of the first element. */
  public long address() {
    return buffer.address() + offsetBytes;
  }

  public TensorSpec spec() {
    return spec;
  }

  public Shape shape() {
    return spec.shape();
  }

  public DType dtype() {
    return spec.dtype();
  }

  public int elements() {
    return spec.shape().elements();
  }

  /** Copies raw bytes in the tensor's dtype, little-endian, from host memory of the same size. */
  public Tensor write(MemorySegment source) {
    if (source.byteSize() != spec.sizeBytes()) {
      throw new IllegalArgumentException(
          "write of " + source.byteSize() + " bytes into tensor " + spec);
    }
    device().upload(source, buffer, offsetBytes);
    buffer.touch();
    return this;
  }

  /** Copies the tensor's raw bytes to host memory of the same size. */
  public void read(MemorySegment target) {
    if (target.byteSize() != spec.sizeBytes()) {
      throw new IllegalArgumentException(
          "read of tensor " + spec + " into " + target.byteSize() + " bytes");
    }
    device().download(buffer, offsetBytes, target);
  }

  /** Rounds values to the dtype and copies them in; for every dtype. */
  public Tensor write(float... values) {
    requireLength(values.length);
    switch (dtype()) {
      case F32 -> write(MemorySegment.ofArray(values));
      case BF16 -> {
        short[] bits = new short[values.length];
        for (int i = 0; i < bits.length; i++) {
          bits[i] = DType.toBf16(values[i]);
        }
        write(MemorySegment.ofArray(bits));
      }
      default -> {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
          wide[i] = values[i];
        }
        writeDoubles(wide);
      }
    }
    return this;
  }

  /** Copies bytes into a u8 tensor. */
  public Tensor write(byte... values) {
    require(DType.U8);
    return write(MemorySegment.ofArray(values));
  }

  /** Copies into an i32 tensor. */
  public Tensor write(int... values) {
    require(DType.I32);
    return write(MemorySegment.ofArray(values));
  }

  /** Rounds values to the dtype (integers must be whole) and copies them in. */
  public Tensor writeDoubles(double... values) {
    requireLength(values.length);
    switch (dtype()) {
      case F64 -> write(MemorySegment.ofArray(values));
      case F32, BF16 -> {
        float[] narrow = new float[values.length];
        for (int i = 0; i < narrow.length; i++) {
          narrow[i] = (float) values[i];
        }
        write(narrow);
      }
      case U8 -> {
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
          bytes[i] = (byte) (int) values[i];
        }
        write(bytes);
      }
      case I32 -> {
        int[] ints = new int[values.length];
        for (int i = 0; i < ints.length; i++) {
          ints[i] = (int) values[i];
        }
        write(ints);
      }
    }
    return this;
  }

  /** The values of an f32 or bf16 tensor. */
  public float[] toFloats() {
    float[] values = new float[elements()];
    if (dtype() == DType.F32) {
      read(MemorySegment.ofArray(values));
    } else {
      double[] wide = toDoubles();
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) wide[i];
      }
    }
    return values;
  }

  /** The values of a u8 tensor. */
  public byte[] toBytes() {
    require(DType.U8);
    byte[] values = new byte[elements()];
    read(MemorySegment.ofArray(values));
    return values;
  }

  /** The values of a tensor of any dtype, exactly. */
  public double[] toDoubles() {
    int n = elements();
    double[] values = new double[n];
    MemorySegment raw = MemorySegment.ofArray(new long[(int) ((spec.sizeBytes() + 7) / 8)]);
    MemorySegment exact = raw.asSlice(0, spec.sizeBytes());
    read(exact);
    for (int i = 0; i < n; i++) {
      values[i] =
          switch (dtype()) {
            case F32 -> exact.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            case BF16 -> DType.fromBf16(exact.getAtIndex(ValueLayout.JAVA_SHORT, i));
            case U8 -> exact.get(ValueLayout.JAVA_BYTE, i) & 0xFF;
            case I32 -> exact.getAtIndex(ValueLayout.JAVA_INT, i);
            case F64 -> exact.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
          };
    }
    return values;
  }

  /** The single value of a one-element tensor. */
  public double item() {
    if (elements() != 1) {
      throw new ShapeException("item() needs one element, this is " + spec);
    }
    return toDoubles()[0];
  }

  private void requireLength(int length) {
    if (length != elements()) {
      throw new ShapeException(length + " values for tensor " + spec);
    }
  }

  private void require(DType wanted) {
    if (dtype() != wanted) {
      throw new ShapeException("tensor " + spec + " is not " + wanted.label());
    }
  }

  @Override
  public void close() {
    if (owner) {
      buffer.close();
    }
  }

  @Override
  public String toString() {
    return spec + " on " + device().name();
  }
}
