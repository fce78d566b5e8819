package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.engine.op.VectorQuantize;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What kernels can say only by a NaN: labels and pixels out of range, and NaNs that they are given.
 */
final class NanChecks {
  private NanChecks() {}

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      String suffix = type == DType.F32 ? "_f32" : "_bf16";
      double nan = Double.NaN;
      checks.add(
          check("relu" + suffix, new Relu(), "0100", spec(type, 4), new double[] {1, nan, -1, 2}));
      checks.add(
          check(
              "add_bias" + suffix,
              new AddBias(),
              "0000111111110000",
              spec(type, 4, 1, 1, 4),
              new double[16],
              TensorSpec.of(DType.F32, 3, 4), // ends where its memory does
              new double[12],
              TensorSpec.of(DType.U8, 4),
              new double[] {2, 3, 255, 0}));
      for (double step : new double[] {-1, 0.5, 4e9, nan}) {
        checks.add(
            check(
                "dropout" + suffix,
                new Dropout(0.5, 3, 0),
                "111",
                spec(type, 3),
                new double[] {1, 2, 3},
                TensorSpec.of(DType.F64, 1),
                new double[] {step}));
      }
      // the mean of the losses is one, too
      checks.add(
          check(
              "softmax_cross_entropy" + suffix,
              new SoftmaxCrossEntropy(null),
              "1" + "0110" + "0000",
              spec(type, 4, 5),
              new double[20],
              TensorSpec.of(DType.U8, 4),
              new double[] {4, 5, 255, 0}));
      for (DType gradient : List.of(DType.F32, DType.BF16)) {
        checks.add(
            check(
                "softmax_cross_entropy_backward"
                    + suffix
                    + (gradient == DType.F32 ? "_f32" : "_bf16"),
                new SoftmaxCrossEntropyBackward(gradient),
                "0000011111",
                spec(type, 2, 5),
                new double[10],
                TensorSpec.of(DType.U8, 2),
                new double[] {4, 5},
                TensorSpec.of(DType.F32, 2),
                new double[] {1.6, 1.6},
                TensorSpec.of(DType.F32, 1),
                new double[] {1}));
      }
      for (int colours : new int[] {1, 3}) {
        mixture(type, colours, checks);
      }
      weights(type, checks);
      diffusion(type, suffix, checks);
      bound(type, suffix, checks);
      codes(type, suffix, checks);
    }
    categorical(checks);
    checks.add(averageOfRefused());
    latents(checks);
    densities(checks);
    return checks;
  }

  private static void diffusion(DType type, String suffix, List<KernelCheck> checks) {
    for (double step : new double[] {-1, 0.5, 4e9, Double.NaN}) {
      checks.add(
          check(
              "diffuse" + suffix,
              new Diffuse(3, 0, type),
              "1".repeat(6),
              TensorSpec.of(DType.U8, 1, 1, 1, 3),
              new double[3],
              TensorSpec.of(DType.F32, 1, 4),
              new double[] {1, 1, 1, 1},
              TensorSpec.of(DType.F64, 1),
              new double[] {step}));
      checks.add(
          check(
              "diffuse_points" + suffix,
              new Diffuse(3, 0, type),
              "1".repeat(4),
              TensorSpec.of(DType.F32, 1, 1, 1, 2),
              new double[2],
              TensorSpec.of(DType.F32, 1, 4),
              new double[] {1, 1, 1, 1},
              TensorSpec.of(DType.F64, 1),
              new double[] {step}));
    }
    if (type == DType.F32) {
      for (double step : new double[] {-1, 0.5, 4e9, Double.NaN}) {
        checks.add(
            check(
                "diffusion_times",
                new DiffusionTimes(3, 0, 2),
                "1".repeat(12),
                TensorSpec.of(DType.F32, 1, 6),
                new double[6],
                TensorSpec.of(DType.F64, 1),
                new double[] {step}));
      }
    }
    TensorSpec state = TensorSpec.of(DType.F64, 1, 1, 1, 2);
    for (double step : new double[] {-1, 1, 2}) {
      // the row that there is would leave the image as it is
      checks.add(
          check(
              "denoise_step" + suffix,
              new DenoiseStep(Thresholding.NONE, 1, false),
              "11" + "0",
              state,
              new double[] {1, 2},
              state,
              new double[2],
              spec(type, 1, 1, 1, 2),
              new double[2],
              TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS),
              new double[] {0, 0, 1, 0, 0, 0, 1, 0, 0, 0},
              TensorSpec.of(DType.I32, 4),
              new double[] {0, 0, 0, step}));
    }
    // the first row looks at no prediction: there is none yet
    double nan = Double.NaN;
    checks.add(
        check(
            false,
            "denoise_step" + suffix,
            new DenoiseStep(Thresholding.NONE, 1, false),
            "00" + "0",
            state,
            new double[2],
            state,
            new double[2],
            spec(type, 1, 1, 1, 2),
            new double[] {nan, nan},
            TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS),
            new double[] {0, 0, 0, 0, 0, 1, 1, 9, 0, 0},
            TensorSpec.of(DType.I32, 4),
            new double[4]));
    // nor at a variance; the last step has none, and the logarithm of that is no number
    TensorSpec learned = spec(type, 1, 1, 1, 4);
    double none = Double.NEGATIVE_INFINITY;
    checks.add(
        check(
            false,
            "denoise_step" + suffix,
            new DenoiseStep(Thresholding.NONE, 1, true),
            "00" + "0",
            state,
            new double[2],
            state,
            new double[2],
            learned,
            new double[] {nan, nan, nan, nan},
            TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS),
            new double[] {0, 0, 0, 0, 0, 1, 1, 9, none, 0},
            TensorSpec.of(DType.I32, 4),
            new double[] {1, 0, 0, 0}));
    checks.add(
        check(
            false,
            "denoise_step" + suffix,
            new DenoiseStep(Thresholding.NONE, 1, true),
            "00" + "0",
            state,
            new double[2],
            state,
            new double[2],
            learned,
            new double[] {0, 0, 1, 1},
            TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS),
            new double[] {0, 1, 0, 1, 0, 0, 1, 0, none, 0},
            TensorSpec.of(DType.I32, 4),
            new double[] {2, 0, 0, 0}));
    // a NaN takes its image's threshold along, and ends
    checks.add(
        check(
            false,
            "denoise_step" + suffix,
            new DenoiseStep(Thresholding.DYNAMIC, 1, false),
            "0011" + "00",
            TensorSpec.of(DType.F64, 2, 1, 1, 2),
            new double[] {3, 1, nan, 1},
            TensorSpec.of(DType.F64, 2, 1, 1, 2),
            new double[4],
            spec(type, 2, 1, 1, 2),
            new double[4],
            TensorSpec.of(DType.F64, 1, DenoiseStep.COLUMNS),
            new double[] {1, 0, 0, 1, 0, 0, 1, 0, 0, 0},
            TensorSpec.of(DType.I32, 4),
            new double[4]));
  }

  /** Times that the table has no row for. */
  private static void bound(DType type, String suffix, List<KernelCheck> checks) {
    TensorSpec x = spec(type, 2, 1, 1, 2);
    double[] zeros = new double[4];
    Object[] all = {
      x,
      zeros,
      TensorSpec.of(DType.F32, 2, 1, 1, 2),
      zeros,
      TensorSpec.of(DType.U8, 2, 1, 1, 2),
      zeros,
      null,
      null,
      null,
      null,
      x,
      zeros,
      TensorSpec.of(DType.F32, 1),
      new double[] {1}
    };
    for (double time : new double[] {0, -1, 2.5, 4, 1e9, Double.NaN}) {
      all[6] = TensorSpec.of(DType.F32, 2);
      all[7] = new double[] {3, time};
      all[8] = TensorSpec.of(DType.F32, 3, VariationalBound.COLUMNS);
      all[9] = new double[3 * VariationalBound.COLUMNS];
      checks.add(
          check(
              "variational_bound" + suffix,
              new VariationalBound(1),
              "1" + "01",
              Arrays.copyOf(all, 10)));
      checks.add(
          check(
              "variational_bound_backward" + suffix, new VariationalBoundBackward(1), "0011", all));
    }
  }

  private static void latents(List<KernelCheck> checks) {
    TensorSpec parameters = TensorSpec.of(DType.F32, 2, 4);
    TensorSpec one = TensorSpec.of(DType.F32, 1);
    TensorSpec two = TensorSpec.of(DType.F32, 2);
    TensorSpec steps = TensorSpec.of(DType.F64, 1);
    double nan = Double.NaN;
    KlObjective objective = new KlObjective(1, 0, 0.5, 0, 0);
    KlObjective toCapacity = new KlObjective(1, 0, 0.5, 1, 0);
    for (double step : new double[] {-1, 0.5, 4e9, nan}) {
      double[] at = {step};
      checks.add(
          check(
              "gaussian_sample_f32",
              new GaussianSample(3, 0, 1),
              "1".repeat(8),
              parameters,
              new double[8],
              steps,
              at));
      checks.add(check("kl_objective_f32", objective, "1", two, new double[] {1, 0}, steps, at));
      checks.add(
          check(
              "kl_objective_backward_f32",
              new KlObjectiveBackward(objective),
              "11",
              two,
              new double[] {1, 0},
              steps,
              at,
              one,
              new double[] {1}));
    }
    double[] some = {0, nan, 1, 0, 0, 0, 0, nan};
    double[] zero = {0};
    checks.add(
        check(
            false,
            "gaussian_sample_f32",
            new GaussianSample(3, 0, 1),
            "0101" + "0000",
            parameters,
            some,
            steps,
            zero));
    checks.add(check(false, "gaussian_kl_f32", new GaussianKl(), "11" + "01", parameters, some));
    checks.add(
        check(
            false,
            "gaussian_kl_by_dimension_f32",
            new GaussianKl(),
            "10" + "10",
            parameters,
            new double[] {0, 0, nan, 0, 0, 0, 0, 0}));
    checks.add(
        check(
            false,
            "gaussian_kl_backward_f32",
            new GaussianKlBackward(true, true),
            "0100" + "1111",
            parameters,
            new double[] {0, nan, 0, 0, 0, 0, 0, 0},
            two,
            new double[] {1, nan},
            two,
            new double[2]));
    double[] unknown = {nan, 0.2};
    double[] many = {nan, 3};
    for (KlObjective op : List.of(objective, toCapacity)) {
      checks.add(check(false, "kl_objective_f32", op, "1", two, unknown, steps, zero));
      Op back = new KlObjectiveBackward(op);
      boolean all = op == toCapacity;
      checks.add(
          check(
              false,
              "kl_objective_backward_f32",
              back,
              all ? "11" : "10",
              two,
              many,
              steps,
              zero,
              one,
              new double[] {1}));
      checks.add(
          check(
              false,
              "kl_objective_backward_f32",
              back,
              "11",
              two,
              new double[] {2, 3},
              steps,
              zero,
              one,
              new double[] {nan}));
    }
  }

  /** A NaN in a vector or a component is one in each density that it is part of. */
  private static void densities(List<KernelCheck> checks) {
    double nan = Double.NaN;
    double none = Double.NEGATIVE_INFINITY;
    TensorSpec z = TensorSpec.of(DType.F32, 2, 1);
    TensorSpec parameters = TensorSpec.of(DType.F32, 3, 2);
    TensorSpec logits = TensorSpec.of(DType.F32, 3);
    TensorSpec density = TensorSpec.of(DType.F32, 2);
    double[] normal = new double[6];
    double[] broken = {0, 0, 0, nan, 0, 0};
    double[] ones = {1, 1};
    GaussianMixture op = new GaussianMixture(3);
    GaussianMixtureBackward back = new GaussianMixtureBackward(3);
    String kernel = "gaussian_mixture_f32";
    checks.add(check(false, kernel, op, "01", z, new double[] {0, nan}, parameters, normal));
    checks.add(check(false, kernel, op, "11", z, ones, parameters, broken));
    String prepares = "gaussian_mixture_components_f32";
    double[] unknown = {0, nan, 0};
    checks.add(check(false, prepares, op, "11", z, ones, parameters, normal, logits, unknown));
    // a component of no weight is none
    double[] absent = {0, none, 0};
    checks.add(check(false, prepares, op, "00", z, ones, parameters, normal, logits, absent));
    checks.add(
        check(
            false,
            "gaussian_mixture_backward_rows_f32",
            back,
            "01" + "111111",
            z,
            new double[] {0, nan},
            parameters,
            normal,
            density,
            new double[2],
            density,
            ones));
    checks.add(
        check(
            false,
            "gaussian_mixture_backward_components_f32",
            back,
            "11" + "001100" + "010",
            z,
            ones,
            parameters,
            broken,
            logits,
            new double[3],
            density,
            new double[2],
            density,
            ones));
  }

  private static void mixture(DType type, int colours, List<KernelCheck> checks) {
    int channels = (colours == 3 ? 10 : 3) * 2;
    TensorSpec parameters = TensorSpec.of(DType.F32, 1, 1, 2, channels);
    TensorSpec images = TensorSpec.of(DType.U8, 1, 1, 2, colours);
    double[] values = new double[2 * channels];
    double[] pixels = new double[2 * colours];
    Arrays.fill(pixels, 7);
    pixels[2 * colours - 1] = 8; // there are levels 0 to 7
    if (type == DType.F32) {
      checks.add(
          check(
              "logistic_mixture_" + colours + "_f32",
              new LogisticMixture(2, 8, null),
              "1" + "01",
              parameters,
              values,
              images,
              pixels));
    }
    checks.add(
        check(
            "logistic_mixture_backward_" + colours + (type == DType.F32 ? "_f32" : "_bf16"),
            new LogisticMixtureBackward(2, 8, type),
            "0".repeat(channels) + "1".repeat(channels),
            parameters,
            values,
            images,
            pixels,
            TensorSpec.of(DType.F32, 1),
            new double[] {1}));
  }

  /** Weights that are nothing but zeros and a NaN are no tile to be skipped. */
  private static void weights(DType type, List<KernelCheck> checks) {
    double[] weights = new double[64];
    weights[8 * 3 + 5] = Double.NaN;
    checks.add(
        check(
            "conv_pack_" + (type == DType.F32 ? "f32" : "bf16") + "_32",
            new Conv2d(Taps.point()),
            "00000100".repeat(2),
            spec(type, 1, 1, 2, 8),
            new double[16],
            TensorSpec.of(DType.F32, 1, 8, 8),
            weights));
  }

  private static TensorSpec spec(DType type, int... dims) {
    return TensorSpec.of(type, dims);
  }

  /**
   * A check of which of an op's results are NaN.
   *
   * @param nans a 1 for each, over all outputs
   * @param inputs specs and values in turn
   */
  static KernelCheck check(String kernel, Op op, String nans, Object... inputs) {
    boolean refused =
        Arrays.stream(inputs)
            .anyMatch(input -> input instanceof TensorSpec spec && refusable(spec.dtype()));
    return check(refused, kernel, op, nans, inputs);
  }

  static KernelCheck check(boolean refused, String kernel, Op op, String nans, Object... inputs) {
    List<TensorSpec> specs = new ArrayList<>();
    List<double[]> values = new ArrayList<>();
    for (int i = 0; i < inputs.length; i += 2) {
      specs.add((TensorSpec) inputs[i]);
      values.add((double[]) inputs[i + 1]);
    }
    Set<String> kernels = new HashSet<>(List.of(kernel));
    String name = "NaN of " + kernel + " " + Arrays.toString(values.getLast());
    return new KernelCheck(
        name,
        kernels,
        1,
        device -> {
          try (CheckScope scope = new CheckScope(device)) {
            List<Tensor> in = new ArrayList<>();
            List<Tensor> out = new ArrayList<>();
            for (int i = 0; i < specs.size(); i++) {
              in.add(scope.tensor(specs.get(i)).writeDoubles(values.get(i)));
            }
            op.check(specs).forEach(spec -> out.add(scope.tensor(spec)));
            try (CudaLaunch launch = (CudaLaunch) device.prepare(op, in, out)) {
              if (refused) {
                assertThrows(IllegalArgumentException.class, launch::run, name);
              } else {
                launch.run();
              }
              StringBuilder found = new StringBuilder();
              for (Tensor tensor : out) {
                for (double v : tensor.toDoubles()) {
                  found.append(Double.isNaN(v) ? 1 : 0);
                }
              }
              assertEquals(nans, found.toString(), name);
            }
          }
        });
  }

  /** Labels, levels and steps, which checks here have wrong ones of. */
  private static boolean refusable(DType type) {
    return type == DType.U8 || type == DType.F64;
  }

  /** Indices that the codebook lacks, and vectors that no code is near. */
  private static void codes(DType type, String suffix, List<KernelCheck> checks) {
    double nan = Double.NaN;
    TensorSpec codebook = TensorSpec.of(DType.F32, 2, 2);
    double[] rows = {0, 1, 2, 3};
    for (double bad : new double[] {nan, Double.POSITIVE_INFINITY}) {
      // the indices are numbers whatever happens
      checks.add(
          check(
              "vector_quantize" + suffix,
              new VectorQuantize(),
              "0011" + "00",
              spec(type, 2, 2),
              new double[] {0, 1, 0, bad},
              codebook,
              rows));
    }
    checks.add(
        check(
            "vector_quantize" + suffix,
            new VectorQuantize(),
            "11" + "0",
            spec(type, 1, 2),
            new double[2],
            codebook,
            new double[] {0, 1, nan, 3}));
    TensorSpec indices = TensorSpec.of(DType.U8, 3, 1);
    double[] chosen = {1, 2, 255};
    checks.add(
        check(
            "code_vectors" + suffix,
            new CodeVectors(type),
            "001111",
            indices,
            chosen,
            codebook,
            rows));
    // any sum may be that of the code that was meant
    checks.add(
        check(
            "codebook_sums" + suffix,
            new CodebookSums(2),
            "1".repeat(6),
            spec(type, 3, 2),
            new double[6],
            indices,
            chosen));
    checks.add(
        check(
            false,
            "codebook_sums" + suffix,
            new CodebookSums(2),
            "000" + "010",
            spec(type, 2, 2),
            new double[] {1, 2, 3, nan},
            TensorSpec.of(DType.U8, 2, 1),
            new double[] {0, 1}));
    checks.add(
        check(
            "reverse_channels" + suffix,
            new ReverseChannels(),
            "100010",
            spec(type, 2, 3),
            new double[] {1, 2, nan, 3, nan, 4}));
    if (type == DType.F32) {
      checks.add(
          check(
              "codebook_f32",
              new Codebook(1e-5),
              "0010",
              TensorSpec.of(DType.F32, 2, 3),
              new double[] {1, 2, 3, nan, 4, 5}));
    }
  }

  /** As Adam leaves the weights, whatever it is given. */
  private static KernelCheck averageOfRefused() {
    return new KernelCheck(
        "a moving average after data that was refused",
        Set.of("moving_average_f32"),
        1,
        device -> {
          try (CheckScope scope = new CheckScope(device)) {
            Tensor z = scope.of(DType.F32, new double[] {1, 2}, 1, 2);
            Tensor sums = scope.tensor(TensorSpec.of(DType.F32, 2, 3));
            Tensor state = scope.of(DType.F32, new double[6], 2, 3);
            List<Launch> launches =
                List.of(
                    device.prepare(
                        new CodebookSums(2),
                        List.of(z, scope.bytes(new byte[] {2}, 1, 1)),
                        List.of(sums)),
                    device.prepare(new MovingAverage(0.5), List.of(state, sums), List.of()));
            try (Launch both = device.record(launches)) {
              assertThrows(IllegalArgumentException.class, both::run);
              assertArrayEquals(new double[6], state.toDoubles());
            }
          }
        });
  }

  /** A NaN is that of its latent alone; no draw is made of a step that is not a whole number. */
  private static void categorical(List<KernelCheck> checks) {
    double nan = Double.NaN;
    TensorSpec x = TensorSpec.of(DType.F32, 2, 4);
    TensorSpec step = TensorSpec.of(DType.F64, 1);
    double[] good = {1, 2, 3, 4, 5, 6, 7, 8};
    double[] bad = {1, 2, nan, 4, 5, 6, 7, 8};
    GumbelSoftmax.Temperature one = GumbelSoftmax.Temperature.constant(1);
    Op relaxed = new GumbelSoftmax(2, 3, 0, 2, one);
    Op relaxedBackward = new GumbelSoftmaxBackward(2, 1, one);
    Op drawn = new CategoricalSample(2, 3, 0, 2);
    for (double wrong : new double[] {-1, 0.5, 4e9, nan}) {
      double[] at = {wrong};
      String all = "1".repeat(8);
      checks.add(check("gumbel_softmax_f32", relaxed, all + all, x, good, step, at));
      checks.add(check("categorical_sample_f32", drawn, all + all, x, good, step, at));
      checks.add(
          check("gumbel_softmax_backward_f32", relaxedBackward, all, x, good, x, good, step, at));
    }
    String own = "00110000";
    double[] at = {7};
    checks.add(check(false, "gumbel_softmax_f32", relaxed, own + own, x, bad, step, at));
    checks.add(check(false, "categorical_sample_f32", drawn, own + own, x, bad, step, at));
    for (double[][] pair : new double[][][] {{bad, good}, {good, bad}}) {
      checks.add(
          check(
              false,
              "gumbel_softmax_backward_f32",
              relaxedBackward,
              own,
              x,
              pair[0],
              x,
              pair[1],
              step,
              at));
      checks.add(
          check(
              "categorical_log_probability_f32",
              new CategoricalLogProbability(2),
              "10",
              x,
              pair[0],
              x,
              pair[1]));
    }
    checks.add(check("categorical_kl_f32", new CategoricalKl(2), "10" + "01", x, bad));
    TensorSpec two = TensorSpec.of(DType.F32, 2);
    checks.add(
        check(
            "categorical_kl_backward_f32",
            new CategoricalKlBackward(2, true, true),
            "00001111",
            x,
            good,
            two,
            new double[] {1, nan},
            two,
            new double[2]));
    checks.add(
        check(
            "categorical_kl_backward_f32",
            new CategoricalKlBackward(2, true, true),
            own,
            x,
            bad,
            two,
            new double[2],
            two,
            new double[2]));
  }
}
