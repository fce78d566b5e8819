package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * Times as waves of many lengths: with h = channels / 2 and f_i = maxPeriod^(-i / (h - shift)),
 * channel i is sin(t f_i) and channel h + i cos(t f_i), or the other way round.
 *
 * <p>Input: t [N] f32. Output: [N,1,1,channels] in {@code type}. No gradient.
 *
 * @param channels even
 * @param shift 1 in DDPM's network, 0 in ADM's
 * @see "Vaswani et al. 2017, Attention Is All You Need, section 3.5"
 */
public record SinusoidalEmbedding(
    int channels, double maxPeriod, int shift, boolean cosineFirst, DType type) implements Op {
  @Override
  public String name() {
    return "sinusoidal_embedding";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec t = in.getFirst();
    require(t.dtype() == DType.F32 && t.shape().rank() == 1, in, "t must be [N] f32");
    require(t.shape().elements() > 0, in, "empty input");
    require(
        channels > 0 && channels % 2 == 0, in, "channels must be even and positive: " + channels);
    require(maxPeriod > 1, in, "the longest period must exceed 1");
    require(shift == 0 || shift == 1, in, "shift must be 0 or 1");
    require(channels / 2 > shift, in, channels + " channels are too few");
    require(type == DType.F32 || type == DType.BF16, in, "the embedding must be f32 or bf16");
    return List.of(TensorSpec.of(type, t.shape().dim(0), 1, 1, channels));
  }

  /** log f_i = -i times this. */
  public double decay() {
    return Math.log(maxPeriod) / (channels / 2 - shift);
  }
}
