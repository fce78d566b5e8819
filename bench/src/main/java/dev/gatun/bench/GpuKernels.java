package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.Taps;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** Single operations of the networks: what is timed, on which inputs, and what peers are told. */
final class GpuKernels {
  /** Launches that are recorded together on a GPU: their time alone is what is asked for. */
  private static final int CALLS = 20;

  private static final int LEVELS = 256;

  private GpuKernels() {}

  /** Applies ops to tensors; the same on every device. */
  private interface Body {
    /**
     * Prepares the ops, in order.
     *
     * @param out the results, in the order that the peer gives them
     */
    List<Launch> launches(Device device, DType type, List<Tensor> in, Bodies out);
  }

  /** Memory for what a body computes; the same again for each of several calls. */
  private static final class Bodies {
    private final Owned owned;
    private final List<Tensor> all = new ArrayList<>();
    private int used;
    final List<Tensor> results = new ArrayList<>();

    Bodies(Owned owned) {
      this.owned = owned;
    }

    void again() {
      used = 0;
      results.clear();
    }

    Tensor tensor(Device device, TensorSpec spec) {
      if (used == all.size()) {
        all.add(owned.add(Tensor.allocate(device, spec)));
      }
      return all.get(used++);
    }

    /** Launches an op on outputs that are added to a list. */
    Launch launch(Device device, Op op, List<Tensor> in, List<Tensor> outputs) {
      List<Tensor> own = new ArrayList<>();
      for (TensorSpec spec : op.check(in.stream().map(Tensor::spec).toList())) {
        own.add(tensor(device, spec));
      }
      outputs.addAll(own);
      return device.launch(op, in, own);
    }
  }

  /**
   * One row of the table.
   *
   * @param spec what the peer is told of it
   * @param inputs shapes, of f32 values (rounded to the row's dtype) or of bytes
   * @param gigaflops 0 where memory and not arithmetic is what it takes
   */
  record Case(
      String name, Map<String, Object> spec, List<TensorSpec> inputs, double gigaflops, Body body) {
    /** Of activations; f32 alone where there are none among the inputs. */
    List<DType> types() {
      boolean activations = inputs.stream().anyMatch(i -> i.dtype() != DType.F32);
      return activations ? List.of(DType.F32, DType.BF16) : List.of(DType.F32);
    }

    /** The inputs' values; the same for everybody. */
    private List<float[]> values(DType type) {
      List<float[]> all = new ArrayList<>();
      for (TensorSpec spec : inputs) {
        SplittableRandom random = new SplittableRandom(11 + all.size());
        float[] x = new float[spec.shape().elements()];
        for (int i = 0; i < x.length; i++) {
          if (spec.dtype() == DType.U8) {
            x[i] = random.nextInt(LEVELS);
          } else {
            float value = 2 * (random.nextInt(1 << 24) * 0x1p-24f) - 1;
            x[i] = type == DType.BF16 ? DType.fromBf16(DType.toBf16(value)) : value;
          }
        }
        all.add(x);
      }
      return all;
    }

    /** The inputs on a device: images as bytes, the rest as the ops take them. */
    private List<Tensor> upload(Device device, DType type, List<float[]> values, Owned owned) {
      List<Tensor> all = new ArrayList<>();
      for (int i = 0; i < inputs.size(); i++) {
        TensorSpec spec = inputs.get(i);
        // weights, biases, logits and the optimizer's are f32 whatever the activations are
        boolean activation = spec.dtype() == DType.BF16;
        DType own = spec.dtype() == DType.U8 ? DType.U8 : activation ? type : DType.F32;
        Tensor tensor = owned.add(Tensor.allocate(device, own, spec.shape().toArray()));
        if (own == DType.U8) {
          byte[] bytes = new byte[values.get(i).length];
          for (int k = 0; k < bytes.length; k++) {
            bytes[k] = (byte) (int) values.get(i)[k];
          }
          tensor.write(bytes);
        } else {
          tensor.write(values.get(i));
        }
        all.add(tensor);
      }
      return all;
    }

    /** What it computes on a device, in f32. */
    List<float[]> results(Device device, DType type) {
      try (Owned owned = new Owned()) {
        Bodies out = new Bodies(owned);
        List<Tensor> in = upload(device, type, values(type), owned);
        for (Launch launch : body.launches(device, type, in, out)) {
          owned.add(launch).run();
        }
        return out.results.stream().map(Tensor::toFloats).toList();
      }
    }

    /** Writes the inputs in a dtype, and what a device makes of them in f32. */
    void export(Path file, Device reference, DType type) throws IOException {
      List<SafetensorsEntry> entries = new ArrayList<>();
      List<float[]> in = values(type);
      for (int i = 0; i < inputs.size(); i++) {
        TensorSpec spec = inputs.get(i);
        if (spec.dtype() == DType.U8) {
          byte[] bytes = new byte[in.get(i).length];
          for (int k = 0; k < bytes.length; k++) {
            bytes[k] = (byte) (int) in.get(i)[k];
          }
          MemorySegment data = MemorySegment.ofArray(bytes);
          entries.add(new SafetensorsEntry("in." + i, DType.U8, spec.shape(), data));
        } else {
          entries.add(entry("in." + i, spec, in.get(i)));
        }
      }
      try (Owned owned = new Owned()) {
        Bodies out = new Bodies(owned);
        List<Tensor> given = upload(reference, DType.F32, in, owned);
        for (Launch launch : body.launches(reference, DType.F32, given, out)) {
          owned.add(launch).run();
        }
        for (int i = 0; i < out.results.size(); i++) {
          Tensor tensor = out.results.get(i);
          entries.add(entry("out." + i, tensor.spec(), tensor.toFloats()));
        }
      }
      Safetensors.write(file, Map.of("op", name), entries);
    }

    private static SafetensorsEntry entry(String name, TensorSpec spec, float[] values) {
      MemorySegment data = MemorySegment.ofArray(new byte[4 * values.length]);
      MemorySegment.copy(MemorySegment.ofArray(values), 0, data, 0, data.byteSize());
      return new SafetensorsEntry(name, DType.F32, spec.shape(), data);
    }

    /**
     * Prepares it on a device, to be run {@link Timed#calls} times at once.
     *
     * @throws UnsupportedOpException if the device lacks one of its ops
     */
    Timed open(Device device, DType type) {
      Owned owned = new Owned();
      try {
        List<Tensor> in = upload(device, type, values(type), owned);
        int calls = device.name().equals("cpu") ? 1 : CALLS;
        Bodies out = new Bodies(owned);
        List<Launch> all = new ArrayList<>(body.launches(device, type, in, out));
        for (int i = 1; i < calls; i++) {
          out.again();
          all.addAll(body.launches(device, type, in, out));
        }
        return new Timed(owned.add(device.record(all)), calls, owned);
      } catch (RuntimeException | Error e) {
        owned.close();
        throw e;
      }
    }
  }

