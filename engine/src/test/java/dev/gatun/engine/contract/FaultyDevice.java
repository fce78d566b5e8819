package dev.gatun.engine.contract;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** A device that does what another one does, and then something wrong. */
final class FaultyDevice extends Device {
  /** What goes wrong, once the results of run {@code run} (from 0) are there. */
  interface Fault {
    void spoil(int run, List<Tensor> results, List<byte[]> before);
  }

  /** Does nothing: the wrapper by itself is not at fault. */
  static final Fault NONE = (run, results, before) -> {};

  /** Makes the last element of the first result a NaN. */
  static final Fault NAN =
      (run, results, before) -> change(results.getFirst(), -1, v -> Double.NaN);

  private final Device inner;
  private final Fault fault;

  private FaultyDevice(Device inner, Fault fault) {
    this.inner = inner;
    this.fault = fault;
  }

  static FaultyDevice overCpu(Fault fault) {
    return new FaultyDevice(Devices.open("cpu"), fault);
  }

  /** Rewrites one element, counted from the end where negative. */
  static void change(Tensor tensor, int element, java.util.function.DoubleUnaryOperator by) {
    double[] values = tensor.toDoubles();
    int i = element < 0 ? values.length + element : element;
    values[i] = by.applyAsDouble(values[i]);
    tensor.writeDoubles(values);
  }

  static byte[] raw(Tensor tensor) {
    byte[] bytes = new byte[(int) tensor.spec().sizeBytes()];
    tensor.read(MemorySegment.ofArray(bytes));
    return bytes;
  }

  @Override
  public String name() {
    return inner.name();
  }

  @Override
  public String description() {
    return inner.description();
  }

  @Override
  public DType preferredDType() {
    return inner.preferredDType();
  }

  @Override
  public String refuses(DType dtype) {
    return inner.refuses(dtype);
  }

  @Override
  protected Buffer allocateMemory(long sizeBytes) {
    return inner.allocate(sizeBytes);
  }

  @Override
  public void upload(MemorySegment source, Buffer target, long targetOffsetBytes) {
    inner.upload(source, target, targetOffsetBytes);
  }

  @Override
  public void download(Buffer source, long sourceOffsetBytes, MemorySegment target) {
    inner.download(source, sourceOffsetBytes, target);
  }

  @Override
  public boolean supports(Op op, List<TensorSpec> inputs) {
    return inner.supports(op, inputs);
  }

  @Override
  public Launch prepare(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    Launch launch = inner.prepare(op, inputs, outputs);
    List<Tensor> results = new ArrayList<>(outputs);
    op.mutates().forEach(i -> results.add(inputs.get(i)));
    return new Launch() {
      private int runs;

      @Override
      public void run() {
        List<byte[]> before = results.stream().map(FaultyDevice::raw).toList();
        launch.run();
        fault.spoil(runs++, results, before);
      }

      @Override
      public void close() {
        launch.close();
      }
    };
  }

  @Override
  public Launch record(List<Launch> launches) {
    return new Launch() {
      @Override
      public void run() {
        launches.forEach(Launch::run);
      }

      @Override
      public void close() {
        launches.forEach(Launch::close);
      }
    };
  }

  @Override
  public void close() {
    inner.close();
  }
}
