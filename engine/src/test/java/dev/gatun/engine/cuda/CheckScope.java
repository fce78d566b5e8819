package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.OpCase.Layout;
import dev.gatun.kernels.KernelCall;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What a check of kernels has on a device: tensors and tables, gone at its end. */
final class CheckScope implements AutoCloseable {
  private final CudaDevice device;
  private final Owned owned = new Owned();
  private final List<Buffer> buffers = new ArrayList<>();

  CheckScope(CudaDevice device) {
    this.device = device;
  }

  /** Where kernels say what is wrong with their data. */
  long refusal() {
    return device.refusal();
  }

  /** A zeroed tensor. */
  Tensor tensor(TensorSpec spec) {
    Tensor tensor = owned.add(Tensor.allocate(device, spec));
    buffers.add(tensor.buffer());
    return tensor;
  }

  /** The n-th tensor of a case, where its layout has it. */
  Tensor place(TensorSpec spec, Layout layout, int n) {
    long bytes = (long) layout.skipped(n) * spec.dtype().bytes();
    return Tensor.view(memory(bytes + spec.sizeBytes()), bytes, spec);
  }

  Tensor poisoned(DType type, int... dims) {
    return poison(tensor(TensorSpec.of(type, dims)));
  }

  /** All ones is a NaN in every float format: an element nobody writes shows. */
  Tensor poison(Tensor tensor) {
    byte[] poison = new byte[(int) tensor.spec().sizeBytes()];
    Arrays.fill(poison, (byte) 0xFF);
    return tensor.write(MemorySegment.ofArray(poison));
  }

  /** Rounded to the dtype. */
  Tensor of(DType type, double[] values, int... dims) {
    return tensor(TensorSpec.of(type, dims)).writeDoubles(values);
  }

  /** Normal with mean 0, rounded to the dtype. */
  Tensor normal(DType type, int seed, double deviation, int... dims) {
    return of(type, normals(seed, deviation, TensorSpec.of(type, dims).shape().elements()), dims);
  }

  static double[] normals(int seed, double deviation, int n) {
    Philox philox = new Philox(seed);
    double[] values = new double[n];
    for (int i = 0; i < n; i++) {
      values[i] = deviation * philox.normal(Philox.Stream.TEST, 0, i);
    }
    return values;
  }

  Tensor bytes(byte[] values, int... dims) {
    return tensor(TensorSpec.of(DType.U8, dims)).write(values);
  }

  /** Address of i32 numbers in device memory. */
  long table(int... values) {
    Buffer buffer = memory((long) Integer.BYTES * values.length);
    device.upload(MemorySegment.ofArray(values), buffer, 0);
    return buffer.address();
  }

  Buffer memory(long sizeBytes) {
    Buffer buffer = owned.add(device.allocate(Math.max(1, sizeBytes)));
    buffers.add(buffer);
    return buffer;
  }

  /** Runs the kernels, and returns when they are done. */
  void launch(KernelCall... calls) {
    try (CudaLaunch launch = device.launchCalls("a check", buffers, List.of(calls))) {
      launch.run();
      device.synchronize();
    }
  }

  static byte[] raw(Tensor tensor) {
    byte[] bytes = new byte[(int) tensor.spec().sizeBytes()];
    tensor.read(MemorySegment.ofArray(bytes));
    return bytes;
  }

  @Override
  public void close() {
    owned.close();
  }
}
