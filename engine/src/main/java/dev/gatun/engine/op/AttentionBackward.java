package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradients of {@link Attention}: with p = exp(q k^T / sqrt(D) - lse) and ds = p * (do v^T -
 * rowsum(do * o)), dv = p^T do, dq = ds k / sqrt(D), dk = ds^T q / sqrt(D).
 *
 * <p>Inputs: q, k, v or qkv as in the forward op; o, do [N,L,heads*D] like q; lse [N,heads,L] f32;
 * in the order q, k, v, o, lse, do. Outputs: dq, dk, dv or dqkv, like the forward op's inputs.
 *
 * @see "Dao et al. 2022, FlashAttention, appendix B.2"
 */
public record AttentionBackward(Attention forward) implements Op {
  @Override
  public String name() {
    return "attention_backward";
  }

  /** The forward op's part of the inputs. */
  public <T> List<T> forwardInputs(List<T> in) {
    return in.subList(0, in.size() - 3);
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(in.size() == 4 || in.size() == 6, in, "takes q, k, v or qkv, then o, lse, do");
    List<TensorSpec> own = List.copyOf(forwardInputs(in));
    List<TensorSpec> outputs = forward.check(own);
    TensorSpec o = outputs.get(0);
    require(in.get(own.size()).equals(o), in, "o must be " + o);
    require(in.get(own.size() + 1).equals(outputs.get(1)), in, "lse must be " + outputs.get(1));
    require(in.get(own.size() + 2).equals(o), in, "do must be " + o);
    return own;
  }
}
