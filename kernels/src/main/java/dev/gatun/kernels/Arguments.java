package dev.gatun.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A kernel's arguments in its order; also the members of a struct that is one of them. */
final class Arguments {
  private final List<byte[]> values = new ArrayList<>();

  /** A device address; 0 for a null pointer. */
  Arguments pointer(long address) {
    return int64(address);
  }

  Arguments int64(long value) {
    values.add(buffer(8).putLong(value).array());
    return this;
  }

  Arguments int32(int value) {
    values.add(buffer(4).putInt(value).array());
    return this;
  }

  Arguments float32(float value) {
    values.add(buffer(4).putFloat(value).array());
    return this;
  }

  Arguments float64(double value) {
    values.add(buffer(8).putDouble(value).array());
    return this;
  }

  /** A struct of these members, laid out as C++ does. */
  Arguments struct(Arguments members) {
    int alignment = 1;
    int size = 0;
    for (byte[] member : members.values) {
      alignment = Math.max(alignment, member.length);
      size = align(size, member.length) + member.length;
    }
    byte[] all = new byte[align(size, alignment)];
    int at = 0;
    for (byte[] member : members.values) {
      at = align(at, member.length);
      System.arraycopy(member, 0, all, at, member.length);
      at += member.length;
    }
    values.add(all);
    return this;
  }

  List<byte[]> toList() {
    return values;
  }

  private static int align(int at, int alignment) {
    return (at + alignment - 1) / alignment * alignment;
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public String toString() {
    return values.stream().map(Arrays::toString).toList().toString();
  }
}
