package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TensorTest extends WithDevice {
  @ParameterizedTest
  @EnumSource(DType.class)
  void memoryStartsAsZerosAndKeepsWhatIsWritten(DType type) {
    try (Tensor tensor = Tensor.allocate(device, type, 2, 3)) {
      assertArrayEquals(new double[6], tensor.toDoubles());
      assertEquals(0, tensor.address() % 64);
      double[] values = {0, 1, 2, 3, 254, 255};
      tensor.writeDoubles(values);
      double[] expected = type == DType.BF16 ? new double[] {0, 1, 2, 3, 254, 255} : values;
      assertArrayEquals(expected, tensor.toDoubles());
      tensor.write(5f, 4f, 3f, 2f, 1f, 0f);
      assertArrayEquals(new double[] {5, 4, 3, 2, 1, 0}, tensor.toDoubles());
      byte[] raw = new byte[6 * type.bytes()];
      tensor.read(MemorySegment.ofArray(raw));
      try (Tensor copy = Tensor.allocate(device, type, 6)) {
        copy.write(MemorySegment.ofArray(raw));
        assertArrayEquals(tensor.toDoubles(), copy.toDoubles());
      }
    }
  }

  @Test
  void valuesAreRoundedToTheDtypeOfTheTensor() {
    try (Tensor tensor = Tensor.allocate(device, DType.BF16, 3)) {
      tensor.write(1.00390625f, -3.14159f, 1e30f);
      assertArrayEquals(
          new float[] {1f, -3.140625f, DType.fromBf16(DType.toBf16(1e30f))}, tensor.toFloats());
    }
    try (Tensor tensor = Tensor.allocate(device, DType.F32, 1)) {
      tensor.writeDoubles(1 + 0x1p-30);
      assertEquals(1, tensor.item());
    }
  }

  @Test
  void sizesAndDtypesThatDoNotFitAreErrors() {
    try (Tensor tensor = Tensor.allocate(device, DType.F32, 2, 3)) {
      ShapeException e = assertThrows(ShapeException.class, () -> tensor.write(1f, 2f));
      assertEquals("2 values for tensor [2,3] f32", e.getMessage());
      assertThrows(ShapeException.class, () -> tensor.reshape(7));
      assertThrows(ShapeException.class, tensor::item);
      assertThrows(ShapeException.class, tensor::toBytes);
      assertThrows(ShapeException.class, () -> tensor.write(new byte[6]));
      assertThrows(
          IllegalArgumentException.class, () -> tensor.write(MemorySegment.ofArray(new byte[4])));
      assertThrows(
          IllegalArgumentException.class, () -> tensor.read(MemorySegment.ofArray(new byte[4])));
      assertThrows(
          IllegalArgumentException.class, () -> Tensor.view(tensor.buffer(), 4, tensor.spec()));
      assertThrows(
          IllegalArgumentException.class,
          () -> Tensor.view(tensor.buffer(), -4, TensorSpec.of(DType.F32, 1)));
    }
  }

  @Test
  void useAfterCloseIsAnError() {
    Tensor tensor = Tensor.allocate(device, DType.F32, 4);
    Tensor view = tensor.reshape(2, 2);
    view.close();
    tensor.write(1f, 2, 3, 4);
    tensor.close();
    tensor.close();
    IllegalStateException e = assertThrows(IllegalStateException.class, view::toFloats);
    assertTrue(e.getMessage().contains("after close"), e.getMessage());
    assertThrows(IllegalStateException.class, () -> tensor.write(1f, 2, 3, 4));
    assertEquals(0, device.allocatedBytes());
  }

  @Test
  void buffersOfAnotherDeviceAreRefused() {
    try (Device other = Devices.open("cpu");
        Tensor here = Tensor.allocate(device, DType.F32, 4)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> other.upload(MemorySegment.ofArray(new float[4]), here.buffer(), 0));
      assertThrows(
          IllegalArgumentException.class,
          () -> other.download(here.buffer(), 0, MemorySegment.ofArray(new float[4])));
      assertThrows(
          IllegalArgumentException.class, () -> other.apply(new dev.gatun.engine.op.Relu(), here));
      assertThrows(
          IndexOutOfBoundsException.class,
          () -> device.download(here.buffer(), 4, MemorySegment.ofArray(new float[4])));
    }
  }

  @Test
  void aWriteChangesTheVersion() {
    try (Tensor tensor = Tensor.allocate(device, DType.F32, 1)) {
      long before = tensor.buffer().version();
      assertEquals(before, tensor.buffer().version());
      tensor.write(1f);
      assertNotEquals(before, tensor.buffer().version());
    }
  }

  @Test
  void whatThereIsNoRoomForIsAnErrorThatNamesTheSize() {
    OutOfMemoryException e =
        assertThrows(OutOfMemoryException.class, () -> device.allocate(1L << 55));
    assertTrue(e.getMessage().matches(".*(36028797018963968|32768.0 TiB).*"), e.getMessage());
    assertTrue(e.getMessage().contains(device.name()), e.getMessage());
    assertEquals(0, device.allocatedBytes());
  }

  @Test
  void shapesKnowTheirExtents() {
    Shape shape = Shape.of(2, 3, 5, 7);
    assertEquals("[2,3,5,7]", shape.toString());
    assertEquals(210, shape.elements());
    assertEquals(30, shape.rows());
    assertEquals(7, shape.dim(-1));
    assertEquals(2, shape.dim(0));
    assertEquals(Shape.of(2, 3, 5, 9), shape.withLast(9));
    assertEquals(shape, Shape.of(shape.toArray()));
    assertEquals(1, Shape.of().elements());
    assertEquals(1, Shape.of().rows());
    assertThrows(ShapeException.class, () -> Shape.of(2, -1));
    assertThrows(ShapeException.class, () -> Shape.of(1 << 16, 1 << 16));
    assertThrows(ShapeException.class, () -> Shape.of(Integer.MAX_VALUE, 2, 1 << 30, 4));
  }
}
