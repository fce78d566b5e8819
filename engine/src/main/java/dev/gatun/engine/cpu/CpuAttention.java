package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Attention by blocks of queries of one head: their scores lie in memory that stays in the second
 * cache, between two matrix products of oneDNN. Heads are divided among threads and each product
 * runs on one, so that oneDNN's threads need not meet and libgomp makes none.
 */
final class CpuAttention implements Launch {
  /** Scores of a block; two of them, and what is made of them, fit a second cache of 1 MiB. */
  private static final int BLOCK_SCORES = 1 << 16;

  private static final int LEAST_ROWS = 16;

  /** Rows of scores are so many apart, or a multiple: whole vectors, whatever the processor. */
  private static final int VECTOR = 16;

  private final CpuDevice device;
  private final Attention op;
  private final Attention.Sizes sizes;
  private final DType type;
  private final float scale;
  private final boolean backward;
  private final int rowsPerBlock;
  private final int scoreStride; // at least m
  private final int tasks;
  private final long[] in; // addresses of q, k, v
  private final long[] gradients; // of theirs
  private final MemorySegment[] gradientTensors; // dq, dk, dv, or dqkv
  private final MemorySegment o;
  private final MemorySegment lse;
  private final MemorySegment slopes; // do
  private final Owned owned = new Owned();
  private final ConcurrentLinkedQueue<Lane> free = new ConcurrentLinkedQueue<>();

  static Launch forward(CpuDevice device, Attention op, List<Tensor> in, List<Tensor> out) {
    return new CpuAttention(device, op, in, out.get(0), out.get(1), null, List.of());
  }

  static Launch backward(
      CpuDevice device, AttentionBackward op, List<Tensor> in, List<Tensor> out) {
    List<Tensor> own = op.forwardInputs(in);
    int n = own.size();
    return new CpuAttention(
        device, op.forward(), own, in.get(n), in.get(n + 1), in.get(n + 2), out);
  }

