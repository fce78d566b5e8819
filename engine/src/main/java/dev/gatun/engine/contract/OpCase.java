package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Philox;
import dev.gatun.engine.TensorSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * One op at one set of shapes and dtypes, with inputs drawn from a seed.
 *
 * @param terms how many roundings an output element may have gone through: the K of gamma_K
 * @param roundTo inputs of dtype f32 are rounded to this before use; bf16 where the op rounds its
 *     f32 weights itself
 * @param draws how each input is drawn
 * @param layout where in memory the tensors begin
 */
public record OpCase(
    Op op,
    List<TensorSpec> inputs,
    int terms,
    DType roundTo,
    List<Draw> draws,
    int seed,
    Layout layout) {
  /**
   * Whether tensors begin where several elements can be read at once; inputs first, then outputs.
   */
  public enum Layout {
    /** All of them do. */
    ALIGNED,
    /** None does: each begins one element later. */
    ODD,
    /** The first does, the second does not, and so on. */
    MIXED;

    /** Elements before the first one of tensor n, in memory of its own. */
    public int skipped(int n) {
      return this == ODD || this == MIXED && n % 2 == 1 ? 1 : 0;
    }
  }

  /** With tensors that begin where memory of their own does. */
  public OpCase(
      Op op, List<TensorSpec> inputs, int terms, DType roundTo, List<Draw> draws, int seed) {
    this(op, inputs, terms, roundTo, draws, seed, Layout.ALIGNED);
  }

  /** How the elements of an input are drawn. */
  public sealed interface Draw {
    /** Normal with the given mean and standard deviation. */
    record Normal(double mean, double deviation) implements Draw {}

    /** Uniform in low..high-1. */
    record Whole(int low, int high) implements Draw {}

    /** Uniform in [low, high). */
    record Uniform(double low, double high) implements Draw {}

    /** As another draw, but zero from element {@code from} on, up to {@code to} exclusive. */
    record Zeros(Draw others, int from, int to) implements Draw {}

    /** Each column of a table as a draw of its own. */
    record Columns(List<Draw> each) implements Draw {}
  }

  /** The inputs' elements, rounded to what their tensors can hold. */
  public List<double[]> values() {
    Philox philox = new Philox(seed);
    List<double[]> all = new ArrayList<>();
    for (int i = 0; i < inputs.size(); i++) {
      TensorSpec spec = inputs.get(i);
      double[] values = new double[spec.shape().elements()];
      for (int j = 0; j < values.length; j++) {
        values[j] = round(draw(draws.get(i), philox, i, j), spec.dtype());
      }
      all.add(values);
    }
    return all;
  }

  private static double draw(Draw draw, Philox philox, int i, int j) {
    return switch (draw) {
      case Draw.Normal n -> n.mean() + n.deviation() * philox.normal(Philox.Stream.TEST, i, j);
      case Draw.Whole w -> w.low() + philox.below(w.high() - w.low(), Philox.Stream.TEST, i, j);
      case Draw.Uniform u ->
          u.low() + (u.high() - u.low()) * philox.uniform(Philox.Stream.TEST, i, j);
      case Draw.Columns c -> draw(c.each().get(j % c.each().size()), philox, i, j);
      case Draw.Zeros z -> j >= z.from() && j < z.to() ? 0 : draw(z.others(), philox, i, j);
    };
  }

  private double round(double v, DType type) {
    return switch (type) {
      case F32 -> roundTo == DType.BF16 ? bf16(v) : (float) v;
      case BF16 -> bf16(v);
      default -> v;
    };
  }

  private static double bf16(double v) {
    return DType.fromBf16(DType.toBf16((float) v));
  }

  /** The dtype that names this case in a table: that of the first input that is not a label. */
  public DType dtype() {
    return inputs.stream()
        .map(TensorSpec::dtype)
        .filter(t -> t == DType.BF16)
        .findFirst()
        .orElse(inputs.isEmpty() ? DType.F32 : inputs.getFirst().dtype());
  }

  @Override
  public String toString() {
    String where = layout == Layout.ALIGNED ? "" : " " + layout.name().toLowerCase(Locale.ROOT);
    return op + " " + inputs + where + " seed " + seed;
  }
}