  /** Some calls that run at once. */
  record Timed(Launch launch, int calls, Owned owned) implements AutoCloseable {
    void run() {
      launch.run();
    }

    @Override
    public void close() {
      owned.close();
    }
  }

  /** An activation, in the row's dtype. */
  private static TensorSpec act(int... dims) {
    return TensorSpec.of(DType.BF16, dims);
  }

  private static TensorSpec f32(int... dims) {
    return TensorSpec.of(DType.F32, dims);
  }

  /** The ops at the networks' shapes; few and small where {@code quick}. */
  static List<Case> all(boolean quick) {
    List<Case> all = new ArrayList<>();
    int n = quick ? 4 : 32;
    int side = quick ? 8 : 28;
    int f = quick ? 8 : 64;
    Taps vertical = Taps.rectangle(-1, 0, -1, 1);
    Taps left = Taps.rectangle(0, 0, -1, 0);
    // the gated PixelCNN's
    conv(all, n, side, f, 2 * f, vertical, "vertical 2x3");
    conv(all, n, side, f, 2 * f, left, "horizontal 1x2");
    conv(all, n, side, 2 * f, 2 * f, Taps.point(), "link 1x1");
    // PixelCNN's mask B
    conv(all, n, side, f, f, Taps.masked(3, true), "mask B 3x3");
    if (!quick) {
      // PixelCNN++'s, as its paper has it
      conv(all, 16, 32, 320, 160, vertical, "down 2x3");
      conv(all, 16, 32, 320, 320, Taps.rectangle(-1, 0, -1, 0), "down-right 2x2");
      conv(all, n, side, 256, 256, Taps.point(), "head 1x1");
    }
    elementwise(all, n, side, f);
    losses(all, n, side);
    adam(all, quick ? 20_000 : 5_000_000);
    return all;
  }

  private static List<int[]> pairs(Taps taps) {
    return taps.list().stream().map(t -> new int[] {t.dy(), t.dx()}).toList();
  }

  private static void conv(List<Case> all, int n, int side, int c, int k, Taps taps, String what) {
    Conv2d conv = new Conv2d(taps);
    String shape = " " + what + " N" + n + " " + side + "x" + side + " " + c + "->" + k;
    double gigaflops = 2e-9 * n * side * side * taps.count() * c * k;
    TensorSpec x = act(n, side, side, c);
    TensorSpec dy = act(n, side, side, k);
    TensorSpec w = f32(taps.count(), c, k);
    all.add(
        new Case(
            "conv" + shape,
            spec("conv_forward", "taps", pairs(taps)),
            List.of(x, w, f32(k)),
            gigaflops,
            (d, type, in, out) -> List.of(out.launch(d, conv, in, out.results))));
    all.add(
        new Case(
            "conv data" + shape,
            spec("conv_data", "taps", pairs(taps)),
            List.of(w, dy),
            gigaflops,
            (d, type, in, out) ->
                List.of(out.launch(d, new Conv2dBackwardData(conv, x.shape()), in, out.results))));
    all.add(
        new Case(
            "conv weights" + shape,
            spec("conv_weights", "taps", pairs(taps)),
            List.of(x, dy),
            gigaflops,
            (d, type, in, out) ->
                List.of(out.launch(d, new Conv2dBackwardWeights(conv, true), in, out.results))));
  }