  private CpuAttention(
      CpuDevice device,
      Attention op,
      List<Tensor> in,
      Tensor o,
      Tensor lse,
      Tensor slopes,
      List<Tensor> out) {
    this.device = device;
    this.op = op;
    sizes = op.sizes(in.stream().map(Tensor::spec).toList());
    type = o.dtype();
    scale = (float) (1 / Math.sqrt(sizes.d()));
    backward = slopes != null;
    this.in = parts(in);
    gradients = parts(out);
    gradientTensors = out.stream().map(device::segment).toArray(MemorySegment[]::new);
    this.o = device.segment(o);
    this.lse = device.segment(lse);
    this.slopes = backward ? device.segment(slopes) : null;
    scoreStride = Math.ceilDiv(sizes.m(), VECTOR) * VECTOR;
    int most = BLOCK_SCORES / (backward ? 2 : 1) / scoreStride;
    rowsPerBlock = Math.min(sizes.l(), Math.max(LEAST_ROWS, most / LEAST_ROWS * LEAST_ROWS));
    int all = sizes.n() * op.heads();
    // keys' gradients are sums over all queries, in their order
    tasks = backward ? all : all * Math.ceilDiv(sizes.l(), rowsPerBlock);
    try {
      for (int i = Math.min(tasks, device.workers().threads()); i > 0; i--) {
        free.add(new Lane());
      }
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /** Where q, k and v, or what is like them, begin. */
  private long[] parts(List<Tensor> tensors) {
    if (!sizes.fused() || tensors.isEmpty()) {
      return tensors.stream().mapToLong(Tensor::address).toArray();
    }
    long first = tensors.getFirst().address();
    long part = (long) op.heads() * sizes.d() * type.bytes();
    return new long[] {first, first + part, first + 2 * part};
  }

  /** Elements from one row of q, k or v to the next. */
  private long stride() {
    return (long) op.heads() * sizes.d() * (sizes.fused() ? 3 : 1);
  }

  private long outputStride() {
    return (long) op.heads() * sizes.d();
  }

  @Override
  public void run() {
    device
        .workers()
        .forRange(
            tasks,
            1,
            (from, to) -> {
              Lane lane = free.remove(); // there is one for each thread
              try {
                for (int task = from; task < to; task++) {
                  if (backward) {
                    lane.backward(task / op.heads(), task % op.heads());
                  } else {
                    lane.forward(task);
                  }
                }
              } finally {
                free.add(lane);
              }
            });
  }

  @Override
  public void close() {
    owned.close();
  }

  /** A matrix in memory: where an element is follows from two strides. */
  private record Matrix(DType type, int rows, int columns, long down, long across) {
    Matrix transposed() {
      return new Matrix(type, columns, rows, across, down);
    }

    DnnlDesc desc() {
      return DnnlDesc.strided(
          type == DType.BF16 ? dnnl_bf16() : dnnl_f32(),
          new long[] {rows, columns},
          new long[] {down, across});
    }
  }

  /** A matrix product, at any addresses. */
  private final class Product {
    private final DnnlPrimitive matmul;

    Product(Dnnl dnnl, Matrix a, Matrix b, Matrix c, boolean accumulate) {
      try (DnnlDesc left = a.desc();
          DnnlDesc right = b.desc();
          DnnlDesc result = c.desc();
          DnnlAttributes attributes = new DnnlAttributes()) {
        if (accumulate) {
          attributes.accumulate();
        }
        matmul =
            owned.add(
                Dnnl.onOneThread(
                    () -> DnnlPrimitive.matmul(dnnl, left, right, null, result, attributes)));
        matmul.bind(DNNL_ARG_SRC_0(), left, 0);
        matmul.bind(DNNL_ARG_WEIGHTS_0(), right, 0);
        matmul.bind(DNNL_ARG_DST_0(), result, 0);
        if (matmul.scratchpadBytes() > 0) {
          matmul.bindScratchpad(owned.add(device.allocate(matmul.scratchpadBytes())).address());
        }
      }
    }

    void run(long a, long b, long c) {
      matmul.rebind(DNNL_ARG_SRC_0(), a);
      matmul.rebind(DNNL_ARG_WEIGHTS_0(), b);
      matmul.rebind(DNNL_ARG_DST_0(), c);
      matmul.executeOnOneThread();
    }
  }

  /** The products of a block of so many queries. */
  private final class Block {
    final int rows;
    final Product scores; // q k^T
    Product output; // w v
    Product slopes; // do v^T
    Product queries; // dq += ds k
    Product keys; // dk += ds^T q
    Product values; // dv += w^T do

    Block(Dnnl dnnl, int rows) {
      this.rows = rows;
      int m = sizes.m();
      int d = sizes.d();
      Matrix query = new Matrix(type, rows, d, stride(), 1);
      Matrix key = new Matrix(type, m, d, stride(), 1);
      Matrix slope = new Matrix(type, rows, d, outputStride(), 1);
      Matrix score = new Matrix(DType.F32, rows, m, scoreStride, 1);
      Matrix weight = new Matrix(type, rows, m, scoreStride, 1);
      Matrix rowSums = new Matrix(DType.F32, rows, d, d, 1);
      Matrix keySums = new Matrix(DType.F32, m, d, d, 1);
      scores = new Product(dnnl, query, key.transposed(), score, false);
      if (backward) {
        slopes = new Product(dnnl, slope, key.transposed(), score, false);
        queries = new Product(dnnl, weight, key, rowSums, false);
        keys = new Product(dnnl, weight.transposed(), query, keySums, true);
        values = new Product(dnnl, weight.transposed(), slope, keySums, true);
      } else {
        output = new Product(dnnl, weight, key, rowSums, false);
      }
    }
  }

  /** What one thread needs for itself. */
  private final class Lane {
    private final Dnnl dnnl = owned.add(new Dnnl());
    private final Block whole = new Block(dnnl, rowsPerBlock);
    private final Block last =
        sizes.l() % rowsPerBlock == 0 ? whole : new Block(dnnl, sizes.l() % rowsPerBlock);
    private final MemorySegment scores = memory(DType.F32, rowsPerBlock, scoreStride);
    private final MemorySegment weights = overlay(scores);
    private final MemorySegment slopeScores =
        backward ? memory(DType.F32, rowsPerBlock, scoreStride) : null;
    private final MemorySegment scoreSlopes = backward ? overlay(slopeScores) : null;
    private final MemorySegment rowSums = memory(DType.F32, rowsPerBlock, sizes.d());
    private final MemorySegment keySums = backward ? memory(DType.F32, sizes.m(), sizes.d()) : null;
    private final MemorySegment valueSums =
        backward ? memory(DType.F32, sizes.m(), sizes.d()) : null;
    private final float[] shifts = new float[rowsPerBlock];
    private final float[] deltas = new float[rowsPerBlock];
    private final double[] totals = new double[rowsPerBlock];

    private MemorySegment memory(DType type, int rows, int columns) {
      long sizeBytes = (long) rows * columns * type.bytes();
      return HostMemory.at(owned.add(device.allocate(sizeBytes)).address(), sizeBytes);
    }

    /** As the next product's factor: f32 in place, bf16 elsewhere. */
    private MemorySegment overlay(MemorySegment computed) {
      return type == DType.F32 ? computed : memory(type, rowsPerBlock, scoreStride);
    }

    private Block block(int first) {
      return first + rowsPerBlock <= sizes.l() ? whole : last;
    }

    /** Where a row of a head is, in a tensor of rows so far apart. */
    private long at(int image, int rows, int row, int head, long stride) {
      return ((long) image * rows + row) * stride + (long) head * sizes.d();
    }

    private long query(long[] parts, int image, int row, int head) {
      return parts[0] + at(image, sizes.l(), row, head, stride()) * type.bytes();
    }

    private long key(long[] parts, int part, int image, int head) {
      return parts[part] + at(image, sizes.m(), 0, head, stride()) * type.bytes();
    }

    private long statistic(int image, int head, int row) {
      return ((long) image * op.heads() + head) * sizes.l() + row;
    }

    /** Scores of the block; what is beyond a row's keys weighs nothing. */
    private void scores(Block block, int image, int head, int first) {
      if (scoreStride > sizes.m()) {
        for (int r = 1; r <= block.rows; r++) {
          device
              .loops()
              .fill(scores, (long) r * scoreStride - VECTOR, VECTOR, Float.NEGATIVE_INFINITY);
        }
      }
      block.scores.run(query(in, image, first, head), key(in, 1, image, head), scores.address());
    }

    void forward(int task) {
      int blocks = Math.ceilDiv(sizes.l(), rowsPerBlock);
      int first = task % blocks * rowsPerBlock;
      int head = task / blocks % op.heads();
      int image = task / blocks / op.heads();
      int d = sizes.d();
      Loops loops = device.loops();
      Block block = block(first);
      scores(block, image, head, first);
      loops.largest(scores, block.rows, scoreStride, scale, shifts);
      loops.exps(scores, block.rows, scoreStride, scale, shifts, type, weights, totals);
      for (int r = 0; r < block.rows; r++) {
        float sum = (float) (shifts[r] + Math.log(totals[r]));
        ScalarLoops.set(DType.F32, lse, statistic(image, head, first + r), sum);
      }
      block.output.run(weights.address(), key(in, 2, image, head), rowSums.address());
      long to = at(image, sizes.l(), first, head, outputStride());
      for (int r = 0; r < block.rows; r++) {
        loops.scale(
            rowSums, (long) r * d, (float) (1 / totals[r]), type, o, to + r * outputStride(), d);
      }
    }

    void backward(int image, int head) {
      keySums.fill((byte) 0);
      valueSums.fill((byte) 0);
      for (int first = 0; first < sizes.l(); first += rowsPerBlock) {
        backward(image, head, first);
      }
      put(keySums, sizes.m(), 1, at(image, sizes.m(), 0, head, stride()));
      put(valueSums, sizes.m(), 2, at(image, sizes.m(), 0, head, stride()));
    }

    private void backward(int image, int head, int first) {
      int d = sizes.d();
      Loops loops = device.loops();
      Block block = block(first);
      long slopeAt = at(image, sizes.l(), first, head, outputStride());
      long query = query(in, image, first, head);
      long slope = slopes.address() + slopeAt * type.bytes();
      scores(block, image, head, first);
      block.slopes.run(slope, key(in, 2, image, head), slopeScores.address());
      for (int r = 0; r < block.rows; r++) {
        deltas[r] = loops.dot(type, slopes, o, slopeAt + r * outputStride(), d);
        shifts[r] = ScalarLoops.get(DType.F32, lse, statistic(image, head, first + r));
      }
      loops.expSlopes(
          scores,
          slopeScores,
          block.rows,
          scoreStride,
          scale,
          shifts,
          deltas,
          type,
          weights,
          scoreSlopes);
      block.values.run(weights.address(), slope, valueSums.address());
      block.keys.run(scoreSlopes.address(), query, keySums.address());
      block.queries.run(scoreSlopes.address(), key(in, 1, image, head), rowSums.address());
      put(rowSums, block.rows, 0, at(image, sizes.l(), first, head, stride()));
    }

    /** Rows of sums to dq, dk or dv, element {@code to} of it on. */
    private void put(MemorySegment sums, int rows, int part, long to) {
      MemorySegment tensor = gradientTensors[sizes.fused() ? 0 : part];
      long begin = (gradients[part] - tensor.address()) / type.bytes() + to;
      int d = sizes.d();
      for (int r = 0; r < rows; r++) {
        device.loops().scale(sums, (long) r * d, 1, type, tensor, begin + r * stride(), d);
      }
    }
  }
}
