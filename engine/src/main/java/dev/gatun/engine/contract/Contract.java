package dev.gatun.engine.contract;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What every device owes every op: results within a tolerance that follows from arithmetic, the
 * same bits at every run, and every element written.
 *
 * <p>The tolerance of an element is gamma_K times the sum of the absolute values of its terms, plus
 * half an ulp of the output's dtype; gamma_K = K u / (1 - K u), u = 2^-24. Of terms that are
 * rounded to bf16 on the way 2^-8 times their absolute values comes on top.
 *
 * @see "Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1"
 */
public final class Contract {
  private static final double U = 0x1p-24;

  private Contract() {}

  /**
   * What came of one case.
   *
   * @param share the largest part of the error budget that an element used; above 1 or NaN fails
   * @param failure null, or one line saying what was wrong and where
   */
  public record Outcome(OpCase opCase, double share, String failure) {
    public boolean passed() {
      return failure == null;
    }
  }

  /** Runs one case on a device that supports it. */
  public static Outcome check(Device device, OpCase opCase) {
    List<double[]> values = opCase.values();
    List<Reference.Result> expected = Reference.run(opCase.op(), opCase.inputs(), values);
    List<TensorSpec> outputSpecs = opCase.op().check(opCase.inputs());
    List<Buffer> buffers = new ArrayList<>();
    try {
      List<Tensor> inputs = place(device, opCase, opCase.inputs(), buffers);
      List<Tensor> outputs = place(device, opCase, outputSpecs, buffers);
      List<Tensor> results = new ArrayList<>(outputs);
      opCase.op().mutates().forEach(i -> results.add(inputs.get(i)));
      try (Launch launch = device.record(List.of(device.prepare(opCase.op(), inputs, outputs)))) {
        List<byte[]> first = run(launch, inputs, values, outputs, results);
        double share = 0;
        for (int r = 0; r < results.size(); r++) {
          double used = compare(expected.get(r), results.get(r), opCase.terms());
          if (!(used <= 1)) {
            return new Outcome(opCase, used, describe(opCase, expected.get(r), results.get(r), r));
          }
          share = Math.max(share, used);
        }
        for (int i = 0; i < inputs.size(); i++) {
          if (!opCase.op().mutates().contains(i)
              && !Arrays.equals(values.get(i), inputs.get(i).toDoubles())) {
            return new Outcome(
                opCase, Double.NaN, opCase + ": input " + i + " was written to, and should not be");
          }
        }
        List<byte[]> second = run(launch, inputs, values, outputs, results);
        for (int r = 0; r < results.size(); r++) {
          if (!Arrays.equals(first.get(r), second.get(r))) {
            return new Outcome(
                opCase, Double.NaN, opCase + ": result " + r + " differs between two runs");
          }
        }
        return new Outcome(opCase, share, null);
      }
    } catch (RuntimeException e) {
      return new Outcome(opCase, Double.NaN, opCase + ": " + e.getMessage());
    } finally {
      buffers.forEach(Buffer::close);
    }
  }

  /** Tensors as the case's layout wants them, each in a buffer of its own. */
  private static List<Tensor> place(
      Device device, OpCase opCase, List<TensorSpec> specs, List<Buffer> buffers) {
    List<Tensor> tensors = new ArrayList<>();
    for (TensorSpec spec : specs) {
      long skipped = (long) opCase.layout().skipped(buffers.size()) * spec.dtype().bytes();
      Buffer buffer = device.allocate(Math.max(1, skipped + spec.sizeBytes()));
      buffers.add(buffer);
      tensors.add(Tensor.view(buffer, skipped, spec));
    }
    return tensors;
  }

  private static List<byte[]> run(
      Launch launch,
      List<Tensor> inputs,
      List<double[]> values,
      List<Tensor> outputs,
      List<Tensor> results) {
    for (int i = 0; i < inputs.size(); i++) {
      inputs.get(i).writeDoubles(values.get(i));
    }
    for (Tensor output : outputs) {
      // all ones is a NaN in every float format: an element nobody writes shows
      byte[] poison = new byte[(int) output.spec().sizeBytes()];
      Arrays.fill(poison, (byte) 0xFF);
      output.write(MemorySegment.ofArray(poison));
    }
    launch.run();
    return results.stream()
        .map(tensor -> {
          byte[] raw = new byte[(int) tensor.spec().sizeBytes()];
          tensor.read(MemorySegment.ofArray(raw));
          return raw;
        })
        .toList();
  }

  private static double compare(Reference.Result expected, Tensor result, int terms) {
    double[] actual = result.toDoubles();
    double worst = 0;
    for (int i = 0; i < actual.length; i++) {
      double share = share(expected, actual[i], i, result.dtype(), terms);
      if (!(share <= worst)) {
        worst = share;
        if (!(share <= 1)) {
          return share;
        }
      }
    }
    return worst;
  }

  private static double share(
      Reference.Result expected, double actual, int i, DType type, int terms) {
    double error = Math.abs(actual - expected.value()[i]);
    if (error == 0) {
      return 0;
    }
    double tolerance = tolerance(expected, i, type, terms);
    return error <= tolerance
        ? error / tolerance
        : Double.isNaN(error) ? error : Math.max(error / tolerance, Math.nextUp(1.0));
  }

  private static double tolerance(Reference.Result expected, int i, DType type, int terms) {
    double gamma = terms * U / (1 - terms * U);
    double narrowed = expected.narrowed() == null ? 0 : expected.narrowed()[i];
    double arithmetic = gamma * expected.magnitude()[i] + 0x1p-8 * narrowed;
    double size = Math.abs(expected.value()[i]) + arithmetic;
    return arithmetic
        + switch (type) {
          case F32 -> size * 0x1p-24 + Float.MIN_VALUE;
          case BF16 -> size * 0x1p-8 + Float.MIN_VALUE;
          case F64 -> size * 0x1p-53;
          case U8, I32 -> 0;
        };
  }

  private static String describe(
      OpCase opCase, Reference.Result expected, Tensor result, int index) {
    double[] actual = result.toDoubles();
    for (int i = 0; i < actual.length; i++) {
      double tolerance = tolerance(expected, i, result.dtype(), opCase.terms());
      if (!(Math.abs(actual[i] - expected.value()[i]) <= tolerance)) {
        return opCase
            + ": result "
            + index
            + " element "
            + i
            + " is "
            + actual[i]
            + ", expected "
            + expected.value()[i]
            + " within "
            + tolerance;
      }
    }
    return opCase + ": result " + index + " is out of tolerance";
  }
}
