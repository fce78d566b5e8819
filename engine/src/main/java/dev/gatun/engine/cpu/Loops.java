package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The loops that C2 does not vectorize by itself: bf16 conversion, exponentials, reductions and
 * what has bounds, since {@code min} and {@code max} as Java defines them take six instructions.
 * Two forms side by side: {@link ScalarLoops}, and {@link VectorLoops} where the module
 * jdk.incubator.vector is present. What it does vectorize is in {@link Arithmetic} and {@link
 * Activations}.
 */
interface Loops {
  /** One line for people. */
  String description();

  /** Widens {@code n} f32 or bf16 elements, from element {@code from} on, into an array. */
  void load(DType type, MemorySegment source, long from, float[] target, int at, int n);

  /** Rounds {@code n} array elements to f32 or bf16, to element {@code to} on. */
  void store(DType type, float[] source, int at, MemorySegment target, long to, int n);

  /**
   * Widens {@code rows} runs of {@code n} elements, {@code stride} elements apart, into an array,
   * one after another.
   */
  void loadRows(
      DType type, MemorySegment source, long from, long stride, float[] target, int rows, int n);

  /** Rounds array elements to {@code rows} runs of {@code n}, {@code stride} elements apart. */
  void storeRows(
      DType type, float[] source, MemorySegment target, long to, long stride, int rows, int n);

  /** y = a + b, elements {@code from} to {@code from + n}. */
  void add(DType type, MemorySegment a, MemorySegment b, MemorySegment y, long from, int n);

  /** y = max(x, 0). */
  void relu(DType type, MemorySegment x, MemorySegment y, long from, int n);