  private static void elementwise(List<Case> all, int n, int side, int f) {
    String shape = " N" + n + " " + side + "x" + side + " ";
    TensorSpec one = act(n, side, side, f);
    TensorSpec two = act(n, side, side, 2 * f);
    simple(all, "gate" + shape + 2 * f, "gate", new Gate(), two);
    Op gateBackward = new GateBackward(Gate.Kind.TANH, 1);
    simple(all, "gate backward" + shape + 2 * f, "gate_backward", gateBackward, two, one);
    simple(all, "concat-ELU" + shape + f, "concat_elu", new ConcatElu(), one);
    Op eluBackward = new ConcatEluBackward();
    simple(all, "concat-ELU backward" + shape + f, "concat_elu_backward", eluBackward, one, two);
  }

  private static void simple(
      List<Case> all, String name, String theirs, Op op, TensorSpec... inputs) {
    all.add(
        new Case(
            name,
            spec(theirs),
            List.of(inputs),
            0,
            (d, type, in, out) -> List.of(out.launch(d, op, in, out.results))));
  }

  private static void losses(List<Case> all, int n, int side) {
    String shape = " N" + n + " " + side + "x" + side;
    all.add(
        new Case(
            "cross-entropy and gradient" + shape + " " + LEVELS,
            spec("cross_entropy", "levels", LEVELS),
            List.of(f32(n, side, side, LEVELS), TensorSpec.of(DType.U8, n, side, side, 1)),
            0,
            (d, type, in, out) -> {
              List<Tensor> made = new ArrayList<>();
              Launch loss = out.launch(d, new SoftmaxCrossEntropy(LEVELS, type), in, made);
              Tensor one = out.tensor(d, f32(1)).write(1f);
              out.results.add(made.get(0));
              return List.of(
                  loss,
                  out.launch(
                      d,
                      new SoftmaxCrossEntropyBackward(LEVELS, type),
                      List.of(in.get(0), in.get(1), made.get(2), one),
                      out.results));
            }));
    int mixtures = 10;
    all.add(
        new Case(
            "mixture and gradient" + shape + " RGB " + mixtures,
            spec("mixture", "levels", LEVELS, "mixtures", mixtures),
            List.of(f32(n, side, side, 10 * mixtures), TensorSpec.of(DType.U8, n, side, side, 3)),
            0,
            (d, type, in, out) -> {
              List<Tensor> made = new ArrayList<>();
              Launch loss = out.launch(d, new LogisticMixture(mixtures, LEVELS, type), in, made);
              Tensor one = out.tensor(d, f32(1)).write(1f);
              out.results.add(made.get(0));
              return List.of(
                  loss,
                  out.launch(
                      d,
                      new LogisticMixtureBackward(mixtures, LEVELS, type),
                      List.of(in.get(0), in.get(1), one),
                      out.results));
            }));
  }

  private static void adam(List<Case> all, int count) {
    Adam adam = new Adam(1e-3, 0.95, 0.9995, PeerExport.EPSILON, 0, 1, 1, 0.9995);
    double share = 1 - adam.emaDecayAt(1);
    Map<String, Object> spec =
        spec("adam", "rate", 1e-3, "beta1", 0.95, "beta2", 0.9995, "clipNorm", 1, "share", share);
    all.add(
        new Case(
            "clip, Adam and average of " + count,
            spec,
            List.of(f32(count), f32(count)),
            0,
            (d, type, in, out) -> {
              Tensor p = out.tensor(d, f32(count));
              Tensor ema = out.tensor(d, f32(count));
              float[] start = in.get(0).toFloats();
              p.write(start);
              ema.write(start);
              Tensor first = out.tensor(d, f32(count));
              Tensor second = out.tensor(d, f32(count));
              Tensor step = out.tensor(d, TensorSpec.of(DType.F64, 1));
              List<Tensor> norm = new ArrayList<>();
              Launch squares = out.launch(d, new SquaredNorm(), List.of(in.get(1)), norm);
              out.results.addAll(List.of(p, ema));
              return List.of(
                  squares,
                  d.launch(
                      adam,
                      List.of(p, first, second, ema, step, in.get(1), norm.getFirst()),
                      List.of()));
            }));
  }

  private static Map<String, Object> spec(String op, Object... attributes) {
    Map<String, Object> spec = new LinkedHashMap<>();
    spec.put("op", op);
    for (int i = 0; i < attributes.length; i += 2) {
      spec.put((String) attributes[i], attributes[i + 1]);
    }
    return spec;
  }
}
