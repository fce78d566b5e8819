package dev.gatun.engine.train;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.io.SafetensorsFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * f32 values for a model's parameters, in one flat arena so that an optimizer step is one launch.
 * Moments, averages and gradients are arenas of the same layout.
 */
public final class Parameters implements AutoCloseable {
  private static final int ALIGNMENT = 64; // elements, so that each tensor starts on 256 bytes

  private final List<ParameterSpec> specs;
  private final Tensor flat;
  private final Map<String, Tensor> views = new LinkedHashMap<>();

  /** Zeros. */
  public Parameters(Device device, List<ParameterSpec> specs) {
    this.specs = List.copyOf(specs);
    long elements = 0;
    for (ParameterSpec spec : specs) {
      elements += padded(spec);
    }
    flat = Tensor.allocate(device, DType.F32, Math.toIntExact(elements));
    long offset = 0;
    for (ParameterSpec spec : specs) {
      Tensor view = Tensor.view(flat.buffer(), 4 * offset, new TensorSpec(spec.shape(), DType.F32));
      if (views.put(spec.name(), view) != null) {
        flat.close();
        throw new IllegalArgumentException("two parameters are named " + spec.name());
      }
      offset += padded(spec);
    }
  }

  private static long padded(ParameterSpec spec) {
    return (spec.shape().elements() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** Draws every parameter from the seed; the same on every device. */
  public void initialize(long seed) {
    Philox philox = new Philox(seed);
    int subsequence = 0;
    for (ParameterSpec spec : specs) {
      float[] values = new float[spec.shape().elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] =
            switch (spec.init()) {
              case ParameterSpec.Init.Normal n ->
                  (float) (n.deviation() * philox.normal(Philox.Stream.INIT, subsequence, i));
              case ParameterSpec.Init.Constant c -> c.value();
            };
      }
      views.get(spec.name()).write(values);
      subsequence++;
    }
  }

  /** All values as one vector, padding between parameters included (it stays zero). */
  public Tensor flat() {
    return flat;
  }

  /**
   * One parameter.
   *
   * @throws IllegalArgumentException if the model has none of that name
   */
  public Tensor get(String name) {
    Tensor view = views.get(name);
    if (view == null) {
      throw new IllegalArgumentException("no parameter named " + name);
    }
    return view;
  }

  public List<ParameterSpec> specs() {
    return specs;
  }

  /** Number of trainable values. */
  public long count() {
    return specs.stream().mapToLong(s -> s.shape().elements()).sum();
  }

  /**
   * Takes the values of others of the same names and shapes, of any device.
   *
   * @throws IllegalArgumentException naming the first that differs; nothing changes
   */
  public void copyFrom(Parameters other) {
    for (int i = 0; i < Math.max(specs.size(), other.specs.size()); i++) {
      String here = i < specs.size() ? described(specs.get(i)) : "nothing";
      String there = i < other.specs.size() ? described(other.specs.get(i)) : "nothing";
      if (!here.equals(there)) {
        throw new IllegalArgumentException(
            "parameters of another network: " + there + " where " + here + " is expected");
      }
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment raw = arena.allocate(flat.spec().sizeBytes());
      other.flat.read(raw);
      flat.write(raw);
    }
  }

  private static String described(ParameterSpec spec) {
    return spec.name() + " " + spec.shape();
  }

  /** The values as checkpoint entries, each name with {@code prefix} before it. */
  public List<SafetensorsEntry> entries(String prefix) {
    List<SafetensorsEntry> entries = new ArrayList<>();
    views.forEach((name, view) -> {
      float[] values = view.toFloats();
      MemorySegment data = MemorySegment.ofArray(new byte[4 * values.length]);
      MemorySegment.copy(MemorySegment.ofArray(values), 0, data, 0, data.byteSize());
      entries.add(new SafetensorsEntry(prefix + name, DType.F32, view.shape(), data));
    });
    return entries;
  }

  /**
   * Reads every parameter from a checkpoint.
   *
   * @throws FormatException naming the first tensor that is missing, of another shape or dtype;
   *     nothing has been changed then
   */
  public void load(Path path, SafetensorsFile file, String prefix) throws FormatException {
    requireIn(path, file, prefix);
    for (ParameterSpec spec : specs) {
      views.get(spec.name()).write(file.entries().get(prefix + spec.name()).data());
    }
  }

  /** Throws as {@link #load} would, and changes nothing. */
  public void requireIn(Path path, SafetensorsFile file, String prefix) throws FormatException {
    for (ParameterSpec spec : specs) {
      SafetensorsEntry entry = file.entries().get(prefix + spec.name());
      if (entry == null) {
        throw new FormatException(
            path,
            "has no tensor '" + prefix + spec.name() + "'",
            "it is a checkpoint of another model, or of another configuration");
      }
      if (entry.dtype() != DType.F32 || !entry.shape().equals(spec.shape())) {
        throw new FormatException(
            path,
            "tensor '"
                + prefix
                + spec.name()
                + "' is "
                + new TensorSpec(entry.shape(), entry.dtype())
                + ", the model needs "
                + new TensorSpec(spec.shape(), DType.F32),
            "it is a checkpoint of another model, or of another configuration");
      }
    }
    for (String name : file.entries().keySet()) {
      if (name.startsWith(prefix) && !views.containsKey(name.substring(prefix.length()))) {
        throw new FormatException(
            path,
            "has a tensor '" + name + "' that the model does not",
            "it is a checkpoint of another model, or of another configuration");
      }
    }
  }

  @Override
  public void close() {
    flat.close();
  }
}