  /** dx = dy where y > 0, else 0. */
  void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, long from, int n);

  float max(float[] x, int at, int n);

  /** The sum of exp(x - shift). */
  double expSum(float[] x, int at, int n, float shift);

  /** x = exp(x - shift) * scale, in place. */
  void exp(float[] x, int at, int n, float shift, float scale);

  // Of a block of rows of f32 scores, in memory, one after another; columns are a multiple of 16:

  /** Of each row the largest score, times scale; NaNs are no largest. */
  void largest(MemorySegment scores, int rows, int columns, float scale, float[] largest);

  /**
   * w = exp(score * scale - shift of its row), rounded to a dtype; w may be the scores' own memory.
   * The scores are lost.
   *
   * @param sums of each row of w, before it was rounded
   */
  void exps(
      MemorySegment scores,
      int rows,
      int columns,
      float scale,
      float[] shifts,
      DType type,
      MemorySegment w,
      double[] sums);

  /**
   * w = exp(score * scale - shift) and ds = w * (dw - delta) * scale, rounded to a dtype; shift and
   * delta are those of the row, and w and ds may be the memory of the scores and of dw.
   */
  void expSlopes(
      MemorySegment scores,
      MemorySegment dw,
      int rows,
      int columns,
      float scale,
      float[] shifts,
      float[] deltas,
      DType type,
      MemorySegment w,
      MemorySegment ds);

  /** x = value, f32, elements {@code from} to {@code from + n}. */
  void fill(MemorySegment x, long from, int n, float value);

  /** The sum of a * b, f32 or bf16, elements {@code from} to {@code from + n}; in f32. */
  float dot(DType type, MemorySegment a, MemorySegment b, long from, int n);

  /** y = x * by, {@code n} elements: f32 to a dtype. */
  void scale(MemorySegment x, long from, float by, DType type, MemorySegment y, long to, int n);

  /** y = x, {@code n} elements: bf16 to f32. */
  void widen(MemorySegment x, MemorySegment y, int n);

  float LOG_2_PI = 1.8378770664f;

  float LEAST_LOG_SCALE = (float) LogisticMixture.LEAST_LOG_SCALE;

  // tanh(x) = x P(x^2) / Q(x^2) on [-7.9, 7.9], beyond which tanh is 1 in f32: the coefficients of
  // Eigen's fast tanh, within 5 ulp
  float BOUND = 7.90531110763549805f;
  float P6 = -2.76076847742355e-16f;
  float P5 = 2.00018790482477e-13f;
  float P4 = -8.60467152213735e-11f;
  float P3 = 5.12229709037114e-08f;
  float P2 = 1.48572235717979e-05f;
  float P1 = 6.37261928875436e-04f;
  float P0 = 4.89352455891786e-03f;
  float Q3 = 1.19825839466702e-06f;
  float Q2 = 1.18534705686654e-04f;
  float Q1 = 2.26843463243900e-03f;
  float Q0 = 4.89352518554385e-03f;

  // Of arrays of a Blocks, beyond whose n elements these may write:

  /** a = tanh(a) and b = sigmoid(b) = (1 + tanh(b/2)) / 2, in place. */
  void tanhAndSigmoid(float[] a, float[] b, int n);

  /** x = sigmoid(x), in place. */
  void sigmoid(float[] x, int n);

  /**
   * a = elu(a) and b = elu(-a). Since y <= exp(y) - 1 everywhere, elu of x or -x is the greater of
   * it and exp(-|x|) - 1 = 2 tanh(h) / (1 - tanh(h)) with h = -|x| / 2, which is not positive:
   * nothing cancels, not even near 0.
   */
  void elus(float[] a, float[] b, int n);

  // Of the arrays of a Blocks, as those above; c has what is compared, a the nats or, in a and b,
  // their slopes afterwards. Other arrays are lost:

  /** Nats softplus(a) - c a. */
  void bernoulliNats(Blocks block, int n);

  /** Slopes sigmoid(a) - c. */
  void bernoulliSlopes(Blocks block, int n);

  /** Nats (log(2 pi) + b + (c - a)^2 exp(-b)) / 2. */
  void gaussianNats(Blocks block, int n);

  void gaussianSlopes(Blocks block, int n);

  /**
   * Nats of c under a logistic of mean a and log-scale b: of its mass within {@code half} of c,
   * with all beyond where c is -1 or 1; see {@link dev.gatun.engine.op.LogisticMixture}.
   */
  void logisticNats(Blocks block, float half, int n);

  void logisticSlopes(Blocks block, float half, int n);

  /**
   * y = (factor * x - offset) / divisor, x from 0 to 255; whole numbers below 2^24, so that it is
   * rounded once.
   *
   * @return the largest x
   */
  int levels(byte[] x, float factor, float offset, float divisor, float[] y, int n);

  /** From pairs the first into a, the second into b. */
  void split(float[] pairs, float[] a, float[] b, int n);

  /** To pairs, the first from a, the second from b. */
  void join(float[] a, float[] b, float[] pairs, int n);

  /** The sum, in f64. */
  double sum(float[] x, int n);

  /** What {@link CpuGroupNorm} takes. */
  NormLoops norm();

  /**
   * What {@link Winograd} takes, small tiles first; none where it would cost more than it saves.
   */
  List<TileLoops> tiles();

  /** The sum of squares, in f64. */
  double squaredNorm(float[] x, int at, int n);

  /** The sum of (a - b)^2 * scale over all elements of arrays of a length. */
  double squaredDistance(double[] a, double[] b, double[] scale);

  /**
   * Runs each loop until it has been compiled: before that a vector loop is a hundred times slower
   * than a plain one, so this is done aside, on data of its own, while a program is being built.
   */
  default void warmUp() {
    float[] x = new float[256];
    float[] y = new float[256];
    double[] sums = new double[4];
    double[] wide = new double[66];
    try (Arena arena = Arena.ofConfined()) {
      // the same kind of segment that tensors have, or the compiled code would be thrown away
      MemorySegment s = HostMemory.at(arena.allocate(1024, 64).address(), 1024);
      for (int i = 0; i < 4000; i++) {
        for (DType type : new DType[] {DType.BF16, DType.F32}) {
          load(type, s, 0, x, 0, 256);
          store(type, x, 0, s, 0, 256);
          loadRows(type, s, 0, 128, x, 2, 64);
          storeRows(type, x, s, 0, 128, 2, 64);
          add(type, s, s, s, 0, 256);
          relu(type, s, s, 0, 256);
          reluBackward(type, s, s, s, 0, 256);
          largest(s, 4, 64, 0, x);
          exps(s, 4, 64, 0, y, type, s, sums);
          expSlopes(s, s, 4, 64, 0, y, y, type, s, s);
          scale(s, 0, 1, type, s, 0, 256);
          dot(type, s, s, 0, 256);
        }
        fill(s, 0, 16, 0);
        widen(s, s, 256);
        expSum(x, 0, 256, max(x, 0, 256));
        exp(x, 0, 256, 0, 0);
        squaredNorm(x, 0, 256);
        squaredDistance(wide, wide, wide);
        tanhAndSigmoid(x, y, 256);
        sigmoid(x, 256);
        elus(x, y, 256);
      }
    }
    norm().warmUp();
  }

  /** Vector loops if the module is there, else scalar ones. */
  static Loops best() {
    return Best.LOOPS;
  }

  /** Chosen once, and never by a static initializer that could throw. */
  final class Best {
    private static final Loops LOOPS = choose();
    private static final AtomicBoolean STARTED = new AtomicBoolean();

    private Best() {}

    /** Starts {@link Loops#warmUp} once in a process. */
    static void warmUp() {
      if (!STARTED.getAndSet(true)) {
        Thread.ofPlatform().daemon().name("gatun-warm-up").start(LOOPS::warmUp);
      }
    }

    private static Loops choose() {
      if (ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent()
          && !Boolean.getBoolean("gatun.scalar")) {
        return new VectorLoops();
      }
      return new ScalarLoops();
    }
  }
}
