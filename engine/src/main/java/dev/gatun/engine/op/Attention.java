package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * Scaled dot-product attention by heads: o = softmax(q k^T / sqrt(D)) v, where head h has channels
 * h*D to h*D+D-1 of each tensor.
 *
 * <p>Inputs: q [N,L,heads*D], k and v [N,M,heads*D], alike f32 or bf16; or one of them all, qkv
 * [N,L,3*heads*D], q then k then v along the channels. L and M may be several axes, such as an
 * image's rows and columns. D is 1 to 128. Outputs: o like q; lse [N,heads,L] f32, the log-sum-exp
 * (natural) of each query's scaled scores, which the gradient reads. The softmax is in f32; both
 * products are of elements in the inputs' dtype, so bf16 weights of v are rounded once.
 *
 * @param heads how many parts the channels are divided into
 * @see "Vaswani et al. 2017, Attention Is All You Need, section 3.2"
 * @see "Dao et al. 2022, FlashAttention, section 3.1; Dao 2023, FlashAttention-2, section 3"
 */
public record Attention(int heads) implements Op {
  /** The most channels of a head. */
  public static final int MOST_CHANNELS = 128;

  /** Extents: N images, L queries, M keys, D channels a head; {@code fused} for one input qkv. */
  public record Sizes(int n, int l, int m, int d, boolean fused) {}

  @Override
  public String name() {
    return "attention";
  }

  /** The extents of inputs that {@link #check} accepts. */
  public Sizes sizes(List<TensorSpec> in) {
    Shape q = in.getFirst().shape();
    boolean fused = in.size() == 1;
    int m = places(fused ? q : in.get(1).shape());
    return new Sizes(q.dim(0), places(q), m, q.dim(-1) / heads / (fused ? 3 : 1), fused);
  }

  /** All that lies between images and channels. */
  private static int places(Shape s) {
    return s.rows() / s.dim(0);
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(in.size() == 1 || in.size() == 3, in, "takes q, k, v or qkv");
    TensorSpec q = in.getFirst();
    Checks.activation(this, in, q);
    boolean fused = in.size() == 1;
    require(q.shape().rank() >= 3, in, fused ? "qkv must be [N,L,3*C]" : "q must be [N,L,C]");
    require(heads > 0, in, "heads must be positive, not " + heads);
    int channels = q.shape().dim(-1);
    if (fused) {
      require(channels % 3 == 0, in, channels + " channels not divisible by 3 for qkv");
      channels /= 3;
    } else {
      TensorSpec k = in.get(1);
      require(
          k.shape().rank() >= 3
              && k.dtype() == q.dtype()
              && k.shape().dim(0) == q.shape().dim(0)
              && k.shape().dim(-1) == channels
              && k.shape().elements() > 0,
          in,
          "k must be [N,M,C] with N, C and dtype of q");
      require(in.get(2).equals(k), in, "v must be like k");
    }
    require(channels % heads == 0, in, "C=" + channels + " not divisible by heads=" + heads);
    int d = channels / heads;
    require(d <= MOST_CHANNELS, in, "a head has at most " + MOST_CHANNELS + " channels, not " + d);
    int n = q.shape().dim(0);
    int l = places(q.shape());
    return List.of(
        new TensorSpec(q.shape().withLast(channels), q.dtype()),
        TensorSpec.of(DType.F32, n, heads, l));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(name() + " has a gradient for o only");
    }
    List<Value> in = new ArrayList<>(inputs);
    in.addAll(outputs);
    in.add(gradients.get(0));
    return graph.apply(new AttentionBackward(this), in);
  }
}
